"""The answers that a verifying run got and that are not the recorded ones, as its records tell them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Subquery, func, literal, select, union_all

from elspeth.core.landscape.database import LandscapeDB
from elspeth_schema.tables import node_states_table, rows_table, tokens_table, transform_errors_table

__all__ = ["DIFFERS_FROM", "DifferingAnswer", "count_differing_answers", "differing_answers", "first_differing_rows"]

DIFFERS_FROM = "differs_from"
"""The key, in the reason or the error of a visit, of the hash of the recorded answer; null if there was none."""

# Canonical JSON has no space behind a colon, and a quote within a text has a backslash before it.
_PATTERN = f'%"{DIFFERS_FROM}":%'


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferingAnswer:
    """One answer. `recorded_hash` is None if none was recorded; `failed` says that the row failed there."""

    row_index: int
    token_id: str
    node_id: str
    recorded_hash: str | None
    failed: bool


def count_differing_answers(db: LandscapeDB, run_id: str) -> int:
    """Return how many answers of a run differ from those of the run that it verifies."""
    with db.connection() as connection:
        return connection.execute(select(func.count()).select_from(_visits(run_id))).scalar_one()


def differing_answers(db: LandscapeDB, run_id: str) -> Iterator[DifferingAnswer]:
    """Yield the answers of a run that differ from those of the run that it verifies, in the order of rows."""
    visits, tokens, rows = _visits(run_id), tokens_table.c, rows_table.c
    statement = (
        select(rows.row_index, visits.c.token_id, visits.c.node_id, visits.c.said, visits.c.failed)
        .join_from(visits, tokens_table, (tokens.run_id == run_id) & (tokens.token_id == visits.c.token_id))
        .join(rows_table, (rows.run_id == run_id) & (rows.row_id == tokens.row_id))
        .order_by(rows.row_index, visits.c.node_id, visits.c.token_id)
    )
    with db.connection() as connection:
        for row_index, token_id, node_id, said, failed in connection.execute(statement):
            yield DifferingAnswer(
                row_index=row_index,
                token_id=token_id,
                node_id=node_id,
                recorded_hash=json.loads(said).get(DIFFERS_FROM),
                failed=bool(failed),
            )


def first_differing_rows(db: LandscapeDB, run_id: str, count: int) -> list[int]:
    """Return the first rows of the source whose answers differ, by their positions."""
    visits, tokens, rows = _visits(run_id), tokens_table.c, rows_table.c
    statement = (
        select(rows.row_index)
        .distinct()
        .join_from(visits, tokens_table, (tokens.run_id == run_id) & (tokens.token_id == visits.c.token_id))
        .join(rows_table, (rows.run_id == run_id) & (rows.row_id == tokens.row_id))
        .order_by(rows.row_index)
        .limit(count)
    )
    with db.connection() as connection:
        return list(connection.scalars(statement))


def _visits(run_id: str) -> Subquery:
    """Return the visits whose reason or error says that the answer differs."""
    states, errors = node_states_table.c, transform_errors_table.c
    done = select(states.token_id, states.node_id, states.success_reason_json.label("said"), literal(0).label("failed"))
    refused = select(errors.token_id, errors.transform_id, errors.error_details_json, literal(1))
    return union_all(
        done.where(states.run_id == run_id, states.success_reason_json.like(_PATTERN)),
        refused.where(errors.run_id == run_id, errors.error_details_json.like(_PATTERN)),
    ).subquery()

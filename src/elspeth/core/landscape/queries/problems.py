"""Problems of a run: why rows failed, and which answers differ."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection, Subquery, and_, func, literal, select, union_all

from elspeth.core.landscape.database import LandscapeDB
from elspeth_schema.contracts import NodeStateStatus, RowOutcome
from elspeth_schema.tables import (
    node_states_table,
    rows_table,
    token_outcomes_table,
    tokens_table,
    transform_errors_table,
)

__all__ = [
    "DIFFERS_FROM",
    "DifferingAnswer",
    "FailedRows",
    "FailureReason",
    "count_differing_answers",
    "differing_answers",
    "failed_rows",
    "first_differing_rows",
]

_SHOWN = 5

_MOST = 10_000
"""Reasons told apart, which bounds memory; what comes after them is one reason of its node and kind."""

_POSITION = re.compile(r"\A(?:(?:line|row|element) [\d,]+(?: of the batch)?(?:, |: ))+")
_COUNTED = re.compile(r"\b[\d,]+ (character|field|item|row)s?\b")
_PLACE = re.compile(r"\bat line [\d,]+, column [\d,]+")

_rows, _tokens = rows_table.c, tokens_table.c
_states, _outcomes = node_states_table.c, token_outcomes_table.c

_Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureReason:
    """Visits to one node that failed alike; `row_index` is the first row of which that is so.

    `kind` is the type of the error. In `message`, N stands for numbers that differ from row to row.
    """

    node_id: str
    kind: str
    message: str
    count: int
    row_index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedRows:
    """The rows of a run that failed: `count` of them, the most frequent reasons first, and failed visits by node."""

    count: int = 0
    reasons: tuple[FailureReason, ...] = ()
    visits_by_node: Mapping[str, int] = field(default_factory=dict)


def failed_rows(db: LandscapeDB, run_id: str) -> FailedRows:
    """Return the rows of which a token failed or was quarantined, and why, in one snapshot."""
    with db.snapshot() as connection:
        return _reasons(connection, run_id, _count(connection, run_id))


def _count(connection: Connection, run_id: str) -> int:
    bad = [RowOutcome.FAILED.value, RowOutcome.QUARANTINED.value]
    statement = (
        select(func.count(_tokens.row_id.distinct()))
        .join_from(
            token_outcomes_table,
            tokens_table,
            and_(_tokens.run_id == _outcomes.run_id, _tokens.token_id == _outcomes.token_id),
        )
        .where(_outcomes.run_id == run_id, _outcomes.outcome.in_(bad))
    )
    return connection.execute(statement).scalar_one()


def _reasons(connection: Connection, run_id: str, rows: int) -> FailedRows:
    statement = (
        select(_states.node_id, _states.error_json, func.count(), func.min(_rows.row_index))
        .join_from(
            node_states_table,
            tokens_table,
            and_(_tokens.run_id == _states.run_id, _tokens.token_id == _states.token_id),
        )
        .join(rows_table, and_(_rows.run_id == _tokens.run_id, _rows.row_id == _tokens.row_id))
        .where(_states.run_id == run_id, _states.status == NodeStateStatus.FAILED.value)
        .group_by(_states.node_id, _states.error_json)
        .order_by(_states.node_id, _states.error_json)
    )
    counts: Counter[_Key] = Counter()
    first: dict[_Key, int] = {}
    visits: Counter[str] = Counter()
    with connection.execution_options(yield_per=1000).execute(statement) as found:
        for node_id, error_json, count, row_index in found:
            visits[node_id] += count
            key = _key(node_id, error_json)
            if key not in counts and len(counts) >= _MOST:
                key = (node_id, key[1], "other reasons")
            counts[key] += count
            first[key] = min(row_index, first.get(key, row_index))
    most = sorted(counts, key=lambda key: (-counts[key], first[key], key))[:_SHOWN]
    reasons = tuple(
        FailureReason(node_id=key[0], kind=key[1], message=key[2], count=counts[key], row_index=first[key])
        for key in most
    )
    return FailedRows(count=rows, reasons=reasons, visits_by_node=visits)


def _key(node_id: str, error_json: str | None) -> _Key:
    """Return what failures for the same reason have in common: not where in the source, nor how long a value was."""
    error = json.loads(error_json or "{}")
    message = _POSITION.sub("", error.get("exception", ""))
    message = _PLACE.sub("at line N, column N", _COUNTED.sub(r"N \1s", message))
    return node_id, error.get("type", ""), message


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

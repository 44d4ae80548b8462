"""Reads a run's failed rows and differing answers.

Both are counted from the records, so that a resumed run gives the same counts.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import Connection, Subquery, and_, case, func, literal, select, union_all

from elspeth.core.landscape.database import LandscapeDB
from elspeth_schema.contracts import NodeStateStatus, RowOutcome
from elspeth_schema.records import NODE_STATE, ROW, RUN, TOKEN, TRANSFORM_ERROR
from elspeth_schema.tables import (
    node_states_table,
    rows_table,
    token_outcomes_table,
    tokens_table,
    transform_errors_table,
)

__all__ = [
    "ANSWER_RECORDS",
    "DIFFERS_FROM",
    "OTHER_REASONS",
    "DifferingAnswer",
    "FailedRows",
    "FailureReason",
    "VisitCount",
    "count_differing_answers",
    "count_visits",
    "differing_answers",
    "failed_rows",
    "first_differing_rows",
    "generalize_message",
    "read_error",
    "read_failed_rows",
]

ANSWER_RECORDS = (RUN, ROW, TOKEN, NODE_STATE, TRANSFORM_ERROR)
"""The record types that `differing_answers` reads."""

DIFFERS_FROM = "differs_from"
"""The key of the recorded answer's hash in the reason or error of a visit; it is null if none was recorded."""

# Canonical JSON has no space after a colon, and escapes each quote in a text, so this matches only a key.
_PATTERN = f'%"{DIFFERS_FROM}":%'

_SHOWN = 5

OTHER_REASONS = "other reasons"

_MAX_REASONS = 10_000
"""The number of different reasons, which limits memory; others count as `OTHER_REASONS` of their node and kind."""

_POSITION = re.compile(r"\A(?:(?:line|row|element) [\d,]+(?: of .+?)?(?:, |: ))+")
_COUNTED = re.compile(r"\b[\d,]+ (character|field|item|row)s?\b")
_PLACE = re.compile(r"\bat line [\d,]+, column [\d,]+")

_rows, _tokens = rows_table.c, tokens_table.c
_states, _outcomes = node_states_table.c, token_outcomes_table.c

_Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureReason:
    """Visits to one node that failed for the same reason.

    `kind` is the type of the error. In `message`, N stands for numbers that differ from row to row. `row_index` is the
    index of the first such row.
    """

    node_id: str
    kind: str
    message: str
    count: int
    row_index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedRows:
    """The number of a run's failed rows, with reasons.

    `reasons` holds the most frequent of the `all_reasons` reasons, in descending order; `visits_by_node` counts failed
    visits.
    """

    count: int = 0
    reasons: tuple[FailureReason, ...] = ()
    all_reasons: int = 0
    visits_by_node: Mapping[str, int] = field(default_factory=dict)


def failed_rows(db: LandscapeDB, run_id: str) -> FailedRows:
    """Return the rows that failed or were quarantined, and why."""
    with db.snapshot() as connection:
        return read_failed_rows(connection, run_id)


def read_failed_rows(connection: Connection, run_id: str, *, most: int = _SHOWN) -> FailedRows:
    """Return the failed rows, with the most frequent reasons."""
    return _find_reasons(connection, run_id, _count_failed_rows(connection, run_id), most)


class VisitCount(NamedTuple):
    """The numbers of visits and failed visits to a node."""

    visits: int
    failed: int


def count_visits(db: LandscapeDB, run_id: str, node_ids: Collection[str]) -> dict[str, VisitCount]:
    """Count the visits to each node that has any."""
    failed = case((_states.status == NodeStateStatus.FAILED.value, 1), else_=0)
    statement = (
        select(_states.node_id, func.count(), func.sum(failed))
        .where(_states.run_id == run_id, _states.node_id.in_(node_ids))
        .group_by(_states.node_id)
    )
    with db.connection() as connection:
        return {node_id: VisitCount(visits, int(number)) for node_id, visits, number in connection.execute(statement)}


def _count_failed_rows(connection: Connection, run_id: str) -> int:
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


def _find_reasons(connection: Connection, run_id: str, rows: int, most: int) -> FailedRows:
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
    # Options of the connection itself would also apply to its later statements.
    with connection.execute(statement.execution_options(yield_per=1000)) as found:
        for node_id, error_json, count, row_index in found:
            visits[node_id] += count
            key = _reason_key(node_id, error_json)
            if key not in counts and len(counts) >= _MAX_REASONS:
                key = (node_id, key[1], OTHER_REASONS)
            counts[key] += count
            first[key] = min(row_index, first.get(key, row_index))
    frequent = sorted(counts, key=lambda key: (-counts[key], first[key], key))[:most]
    reasons = tuple(
        FailureReason(node_id=key[0], kind=key[1], message=key[2], count=counts[key], row_index=first[key])
        for key in frequent
    )
    return FailedRows(count=rows, reasons=reasons, visits_by_node=visits, all_reasons=len(counts))


def _reason_key(node_id: str, error_json: str | None) -> _Key:
    """Return the node, type and generalized message of an error."""
    kind, message = read_error(error_json)
    return node_id, kind or "", generalize_message(message or "")


def read_error(error_json: str | None) -> tuple[str | None, str | None]:
    """Return the type and the message of a recorded error.

    Other programs may have recorded any JSON. If it is not an object with a message, its text is returned as it is.
    """
    error = json.loads(error_json) if error_json else {}
    if not isinstance(error, dict):
        return None, error_json
    kind, message = error.get("type"), error.get("exception", error.get("reason"))
    return None if kind is None else str(kind), None if message is None else str(message)


def generalize_message(message: str) -> str:
    """Return a message without positions, and with N for numbers."""
    message = _POSITION.sub("", message)
    return _PLACE.sub("at line N, column N", _COUNTED.sub(r"N \1s", message))


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferingAnswer:
    """An answer that differs from the recorded one.

    `recorded_hash` is None if no answer was recorded; `failed` tells whether the row failed because of it.
    """

    row_index: int
    token_id: str
    node_id: str
    recorded_hash: str | None
    failed: bool


def count_differing_answers(db: LandscapeDB, run_id: str) -> int:
    """Count the answers that differ from the verified run."""
    with db.connection() as connection:
        return connection.execute(select(func.count()).select_from(_differing_visits(run_id))).scalar_one()


def differing_answers(connection: Connection, run_id: str) -> Iterator[DifferingAnswer]:
    """Yield the answers that differ, in the order of rows."""
    visits, tokens, rows = _differing_visits(run_id), tokens_table.c, rows_table.c
    statement = (
        select(rows.row_index, visits.c.token_id, visits.c.node_id, visits.c.said, visits.c.failed)
        .join_from(visits, tokens_table, (tokens.run_id == run_id) & (tokens.token_id == visits.c.token_id))
        .join(rows_table, (rows.run_id == run_id) & (rows.row_id == tokens.row_id))
        .order_by(rows.row_index, visits.c.node_id, visits.c.token_id)
    )
    for row_index, token_id, node_id, said, failed in connection.execute(statement):
        yield DifferingAnswer(
            row_index=row_index,
            token_id=token_id,
            node_id=node_id,
            recorded_hash=json.loads(said).get(DIFFERS_FROM),
            failed=bool(failed),
        )


def first_differing_rows(db: LandscapeDB, run_id: str, count: int) -> list[int]:
    """Return the indexes of the first rows with differing answers."""
    visits, tokens, rows = _differing_visits(run_id), tokens_table.c, rows_table.c
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


def _differing_visits(run_id: str) -> Subquery:
    """Select the visits that record a differing answer."""
    states, errors = node_states_table.c, transform_errors_table.c
    done = select(states.token_id, states.node_id, states.success_reason_json.label("said"), literal(0).label("failed"))
    refused = select(errors.token_id, errors.transform_id, errors.error_details_json, literal(1))
    return union_all(
        done.where(states.run_id == run_id, states.success_reason_json.like(_PATTERN)),
        refused.where(errors.run_id == run_id, errors.error_details_json.like(_PATTERN)),
    ).subquery()

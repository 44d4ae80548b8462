"""How a run accounts for its rows: how many were recorded, and whether every journey has an end that leads on.

That no token ended twice is the audit database's own constraint, a unique index over terminal outcomes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, String, and_, except_, exists, func, literal, select, type_coerce

from elspeth.core.landscape.database import LandscapeDB
from elspeth_schema.contracts import BatchStatus, NodeStateStatus, RowOutcome
from elspeth_schema.tables import (
    batch_members_table,
    batches_table,
    node_states_table,
    rows_table,
    token_outcomes_table,
    tokens_table,
)

__all__ = ["RunAccount", "account_for"]

_SHOWN = 5

_rows, _tokens, _outcomes = rows_table.c, tokens_table.c, token_outcomes_table.c
_states, _batches, _members = node_states_table.c, batches_table.c, batch_members_table.c


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAccount:
    """The rows of a run, and every law of accounting that its records break: what was expected, and what was found."""

    rows: int
    breaches: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Law:
    """What holds of a complete run, and a query for the keys of records that break it."""

    expected: str
    got: str
    breaking: Select[str]


def account_for(db: LandscapeDB, run_id: str, *, progress: Callable[[int, int], None] | None = None) -> RunAccount:
    """Count a run's rows, and look for journeys without an end, in one snapshot.

    `progress` is called with the number of laws that were looked at, and of all.
    """
    laws = list(_laws(run_id))
    count = select(func.count()).select_from(rows_table).where(_rows.run_id == run_id)
    with db.snapshot() as connection:
        rows = connection.execute(count).scalar_one()
        breaches = []
        for number, law in enumerate(laws, start=1):
            keys = list(connection.execute(law.breaking.limit(_SHOWN)).scalars())
            if keys:
                breaches.append(f"expected {law.expected}, got {law.got} {', '.join(keys)}")
            if progress is not None:
                progress(number, len(laws))
    return RunAccount(rows=rows, breaches=tuple(breaches))


def _laws(run_id: str) -> Iterator[_Law]:
    yield from _of_journeys(run_id)
    yield from _of_work(run_id)


def _of_journeys(run_id: str) -> Iterator[_Law]:
    """Every row is carried, every token ends, and what ended by becoming others has become others."""
    of_token = and_(_outcomes.run_id == _tokens.run_id, _outcomes.token_id == _tokens.token_id)
    yield _Law(
        expected="a terminal outcome for every token",
        got="none for",
        breaking=select(_tokens.token_id).where(
            _tokens.run_id == run_id, ~exists().where(of_token, _outcomes.is_terminal == 1)
        ),
    )
    yield _Law(
        expected="a token for every row",
        got="none for row",
        breaking=select(_rows.row_id).where(
            _rows.run_id == run_id,
            ~exists().where(_tokens.run_id == _rows.run_id, _tokens.row_id == _rows.row_id),
        ),
    )
    for outcome, column in (
        (RowOutcome.FORKED, "fork_group_id"),
        (RowOutcome.EXPANDED, "expand_group_id"),
        (RowOutcome.COALESCED, "join_group_id"),
    ):
        yield _Law(
            expected=f"a further token for every one that was {outcome.value}",
            got="none of group",
            breaking=_groups_without_tokens(run_id, outcome, column),
        )


def _of_work(run_id: str) -> Iterator[_Law]:
    """Every batch was processed, and every visit to a node has ended."""
    processed = exists().where(
        *(_members.run_id == _outcomes.run_id, _members.token_id == _outcomes.token_id),
        *(_members.batch_id == _outcomes.batch_id, _batches.run_id == _members.run_id),
        *(_batches.batch_id == _members.batch_id, _batches.status == BatchStatus.COMPLETED.value),
    )
    yield _Law(
        expected="every token that was consumed in a batch to be a member of one that was completed",
        got="no such batch for",
        breaking=select(_outcomes.token_id).where(_ended(run_id, RowOutcome.CONSUMED_IN_BATCH), ~processed),
    )
    yield _Law(
        expected="every batch to be processed",
        got="unfinished",
        breaking=select(_batches.batch_id).where(
            _batches.run_id == run_id,
            _batches.status.not_in([status.value for status in BatchStatus if status.is_terminal]),
        ),
    )
    yield _Law(
        expected="every visit to a node to have ended",
        got="unfinished",
        breaking=select(_states.state_id).where(
            _states.run_id == run_id,
            _states.status.not_in([status.value for status in NodeStateStatus if status.is_terminal]),
        ),
    )


def _ended(run_id: str, outcome: RowOutcome) -> ColumnElement[bool]:
    return and_(_outcomes.run_id == run_id, _outcomes.outcome == outcome.value)


def _groups_without_tokens(run_id: str, outcome: RowOutcome, column: str) -> Select[str]:
    ended = select(func.coalesce(_outcomes[column], literal("(none)")).label("group_id")).where(_ended(run_id, outcome))
    made = select(_tokens[column].label("group_id")).where(_tokens.run_id == run_id, _tokens[column].is_not(None))
    missing = except_(ended, made).subquery()
    return select(type_coerce(missing.c.group_id, String))

"""How a run accounts for its rows: it proves the laws of accounting of its own records before it publishes its outputs.

Each law is a query for the keys of records that break it. The laws themselves are in `elspeth.evidence.format.laws`;
whoever verifies a bag of the run proves them again by other means. That no token ends twice is a constraint of the
database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sqlalchemy import Select, func, select

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.queries._group_laws import of_batches, of_groups, of_origins
from elspeth.core.landscape.queries._token_laws import of_outcomes, of_readings, of_routes, of_visits
from elspeth.evidence.format.laws import Law
from elspeth_schema.contracts import BatchStatus, NodeStateStatus
from elspeth_schema.tables import batches_table, node_states_table, rows_table, token_outcomes_table, tokens_table

__all__ = ["LawBreach", "RunAccount", "account_for"]

_SHOWN = 5

_rows, _tokens, _outcomes = rows_table.c, tokens_table.c, token_outcomes_table.c
_states, _batches = node_states_table.c, batches_table.c


@dataclass(frozen=True, slots=True, kw_only=True)
class LawBreach:
    """What breaks a law, None for a lifecycle that has not ended: what was expected, and what was found."""

    law: Law | None
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAccount:
    """The rows of a run, and everything in its records that breaks a law."""

    rows: int
    breaches: tuple[LawBreach, ...]


Query = tuple[Law | None, str, Select[tuple[str]]]
"""A law, what it expects with what was found instead, and the keys of records that break it."""


def account_for(db: LandscapeDB, run_id: str, *, progress: Callable[[int, int], None] | None = None) -> RunAccount:
    """Count a run's rows and look for records that break a law, in one snapshot.

    `progress` is called with the number of questions that were asked, and of all.
    """
    count = select(func.count()).select_from(rows_table).where(_rows.run_id == run_id)
    with db.snapshot() as connection:
        rows = connection.execute(count).scalar_one()
        breaches = []
        queries = list(_queries(run_id, connection.dialect.name))
        for number, (law, problem, query) in enumerate(queries, start=1):
            keys = [str(key) for key in connection.execute(query.limit(_SHOWN)).scalars()]
            if keys:
                breaches.append(LawBreach(law=law, problem=f"{problem} {', '.join(keys)}"))
            if progress is not None:
                progress(number, len(queries))
    return RunAccount(rows=rows, breaches=tuple(breaches))


def _queries(run_id: str, dialect: str) -> Iterator[Query]:
    yield from _of_rows(run_id)
    yield from ((Law.READINGS, *each) for each in of_readings(run_id))
    yield from ((Law.VISITS, *each) for each in of_visits(run_id))
    yield from ((Law.ROUTES, *each) for each in of_routes(run_id))
    yield from ((Law.ORIGINS, *each) for each in of_origins(run_id))
    yield from ((Law.GROUPS, *each) for each in of_groups(run_id, dialect))
    yield from ((Law.BATCHES, *each) for each in of_batches(run_id))
    yield from ((Law.OUTCOMES, *each) for each in of_outcomes(run_id))
    yield from _of_lifecycles(run_id)


def _of_rows(run_id: str) -> Iterator[Query]:
    """Rows are numbered, every row is carried, and every token ends."""
    counted = select(func.count()).select_from(rows_table).where(_rows.run_id == run_id).scalar_subquery()
    yield (
        Law.NUMBERS,
        "expected rows to be numbered from 0 without a gap, got further numbers for",
        # Numbers are unique and none is negative.
        select(_rows.row_id).where(_rows.run_id == run_id, _rows.row_index >= counted),
    )
    carrier = select(_tokens.token_id).where(_tokens.run_id == _rows.run_id, _tokens.row_id == _rows.row_id)
    yield (
        Law.TOKENS,
        "expected a token for every row, got none for row",
        select(_rows.row_id).where(_rows.run_id == run_id, ~carrier.exists()),
    )
    ending = select(_outcomes.outcome_id).where(
        _outcomes.run_id == _tokens.run_id, _outcomes.token_id == _tokens.token_id, _outcomes.is_terminal == 1
    )
    yield (
        Law.ENDS,
        "expected a terminal outcome for every token, got none for",
        select(_tokens.token_id).where(_tokens.run_id == run_id, ~ending.exists()),
    )


def _of_lifecycles(run_id: str) -> Iterator[Query]:
    """Every batch was processed, and every visit to a node has ended."""
    yield (
        None,
        "expected every batch to be processed, got unfinished",
        select(_batches.batch_id).where(
            _batches.run_id == run_id,
            _batches.status.not_in([status.value for status in BatchStatus if status.is_terminal]),
        ),
    )
    yield (
        None,
        "expected every visit to a node to have ended, got unfinished",
        select(_states.state_id).where(
            _states.run_id == run_id,
            _states.status.not_in([status.value for status in NodeStateStatus if status.is_terminal]),
        ),
    )

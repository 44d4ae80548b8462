"""The account of a run: its rows and broken laws.

Before a run publishes its outputs, it proves that its own records keep the laws of accounting. Each law is a query for
the keys of records that break it; the laws themselves are in `elspeth.evidence.format.laws`. The verifier of a bag
proves them again with other code. A constraint of the database ensures that no token ends twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sqlalchemy import func, select

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.queries._group_laws import query_batches, query_groups, query_origins
from elspeth.core.landscape.queries._token_laws import (
    LawQuery,
    query_lifecycles,
    query_outcomes,
    query_readings,
    query_routes,
    query_rows,
    query_visits,
)
from elspeth.evidence.format.laws import Law
from elspeth_schema.tables import rows_table

__all__ = ["LawBreach", "RunAccount", "account_for"]

_KEYS_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class LawBreach:
    """A broken law, with the records that break it.

    `law` is None for batches and visits that have not ended.
    """

    law: Law | None
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAccount:
    """The number of a run's rows, and its broken laws."""

    rows: int
    breaches: tuple[LawBreach, ...]


def account_for(db: LandscapeDB, run_id: str, *, progress: Callable[[int, int], None] | None = None) -> RunAccount:
    """Count the rows of a run and check the laws.

    Everything is read in one snapshot. `progress` is called with the number of finished queries and of all queries.
    """
    count = select(func.count()).select_from(rows_table).where(rows_table.c.run_id == run_id)
    with db.snapshot() as connection:
        rows = connection.execute(count).scalar_one()
        breaches = []
        queries = list(_queries(run_id, connection.dialect.name))
        for number, query in enumerate(queries, start=1):
            keys = [str(key) for key in connection.execute(query.keys.limit(_KEYS_SHOWN)).scalars()]
            if keys:
                breaches.append(LawBreach(law=query.law, problem=f"{query.problem} {', '.join(keys)}"))
            if progress is not None:
                progress(number, len(queries))
    return RunAccount(rows=rows, breaches=tuple(breaches))


def _queries(run_id: str, dialect: str) -> Iterator[LawQuery]:
    yield from query_rows(run_id)
    yield from query_readings(run_id)
    yield from query_visits(run_id)
    yield from query_routes(run_id)
    yield from query_origins(run_id)
    yield from query_groups(run_id, dialect)
    yield from query_batches(run_id)
    yield from query_outcomes(run_id)
    yield from query_lifecycles(run_id)

"""How far the records of a run have come: what a run that is resumed goes on from."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import func, select

from elspeth.core.landscape.database import LandscapeDB
from elspeth_schema.contracts import RowOutcome
from elspeth_schema.tables import rows_table, token_outcomes_table

__all__ = ["count_endings", "count_rows", "row_hashes"]

_CHUNK = 10_000

_rows, _outcomes = rows_table.c, token_outcomes_table.c


def count_rows(db: LandscapeDB, run_id: str) -> int:
    """How many rows of the source are recorded."""
    statement = select(func.count()).select_from(rows_table).where(_rows.run_id == run_id)
    with db.connection() as connection:
        return connection.execute(statement).scalar_one()


def count_endings(db: LandscapeDB, run_id: str) -> dict[tuple[RowOutcome, str | None], int]:
    """How many tokens have ended, by outcome and sink."""
    statement = (
        select(_outcomes.outcome, _outcomes.sink_name, func.count())
        .where(_outcomes.run_id == run_id, _outcomes.is_terminal == 1)
        .group_by(_outcomes.outcome, _outcomes.sink_name)
    )
    with db.connection() as connection:
        return {(RowOutcome(outcome), sink): count for outcome, sink, count in connection.execute(statement)}


def row_hashes(db: LandscapeDB, run_id: str) -> Iterator[str]:
    """The hash of each recorded row of the source, in the source's order; read a part at a time."""
    start = 0
    while True:
        statement = (
            select(_rows.source_data_hash)
            .where(_rows.run_id == run_id, _rows.row_index >= start, _rows.row_index < start + _CHUNK)
            .order_by(_rows.row_index)
        )
        with db.connection() as connection:
            found = list(connection.execute(statement).scalars())
        if not found:
            return
        yield from found
        start += _CHUNK

"""Whether the values that a migration filled in are such as their columns may have.

SQLite keeps a text in a column of integers, and no database knows patterns or what JSON is.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection

from elspeth.core.landscape.database.errors import LandscapeError
from elspeth.core.landscape.database.tables import load_snapshot, load_step
from elspeth.schema import checks
from elspeth.schema.checks import Acceptor
from elspeth.schema.snapshots import ColumnSnapshot, Kind

__all__ = ["check_filled", "filled_columns"]

_FETCH = 1000
"""Values fetched at once; bounds memory."""

_SHOWN = 80
"""How much of a value a message shows, in characters."""


def check_filled(connection: Connection, from_epoch: int, to_epoch: int) -> None:
    """Read every value that the steps filled in.

    Raises LandscapeError for the first one that its column may not have.
    """
    filled = filled_columns(from_epoch, to_epoch)
    for table in load_snapshot(to_epoch).tables:
        for column in table.columns:
            if column.name in filled.get(table.name, ()):
                _check_values(connection, table.name, column)


def filled_columns(from_epoch: int, to_epoch: int) -> Mapping[str, frozenset[str]]:
    """Return the columns that have a backfill on the way, by table, under the names that they have in the end."""
    filled: dict[str, frozenset[str]] = {}
    for epoch in range(from_epoch + 1, to_epoch + 1):
        copies = load_step(epoch).copies
        sources = {copy.source for copy in copies}
        after = {table: columns for table, columns in filled.items() if table not in sources}
        now = {
            table.name: [column for column in table.columns if column.backfill] for table in load_snapshot(epoch).tables
        }
        for copy in copies:
            earlier = filled.get(copy.source, frozenset())
            moved = [new for old, new in copy.kept if old in earlier]
            after[copy.table] = frozenset([*moved, *(column.name for column in now[copy.table])])
        filled = after
    return filled


def _check_values(connection: Connection, table: str, column: ColumnSnapshot) -> None:
    acceptor = _acceptor(column)
    statement = f'SELECT DISTINCT "{column.name}" FROM "{table}" WHERE "{column.name}" IS NOT NULL'  # noqa: S608 - names of our own snapshots
    with connection.exec_driver_sql(statement, execution_options={"yield_per": _FETCH}) as found:
        wrong = next((value for (value,) in found if not acceptor.accepts(value)), None)
    if wrong is not None:
        shown = repr(wrong)
        shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}... ({len(shown)} characters)"
        raise LandscapeError(
            f"the migration would fill {table}.{column.name} with {shown}, expected {acceptor.expected}"
        )


def _acceptor(column: ColumnSnapshot) -> Acceptor:
    """Return the check of a value as a driver returns it."""
    if column.values:
        return Acceptor(f"one of {', '.join(column.values)}", lambda value: value in column.values)
    match column.kind:
        case Kind.TEXT:
            _, _, length = column.type.rstrip(")").partition("(")
            return checks.text(max_length=int(length) if length else None, pattern=column.pattern)
        case Kind.JSON:
            return checks.JSON
        case Kind.INTEGER:
            return checks.integer(**_bounds(column))
        case Kind.REAL:
            return checks.real(**_bounds(column))
        case Kind.BOOLEAN:
            return Acceptor("0 or 1", lambda value: type(value) is int and value in (0, 1))
        case Kind.TIMESTAMP:
            return Acceptor("a time", _is_time)


def _bounds(column: ColumnSnapshot) -> dict[str, int]:
    bounds = {"minimum": column.minimum, "maximum": column.maximum}
    return {name: bound for name, bound in bounds.items() if bound is not None}


def _is_time(value: object) -> bool:
    """Tell whether the value is a time of PostgreSQL, or the text of one on SQLite."""
    if isinstance(value, str):
        try:
            datetime.fromisoformat(value)
        except ValueError:
            return False
        return True
    return isinstance(value, datetime)

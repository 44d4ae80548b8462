"""What a table holds, as a number of rows and a digest, to compare it before and after a migration."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sqlalchemy import Connection

from elspeth.core.landscape.database.tables import load_snapshot, load_step
from elspeth.core.landscape.records.progress import Meter

__all__ = ["Content", "TableMap", "contents_after", "contents_before", "table_maps"]

_MODULUS = 2**256

_FETCH = 1000
"""Rows fetched at once; bounds memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """Rows of a table, and the sum (mod 2^256) of the SHA-256 of each of them, in hex: it does not depend on order."""

    rows: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TableMap:
    """A table across epochs: its name before and after, the columns whose values stay, how many times it is copied."""

    before: str
    after: str
    columns: tuple[tuple[str, str], ...]
    copies: int


def content_of(connection: Connection, table: str, columns: tuple[str, ...], meter: Meter) -> Content:
    """The content of these columns, as the driver returns them; memory does not grow with the table."""
    names = ", ".join(f'"{name}"' for name in columns)
    rows, total = 0, 0
    statement = f'SELECT {names} FROM "{table}"'  # noqa: S608 - names of our own snapshots
    found = connection.exec_driver_sql(statement, execution_options={"yield_per": _FETCH})
    for chunk in found.partitions():
        for row in chunk:
            total += int.from_bytes(hashlib.sha256(repr(tuple(row)).encode()).digest())
        rows += len(chunk)
        meter.advance(table, len(chunk))
    return Content(rows=rows, digest=f"{total % _MODULUS:064x}")


def contents_before(connection: Connection, tables: tuple[TableMap, ...], meter: Meter) -> dict[str, Content]:
    """What each table holds before the migration, by its name then."""
    return {
        table.before: content_of(connection, table.before, tuple(before for before, _ in table.columns), meter)
        for table in tables
    }


def contents_after(connection: Connection, tables: tuple[TableMap, ...], meter: Meter) -> dict[str, Content]:
    """What each table holds after the migration, by its name before."""
    return {
        table.before: content_of(connection, table.after, tuple(after for _, after in table.columns), meter)
        for table in tables
    }


def table_maps(from_epoch: int, to_epoch: int) -> tuple[TableMap, ...]:
    """The tables of the older epoch, and what of each stays the same on the way to the newer one."""
    return tuple(
        _table_map(table.name, tuple(column.name for column in table.columns), range(from_epoch + 1, to_epoch + 1))
        for table in load_snapshot(from_epoch).tables
    )


def _table_map(name: str, columns: tuple[str, ...], steps: range) -> TableMap:
    current, copies = name, 0
    kept = {column: column for column in columns}
    for epoch in steps:
        for copy in load_step(epoch).copies:
            if copy.source == current:
                names = dict(copy.kept)
                kept = {first: names[column] for first, column in kept.items() if column in names}
                current, copies = copy.table, copies + 1
                break
    return TableMap(before=name, after=current, columns=tuple(kept.items()), copies=copies)

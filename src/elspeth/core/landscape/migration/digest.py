"""What a table holds, as a number of rows and a digest, to compare it before and after a migration."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from elspeth_schema.migrations import revision

__all__ = ["Content", "TableMap", "content_of", "kept_columns"]

_MODULUS = 2**256


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """Rows of a table, and the sum (mod 2^256) of the SHA-256 of each of them, in hex: it does not depend on order."""

    rows: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TableMap:
    """A table across epochs: its name before and after, and the columns whose values stay, as (before, after)."""

    before: str
    after: str
    columns: tuple[tuple[str, str], ...]


def content_of(connection: Connection, table: str, columns: tuple[str, ...]) -> Content:
    """The content of these columns, as the driver returns them; memory does not grow with the table."""
    names = ", ".join(f'"{name}"' for name in columns)
    rows, total = 0, 0
    statement = f'SELECT {names} FROM "{table}"'  # noqa: S608 - names of our own snapshots
    for row in connection.execution_options(yield_per=1000).exec_driver_sql(statement):
        rows += 1
        total += int.from_bytes(hashlib.sha256(repr(tuple(row)).encode()).digest())
    return Content(rows=rows, digest=f"{total % _MODULUS:064x}")


def kept_columns(from_epoch: int, to_epoch: int) -> tuple[TableMap, ...]:
    """The tables of the older epoch, and what of each stays the same on the way to the newer one."""
    maps = {
        table.name: (table.name, {column.name: column.name for column in table.columns})
        for table in revision(from_epoch).metadata.tables.values()
    }
    for epoch in range(from_epoch + 1, to_epoch + 1):
        for copy in revision(epoch).COPIES:
            kept: Mapping[str, str] = dict(copy.kept)
            for first, (name, columns) in maps.items():
                if name == copy.source:
                    still = {old: kept[middle] for old, middle in columns.items() if middle in kept}
                    maps[first] = (copy.table, still)
    return tuple(
        TableMap(before=first, after=name, columns=tuple(columns.items())) for first, (name, columns) in maps.items()
    )

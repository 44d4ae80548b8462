"""The contents of tables, for comparison; and progress."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection

from elspeth.core.landscape.database.tables import TableMap

__all__ = [
    "ContentSum",
    "Meter",
    "Report",
    "TableContent",
    "read_contents_after",
    "read_contents_before",
]

_MODULUS = 2**256

_FETCH = 1000
"""The number of rows fetched at a time, which limits memory."""

Report = Callable[[str, int, int], None]
"""Called with the current table, the number of rows done so far, and the expected total."""


class Meter:
    """Counts rows for a progress report.

    A migration reads and writes each row several times, and each time counts.
    """

    def __init__(self, report: Report | None) -> None:
        self._report = report
        self._done = self._total = 0

    def expect(self, rows: int) -> None:
        """Set the total number of rows to expect."""
        self._total = rows

    def advance(self, table: str, rows: int) -> None:
        """Count rows of a table as done."""
        self._done += rows
        if self._report is not None:
            self._report(table, self._done, self._total)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableContent:
    """The content of a table, in any order of rows.

    `digest` is the sum (mod 2^256) of the SHA-256 of each row, in hex.
    """

    rows: int
    digest: str


class ContentSum:
    """Sums up the rows of a table, in any order."""

    def __init__(self) -> None:
        self._rows = self._sum = 0

    def add(self, row: bytes) -> None:
        """Add a row."""
        self._rows += 1
        self._sum += int.from_bytes(hashlib.sha256(row).digest())

    @property
    def content(self) -> TableContent:
        """Return the content of all rows so far."""
        return TableContent(rows=self._rows, digest=f"{self._sum % _MODULUS:064x}")


def read_contents_before(connection: Connection, tables: tuple[TableMap, ...], meter: Meter) -> dict[str, TableContent]:
    """Return the content of each table before a migration.

    Contents are keyed by the table's old name.
    """
    return {
        table.before: _read_content(connection, table.before, tuple(before for before, _ in table.columns), meter)
        for table in tables
    }


def read_contents_after(connection: Connection, tables: tuple[TableMap, ...], meter: Meter) -> dict[str, TableContent]:
    """Return the content of each table after a migration.

    Contents are keyed by the table's old name.
    """
    return {
        table.before: _read_content(connection, table.after, tuple(after for _, after in table.columns), meter)
        for table in tables
    }


def _read_content(connection: Connection, table: str, columns: tuple[str, ...], meter: Meter) -> TableContent:
    """Return the content of columns as the driver returns it."""
    names = ", ".join(f'"{name}"' for name in columns)
    content = ContentSum()
    statement = f'SELECT {names} FROM "{table}"'  # noqa: S608 - names of our own snapshots
    found = connection.exec_driver_sql(statement, execution_options={"yield_per": _FETCH})
    for chunk in found.partitions():
        for row in chunk:
            content.add(repr(tuple(row)).encode())
        meter.advance(table, len(chunk))
    return content.content

"""The tables and views of a database as found.

Tables that store rows are read. Views, and virtual, partitioned and foreign tables, whose rows come from elsewhere, are
only listed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from elspeth.evidence.format.found import Column, Value

__all__ = ["BY_ALL_COLUMNS", "BY_KEY", "BY_ROWID", "FoundDatabase", "FoundTable", "Row", "quoted"]

Row = Sequence[Value]

BY_KEY, BY_ROWID, BY_ALL_COLUMNS = "primary key", "rowid", "all columns"
"""The possible orders of a table's rows. Rows with the same values in all columns are equal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundTable:
    """A table or a view.

    `key` names the columns of the primary key. `query` selects the rows in `order`; both are None if the rows are not
    read.
    """

    schema: str
    name: str
    kind: str
    definition: str | None
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    order: str | None
    query: str | None


class FoundDatabase(Protocol):
    """A snapshot of a database."""

    @property
    def engine(self) -> str:
        """The product: `sqlite` or `postgresql`."""

    @property
    def name(self) -> str:
        """The name of the file or database."""

    @property
    def version(self) -> str:
        """The version of the product that reads the database."""

    @property
    def encoding(self) -> str:
        """The encoding of stored text."""

    def tables(self) -> Iterator[FoundTable]:
        """Yield tables and views in the order of names."""

    def rows(self, table: FoundTable) -> Iterator[Row]:
        """Yield the rows of a table in order."""


def quoted(name: str) -> str:
    """Return a name as SQL writes it."""
    doubled = name.replace('"', '""')
    return f'"{doubled}"'

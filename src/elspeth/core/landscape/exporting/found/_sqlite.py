"""SQLite databases as found.

A column may hold values of every type, whatever type it declares. The declared type affects only numbers: in a column
of REAL affinity they are floating-point numbers (https://sqlite.org/datatype3.html, section 3.1).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from elspeth.core.landscape.database import LandscapeError
from elspeth.core.landscape.exporting.found.source import BY_ALL_COLUMNS, BY_KEY, BY_ROWID, FoundTable, Row, quoted
from elspeth.evidence.format.found import Column, Form, UndecodableText

__all__ = ["SqliteDatabase"]

_SCHEMA = "main"
_COMPUTED = frozenset({"view", "virtual"})

_ROWID_NAMES = ("rowid", "_rowid_", "oid")
"""The names of the rowid. A column with one of these names hides it."""

_HIDDEN = 1
"""Marks a hidden column of a virtual table in `table_xinfo`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _ColumnInfo:
    column: Column
    key_position: int
    """The position in the primary key from 1, or 0 if the column is not part of it."""


class SqliteDatabase:
    """A snapshot of the file of an open connection."""

    engine = "sqlite"
    version = sqlite3.sqlite_version

    def __init__(self, connection: sqlite3.Connection, name: str) -> None:
        connection.text_factory = _text
        # The driver would begin a transaction only before a write, so that each query could see another state.
        connection.execute("BEGIN")
        self.name = name
        ((self.encoding,),) = connection.execute("PRAGMA encoding")
        self._connection = connection

    def tables(self) -> Iterator[FoundTable]:
        """Yield tables and views in the order of names."""
        found = self._connection.execute(
            "SELECT name, type, wr FROM pragma_table_list WHERE schema = ? ORDER BY name COLLATE BINARY", (_SCHEMA,)
        )
        for name, kind, without_rowid in found.fetchall():
            _require_text(name)
            yield self._table(name, kind, has_rowid=not without_rowid)

    def rows(self, table: FoundTable) -> Iterator[Row]:
        """Yield the rows of a table in order."""
        if table.query is not None:
            yield from self._connection.execute(table.query)

    def _table(self, name: str, kind: str, *, has_rowid: bool) -> FoundTable:
        (definition,) = self._connection.execute(
            "SELECT sql FROM main.sqlite_schema WHERE name = ? AND type IN ('table', 'view')", (name,)
        ).fetchone() or (None,)
        # The columns of views and virtual tables depend on tables and modules that may be missing.
        found = [] if kind in _COMPUTED else self._columns(name)
        columns = [each.column.name for each in found]
        in_key = sorted((each for each in found if each.key_position), key=lambda each: each.key_position)
        key = [each.column.name for each in in_key]
        order, terms = _order(columns, key, has_rowid=has_rowid)
        chosen = ", ".join(map(quoted, columns))
        query = f"SELECT {chosen} FROM {_SCHEMA}.{quoted(name)} ORDER BY {', '.join(terms)}"  # noqa: S608  quoted
        is_read = kind not in _COMPUTED
        return FoundTable(
            schema=_SCHEMA,
            name=name,
            kind="table" if is_read else "virtual table" if kind == "virtual" else kind,
            definition=definition if isinstance(definition, str) else None,
            columns=tuple(each.column for each in found),
            key=tuple(key),
            order=order if is_read else None,
            query=query if is_read else None,
        )

    def _columns(self, table: str) -> list[_ColumnInfo]:
        found = self._connection.execute(
            "SELECT name, type, pk FROM pragma_table_xinfo(?, ?) WHERE hidden <> ? ORDER BY cid",
            (table, _SCHEMA, _HIDDEN),
        )
        return [
            _ColumnInfo(
                column=Column(name=_require_text(name), type=_require_text(declared), form=_form(declared)),
                key_position=position,
            )
            for name, declared, position in found
        ]


def _order(columns: Sequence[str], key: Sequence[str], *, has_rowid: bool) -> tuple[str, list[str]]:
    """Return the order of rows, with its SQL."""
    taken = {column.lower() for column in columns}
    rowid = [name for name in _ROWID_NAMES if name not in taken][:1] if has_rowid else []
    if key:
        # Several rows may have null in their key: the rowid orders these.
        return BY_KEY, [*(f"{quoted(name)} COLLATE BINARY" for name in key), *rowid]
    if rowid:
        return BY_ROWID, rowid
    # An integer and a floating-point number can be equal, so the type orders them.
    terms = [(f"{quoted(name)} COLLATE BINARY", f"typeof({quoted(name)})") for name in columns]
    return BY_ALL_COLUMNS, [term for pair in terms for term in pair]


def _form(declared: str) -> Form:
    """Return the form of a column with this declared type."""
    name = declared.upper()
    if any(part in name for part in ("INT", "CHAR", "CLOB", "TEXT", "BLOB")):
        return Form.ANY
    return Form.ANY_REAL if any(part in name for part in ("REAL", "FLOA", "DOUB")) else Form.ANY


def _require_text(name: str | UndecodableText) -> str:
    """Return a name in UTF-8.

    Raises LandscapeError for any other name, which no driver accepts in a statement.
    """
    if isinstance(name, str):
        return name
    message = f"expected names in UTF-8, got {bytes(name)!r}: rename it"
    raise LandscapeError(message)


def _text(content: bytes) -> str | UndecodableText:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return UndecodableText(content)

"""Checks rows against the columns of a database table."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterable, Mapping

from sqlalchemy import Connection, Inspector, MetaData, Table, false, insert, inspect, null, select
from sqlalchemy.engine.interfaces import ReflectedColumn

from elspeth.contracts.plugins import PluginError, RowRejectedError
from elspeth.contracts.rows import RowData
from elspeth.contracts.schema import SchemaConfig

__all__ = ["TargetColumns"]

_PLACEHOLDER = re.compile(r"%\(.+?\)s", re.DOTALL)
"""A text that SQLAlchemy reads as a parameter, even in a quoted name."""

_SYSTEM_COLUMNS: Mapping[str, frozenset[str]] = {
    "postgresql": frozenset({"cmax", "cmin", "ctid", "tableoid", "xmax", "xmin"})
}
_MAX_COLUMNS: Mapping[str, int] = {"postgresql": 1_600}


class TargetColumns:
    """The columns of a table, which may not exist yet.

    Every reason to refuse a row is found before anything is inserted, so that no row can make the transaction fail that
    inserts all of them. Messages do not repeat the names of fields.
    """

    def __init__(self, connection: Connection, table: str) -> None:
        self._table = table
        dialect = connection.dialect
        self._system = _SYSTEM_COLUMNS.get(dialect.name, frozenset())
        self._max_name_bytes = dialect.max_identifier_length
        self._max_columns = _column_limit(connection)
        self._folded = _FOLDING.get(dialect.name, str)
        self._refuses_nul = dialect.name == "postgresql"
        self._names: set[str] = set()
        self._taken: set[str] = set()
        inspector = inspect(connection)
        self._columns: Mapping[str, ReflectedColumn] | None = None
        if inspector.has_table(table):
            self._columns = {column["name"]: column for column in inspector.get_columns(table)}
        self._required = [] if self._columns is None else list(_required(self._columns.values(), dialect.name))
        self._generated = frozenset(name for name, column in (self._columns or {}).items() if _takes_no_value(column))
        self._probe(connection, inspector)

    def require(self, schema: SchemaConfig) -> None:
        """Add the fields of a schema to the columns.

        Raises PluginError if no row of the schema can be written.
        """
        declared = [field.name for field in schema.fields or ()]
        if self._columns is None:
            try:
                self._check_names(declared)
            except RowRejectedError as error:
                raise PluginError(f"the schema: {error}") from error
        else:
            lacking = [repr(name) for name in declared if name not in self._columns]
            if lacking:
                columns = f"column{'s' if len(lacking) > 1 else ''} {', '.join(lacking)}"
                raise PluginError(f"the table has no {columns}, which the schema names")
            ungiven = [name for name in self._required if name not in declared]
            if ungiven and not schema.allows_extra_fields:
                problem = "must have a value, and the schema has no such field"
                raise PluginError(f"the column {ungiven[0]!r} of the table {problem}")
            given = [name for name in declared if name in self._generated]
            if given:
                raise PluginError(f"the column {given[0]!r} of the table makes its own values, and the schema names it")
        self.add(declared)

    def check(self, row: RowData) -> None:
        """Raise RowRejectedError for a row that does not fit."""
        if not row and not self._names:
            raise RowRejectedError("the row has no fields, so that nothing would be written of it")
        if self._columns is None:
            if not self._names.issuperset(row):
                self._check_names([*self._names, *(name for name in row if name not in self._names)])
        else:
            unknown = len(row.keys() - self._columns.keys())
            if unknown:
                raise RowRejectedError(f"fields that are not among the columns of the table {self._table}: {unknown:,}")
            if not self._generated.isdisjoint(row):
                raise RowRejectedError("a field is one whose column of the table makes its own values")
            absent = next((name for name in self._required if row.get(name) is None), None)
            if absent is not None:
                raise RowRejectedError(f"the column {absent!r} of the table must have a value")
        if self._refuses_nul and any(isinstance(value, str) and "\0" in value for value in row.values()):
            raise RowRejectedError("a text has a NUL character")

    def add(self, names: Iterable[str]) -> None:
        """Add the names of an accepted row."""
        self._names.update(names)

    def _check_names(self, names: list[str]) -> None:
        """Raise RowRejectedError for columns that no table can have."""
        if len(names) > self._max_columns:
            raise RowRejectedError("the table would have more columns than the database takes")
        if len({self._folded(name) for name in names}) < len(names):
            raise RowRejectedError("two fields have names that are the same to the database")
        for name in names:
            if not name:
                raise RowRejectedError("a field has no name")
            if "\0" in name:
                raise RowRejectedError("the name of a field has a NUL character")
            if _PLACEHOLDER.search(name):
                raise RowRejectedError("the name of a field looks like a parameter of a statement")
            if len(name.encode()) > self._max_name_bytes:
                raise RowRejectedError(f"the name of a field is longer than {self._max_name_bytes:,} bytes")
            if name in self._system:
                raise RowRejectedError("the name of a field is one that the database keeps for itself")

    def _probe(self, connection: Connection, inspector: Inspector) -> None:
        """Check that rows can be inserted, by inserting none.

        This fails for a view, and without the right to insert. It is left out on SQLite, where it would wait for any
        other process that writes to the file.
        """
        if self._columns is None:
            return
        if connection.dialect.name == "sqlite":
            if self._table in inspector.get_view_names():
                raise PluginError("is a view, expected a table")
            return
        table = Table(self._table, MetaData(), autoload_with=connection)
        # Databases refuse values for generated columns, even if no row is inserted.
        column = next((name for name in self._columns if name not in self._generated), next(iter(self._columns)))
        connection.execute(insert(table).from_select([column], select(null()).where(false())))
        connection.rollback()


def _ascii_lower(name: str) -> str:
    return name.encode().lower().decode()  # bytes.lower() changes ASCII letters only


_FOLDING: Mapping[str, Callable[[str], str]] = {"sqlite": _ascii_lower}


def _required(columns: Iterable[ReflectedColumn], dialect: str) -> Iterable[str]:
    """Yield the columns for which inserts must give a value."""
    for column in columns:
        makes_its_own = (
            column["default"] is not None
            or column.get("identity") is not None
            or column.get("computed") is not None
            or (dialect == "sqlite" and column.get("primary_key"))  # most likely an alias of the rowid
        )
        if not column["nullable"] and not makes_its_own:
            yield column["name"]


def _takes_no_value(column: ReflectedColumn) -> bool:
    identity = column.get("identity")
    return column.get("computed") is not None or (identity is not None and identity["always"])


def _column_limit(connection: Connection) -> float:
    """Return the largest number of columns of tables and inserts."""
    raw: object = connection.connection.dbapi_connection
    if isinstance(raw, sqlite3.Connection):
        limits = (sqlite3.SQLITE_LIMIT_COLUMN, sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)
        return min(map(raw.getlimit, limits))
    return _MAX_COLUMNS.get(connection.dialect.name, float("inf"))

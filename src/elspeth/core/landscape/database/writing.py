"""Writes rows, which are passed to the driver as tuples.

There is one statement per table and database. SQLAlchemy's processing of parameters would take as long as the
database's own work. Its connections still execute the statements, so that errors and events are SQLAlchemy's, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from sqlalchemy import URL, Connection, Engine, Table, event
from sqlalchemy.exc import IntegrityError

if TYPE_CHECKING:
    from psycopg import Cursor
    from sqlalchemy.engine.interfaces import DBAPICursor, ExecutionContext

__all__ = ["StoredTimes", "copy_on_insert", "insert_rows", "insert_sound_rows", "stored_times", "update_rows"]

_Row = tuple[object, ...]

_COPY = "COPY "


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTimes:
    """Converts times to the form in which rows hold them.

    `of_moment` converts a datetime, `of_text` the text of a time in an export.
    """

    of_moment: Callable[[datetime], object]
    of_text: Callable[[str], object]


def stored_times(dialect: str) -> StoredTimes:
    """Return the conversion of times for a dialect."""
    return _SQLITE_TIMES if dialect == "sqlite" else _POSTGRESQL_TIMES


def insert_rows(connection: Connection, table: Table, rows: Sequence[_Row]) -> None:
    """Insert rows, given in column order.

    Raises IntegrityError if the database refuses one of them.
    """
    if not rows:
        return
    dialect = connection.dialect.name
    statement = _copy(table) if dialect == "postgresql" and len(rows) > 1 else _insert(table, dialect)
    connection.exec_driver_sql(statement, list(rows))


def insert_sound_rows(
    connection: Connection, table: Table, rows: Sequence[_Row]
) -> Iterator[tuple[int, IntegrityError]]:
    """Insert rows, and yield those that the database refuses.

    Each is given by its index, with the database's error. All rows are tried at once; if that fails, one by one.
    """
    try:
        with connection.begin_nested():
            insert_rows(connection, table, rows)
    except IntegrityError:
        for place, row in enumerate(rows):
            try:
                with connection.begin_nested():
                    insert_rows(connection, table, [row])
            except IntegrityError as error:
                yield place, error


def update_rows(
    connection: Connection, table: Table, columns: Sequence[str], key: Sequence[str], rows: Sequence[_Row]
) -> None:
    """Set columns of the rows with given keys.

    A row holds the new values, followed by the values of the key. Raises IntegrityError if the database refuses a
    change.
    """
    connection.exec_driver_sql(_update(table, tuple(columns), tuple(key), connection.dialect.name), list(rows))


def copy_on_insert(engine: Engine) -> None:
    """Make the engine of a PostgreSQL database run COPY statements."""
    event.listen(engine, "do_executemany", _run_copy)


def _run_copy(cursor: DBAPICursor, statement: str, parameters: Sequence[_Row], _: ExecutionContext) -> bool | None:
    if not statement.startswith(_COPY):
        return None
    session: Cursor = cursor  # type: ignore[assignment]  # psycopg's
    with session.copy(statement.encode()) as copy:
        for row in parameters:
            copy.write_row(row)
    return True


# -- statements ------------------------------------------------------------------------------------------------------


@cache
def _insert(table: Table, dialect: str) -> str:
    names = list(table.columns.keys())
    marks = ", ".join([_mark(dialect)] * len(names))
    return f"INSERT INTO {_quoted(table.name, dialect)} ({_list(names, dialect)}) VALUES ({marks})"  # noqa: S608 - names of the schema


@cache
def _copy(table: Table) -> str:
    names = list(table.columns.keys())
    return f"{_COPY}{_quoted(table.name, 'postgresql')} ({_list(names, 'postgresql')}) FROM STDIN"


@cache
def _update(table: Table, columns: tuple[str, ...], key: tuple[str, ...], dialect: str) -> str:
    mark = _mark(dialect)
    changes = ", ".join(f"{_quoted(name, dialect)} = {mark}" for name in columns)
    condition = " AND ".join(f"{_quoted(name, dialect)} = {mark}" for name in key)
    return f"UPDATE {_quoted(table.name, dialect)} SET {changes} WHERE {condition}"  # noqa: S608 - names of the schema


def _mark(dialect: str) -> str:
    return "?" if dialect == "sqlite" else "%s"


def _list(names: Sequence[str], dialect: str) -> str:
    return ", ".join(_quoted(name, dialect) for name in names)


def _quoted(name: str, dialect: str) -> str:
    """Return a name, quoted if the dialect requires it."""
    return str(URL.create(dialect).get_dialect()().identifier_preparer.quote(name))


# -- times -----------------------------------------------------------------------------------------------------------


def _sqlite_time(moment: datetime) -> str:
    """Return a time in UTC as SQLAlchemy's type writes it."""
    second = _second(moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second)
    return f"{second}.{moment.microsecond:06}"


@lru_cache(maxsize=64)
def _second(year: int, month: int, day: int, hour: int, minute: int, second: int) -> str:  # noqa: PLR0917 - quickest
    # Many records share a second, so the result is cached. `isoformat` would take twice as long for each record.
    return f"{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"


def _sqlite_text(text: str) -> str:
    return f"{text[:10]} {text[11:26]}"


def _unchanged_moment(moment: datetime) -> datetime:
    return moment


def _unchanged_text(text: str) -> str:
    return text


_SQLITE_TIMES = StoredTimes(of_moment=_sqlite_time, of_text=_sqlite_text)
_POSTGRESQL_TIMES = StoredTimes(of_moment=_unchanged_moment, of_text=_unchanged_text)

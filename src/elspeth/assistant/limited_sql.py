"""Runs SQL of other people, read-only and within limits.

On SQLite it can read the columns that exports have, and nothing else: not the contents of rows, which are kept beside
errors and for rows that wait. On PostgreSQL it can read whatever the role may read.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from typing import cast

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from elspeth.core.landscape.database.errors import LandscapeError
from elspeth_schema.records import RECORD_TYPES

__all__ = ["READABLE", "Found", "QueryLimits", "QueryRefusedError", "query"]

READABLE: Mapping[str, frozenset[str]] = {
    each.table.name: frozenset(column.name for column in each.columns if column.withheld is None)
    for each in RECORD_TYPES.values()
}
"""The columns that exports have, by the table of each."""

_READING = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE})
_REFUSED_FUNCTIONS = frozenset({"load_extension", "fts3_tokenizer"})
_STEPS = 20_000
"""Steps of SQLite's virtual machine between two checks of the clock: some milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryLimits:
    """The limits of one query: seconds, rows, characters."""

    seconds: float = 5.0
    rows: int = 200
    characters: int = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The answer to a query.

    `is_cut` is true if there are more rows than the limits allow.
    """

    columns: tuple[str, ...]
    rows: list[tuple[object, ...]]
    is_cut: bool


class QueryRefusedError(LandscapeError):
    """A query is wrong, would write, or exceeds a limit."""


def query(connection: Connection, sql: str, limits: QueryLimits) -> Found:
    """Return the answer to a query.

    Values are texts, numbers or None. Do not use the transaction of the connection afterwards. Raises
    QueryRefusedError.
    """
    guard = _sqlite_guard if connection.dialect.name == "sqlite" else _postgresql_guard
    with guard(connection, limits):
        # A server-side cursor takes one statement, which must be a query; colons are not parameters.
        options = {"stream_results": True, "yield_per": 1, "no_parameters": True}
        with connection.execution_options(**options).exec_driver_sql(sql) as result:
            if not result.returns_rows:
                raise QueryRefusedError("the query is refused: expected a SELECT, which returns rows")
            return _read(result.keys(), cast("Iterator[tuple[object, ...]]", iter(result)), limits)


def _read(columns: object, rows: Iterator[tuple[object, ...]], limits: QueryLimits) -> Found:
    found: list[tuple[object, ...]] = []
    characters = 0
    for row in rows:
        values = tuple(map(_shown, row))
        characters += sum(len(str(value)) for value in values)
        if len(found) == limits.rows or characters > limits.characters:
            return Found(columns=tuple(cast("list[str]", columns)), rows=found, is_cut=True)
        found.append(values)
    return Found(columns=tuple(cast("list[str]", columns)), rows=found, is_cut=False)


def _shown(value: object) -> object:
    match value:
        case float() if not isfinite(value):  # JSON has no such numbers
            return str(value)
        case None | bool() | int() | float() | str():
            return value
        case bytes() | memoryview():
            return f"{len(value)} bytes"
        case datetime():
            return value.isoformat()
        case _:
            return str(value)


@contextmanager
def _sqlite_guard(connection: Connection, limits: QueryLimits) -> Iterator[None]:
    driver = cast("sqlite3.Connection", connection.connection.driver_connection)
    deadline = time.monotonic() + limits.seconds

    def allow(action: int, first: str | None, second: str | None, *_: str | None) -> int:
        is_refused = (
            action not in _READING
            or (action == sqlite3.SQLITE_FUNCTION and second in _REFUSED_FUNCTIONS)
            or (action == sqlite3.SQLITE_READ and not _is_readable(first or "", second or ""))
        )
        return sqlite3.SQLITE_DENY if is_refused else sqlite3.SQLITE_OK

    longest = driver.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 10 * limits.characters)
    driver.set_authorizer(allow)
    driver.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
    try:
        yield
    except DBAPIError as error:
        is_late = time.monotonic() > deadline
        raise _refusal(f"took longer than {limits.seconds:g} seconds" if is_late else str(error.orig)) from error
    finally:
        driver.set_progress_handler(None, 0)
        driver.set_authorizer(None)
        driver.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, longest)


def _is_readable(table: str, column: str) -> bool:
    """Return whether a query may read a column.

    Its name is empty where no column is read, as in a count of rows; the table may be a named subquery then.
    """
    return not column or column in READABLE.get(table, ())


@contextmanager
def _postgresql_guard(connection: Connection, limits: QueryLimits) -> Iterator[None]:
    # The transaction is read-only from its beginning.
    connection.execute(
        text("SELECT set_config('statement_timeout', :milliseconds, true)"),
        {"milliseconds": str(int(limits.seconds * 1000))},
    )
    try:
        yield
    except DBAPIError as error:
        raise _refusal(str(error.orig)) from error


def _refusal(problem: str) -> QueryRefusedError:
    return QueryRefusedError(f"the query is refused: {problem}")

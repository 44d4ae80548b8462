"""The audit database: opening it, making it durable, refusing one that does not fit."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, OperationalError

from elspeth.core.landscape.database.bookkeeping import create_schema, lock_schema
from elspeth.core.landscape.database.connections import durable_engine, parsed_url, reason, shown
from elspeth.core.landscape.database.errors import LandscapeError, SchemaCompatibilityError
from elspeth.core.landscape.database.messages import refuse_unless_current
from elspeth.core.landscape.database.state import Condition, look, recognise

__all__ = ["LandscapeDB", "LandscapeError", "SchemaCompatibilityError"]


class LandscapeDB:
    """An audit database, on SQLite or PostgreSQL.

    Opening an empty database creates the tables, unless `create_tables` is false. A copy is `known_as` the URL of its
    original in messages. Raises SchemaCompatibilityError for a database that holds other tables, LandscapeError for one
    that cannot be opened, or later stops answering: its disk is full, the connection is lost.
    """

    def __init__(self, connection_string: str, *, create_tables: bool = True, known_as: str | None = None) -> None:
        url = parsed_url(connection_string)
        self._url = known_as or shown(url)
        self._is_sqlite = url.get_backend_name() == "sqlite"
        self._engine = durable_engine(url, create=create_tables)
        try:
            self._settle(create_tables=create_tables)
        except DBAPIError as error:
            self.close()
            message = f"audit database {self.url} cannot be opened: {reason(error, url)}"
            raise LandscapeError(message) from error
        except BaseException:
            self.close()
            raise

    @classmethod
    def in_memory(cls) -> Self:
        """A database that lives as long as this object. It has one connection: finish an export before recording on."""
        return cls("sqlite:///:memory:")

    @classmethod
    def from_url(cls, url: str, *, create_tables: bool = True) -> Self:
        """The database at an SQLAlchemy URL; with `create_tables=False` it must already hold the tables."""
        return cls(url, create_tables=create_tables)

    @property
    def engine(self) -> Engine:
        """The SQLAlchemy engine."""
        return self._engine

    @property
    def url(self) -> str:
        """The database's URL, with a password hidden."""
        return self._url

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection in a transaction that is committed at the end, or rolled back if the block raises."""
        with self._named(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A connection whose reads all see the database as it was at the first of them."""
        options = {} if self._is_sqlite else {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with self._named(), self._engine.connect().execution_options(**options) as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self, connection: Connection | None = None) -> Iterator[Connection]:
        """Begin a transaction that is meant to write, on the connection given or on a new one, and commit it.

        SQLite takes its write lock at once: a transaction that first reads and then writes would be refused, without
        waiting, if another process wrote in between.
        """
        if connection is not None:
            with self._named(), connection.begin():
                yield connection
            return
        immediate = {"sqlite_begin": "IMMEDIATE"}
        with self._named(), self._engine.connect().execution_options(**immediate) as new, new.begin():
            yield new

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Say which database it is that fails, for a reason outside."""
        try:
            yield
        except (DBAPIError, sqlite3.DatabaseError) as error:
            driver_error = error.orig if isinstance(error, DBAPIError) else error
            # SQLite's driver reports a damaged file by the base class of its errors, which has no other use.
            if not isinstance(error, OperationalError) and type(driver_error) is not sqlite3.DatabaseError:
                raise
            problem = reason(error, self._engine.url) if isinstance(error, DBAPIError) else str(error)
            message = f"audit database {self.url}: {problem}"
            raise LandscapeError(message) from error

    def _settle(self, *, create_tables: bool) -> None:
        """Create the tables in an empty database; refuse any other that does not hold them, before touching it."""
        state = look(self._engine.url)
        if state.kind is Condition.EMPTY and create_tables:
            # One transaction: a crash leaves an empty database or a complete one.
            with self.writing() as connection:
                lock_schema(connection)
                state = recognise(connection)  # another process may have been faster
                if state.kind is Condition.EMPTY:
                    create_schema(connection)
                    return
        refuse_unless_current(state, self.url)
        with self._engine.connect():
            pass  # a connection that cannot be made durable is refused now, not at the first record

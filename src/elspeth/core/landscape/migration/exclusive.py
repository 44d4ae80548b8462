"""A transaction in which nobody else can write, on either engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event, inspect
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError

from elspeth.core.landscape.engines import in_utc, prepared, reason
from elspeth.core.landscape.errors import LandscapeError
from elspeth.core.landscape.migration.bookkeeping import lock_schema

__all__ = ["CommitFailedError", "exclusive", "probe"]

_PATIENCE_MS = 2_000
"""How long to wait for readers and writers: they have to be stopped before a migration."""


class CommitFailedError(LandscapeError):
    """The database, or the connection to it, failed while it committed: it may have done so or not."""


def probe(url: URL) -> None:
    """DBAPIError unless `exclusive` would get the database for itself and could write to it. Changes nothing."""
    with _engine(url).connect() as connection:
        _lock_tables(connection)
        # SQLite notices at the first write only that it may not.
        connection.exec_driver_sql("CREATE TABLE _probe (probe INTEGER)")
        connection.rollback()


@contextmanager
def exclusive(url: URL) -> Iterator[Connection]:
    """A connection in a transaction that has every table for itself; committed at the end of the block.

    An exception in the block undoes all of it. DBAPIError if others do not leave the database in time,
    CommitFailedError if it is not known whether it was committed.
    """
    with _engine(url).connect() as connection:
        _lock_tables(connection)
        yield connection
        try:
            # A crash before this line leaves the old database, after it the new one.
            connection.commit()
        except DBAPIError as error:
            raise CommitFailedError(reason(error)) from error


def _engine(url: URL) -> Engine:
    engine = create_engine(url, poolclass=NullPool)
    if url.get_backend_name() == "sqlite":
        event.listen(engine, "connect", prepared(_prepare_sqlite))
        event.listen(engine, "begin", _begin_exclusive)
    else:
        event.listen(engine, "connect", prepared(in_utc))
    return engine


def _prepare_sqlite(connection: DBAPIConnection) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {_PATIENCE_MS}")
    cursor.execute("PRAGMA synchronous = FULL")
    # Inside a transaction this has no effect, and dropping an old table would delete what refers to it.
    cursor.execute("PRAGMA foreign_keys = OFF")


def _begin_exclusive(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN EXCLUSIVE")


def _lock_tables(connection: Connection) -> None:
    """Begin: wait for the end of another migration, then for everybody else, but not for long."""
    if connection.dialect.name == "sqlite":
        connection.begin()
        return
    lock_schema(connection)
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {_PATIENCE_MS}")
    connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
    quote = connection.dialect.identifier_preparer.quote
    tables = ", ".join(quote(name) for name in sorted(inspect(connection).get_table_names()))
    connection.exec_driver_sql(f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE")

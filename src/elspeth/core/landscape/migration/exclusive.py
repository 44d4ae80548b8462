"""A transaction in which nobody else can write, on either engine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError

from elspeth.core.landscape.database.connections import describe_error, prepare_connections, set_utc
from elspeth.core.landscape.database.errors import LandscapeError
from elspeth.core.landscape.database.tables import lock_tables

__all__ = ["CommitFailedError", "exclusive", "probe"]

_PATIENCE_MS = 2_000
"""How long to wait for readers and writers: they have to be stopped before a migration."""


class CommitFailedError(LandscapeError):
    """The database, or the connection to it, failed while it committed: it may have done so or not."""


def probe(url: URL, tables: Iterable[str]) -> None:
    """DBAPIError unless `exclusive` would get the tables for itself and could write to them. Changes nothing."""
    with _engine(url).connect() as connection:
        _lock(connection, tables)
        # SQLite notices at the first write only that it may not.
        connection.exec_driver_sql("CREATE TABLE _elspeth_probe (probe INTEGER)")
        connection.rollback()


@contextmanager
def exclusive(url: URL, tables: Iterable[str]) -> Iterator[Connection]:
    """A connection in a transaction that has the tables for itself; committed at the end of the block.

    An exception in the block undoes all of it. DBAPIError if others do not leave the tables in time, CommitFailedError
    if it is not known whether it was committed.
    """
    with _engine(url).connect() as connection:
        _lock(connection, tables)
        yield connection
        try:
            # A crash before this line leaves the old database, after it the new one.
            connection.commit()
        except DBAPIError as error:
            raise CommitFailedError(describe_error(error, url)) from error


def _engine(url: URL) -> Engine:
    engine = create_engine(url, poolclass=NullPool)
    if url.get_backend_name() == "sqlite":
        prepare_connections(engine, _prepare_sqlite)
        event.listen(engine, "begin", _begin_exclusive)
    else:
        prepare_connections(engine, set_utc)
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


def _lock(connection: Connection, tables: Iterable[str]) -> None:
    """Begin: wait for the end of another migration, then for everybody else, but not for long."""
    if connection.dialect.name == "sqlite":
        connection.begin()  # of the whole file
        return
    lock_tables(connection)
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {_PATIENCE_MS}")
    connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
    connection.exec_driver_sql(f"LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE")

"""The audit database: opening it, making it durable, refusing one that does not fit."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import Connection, Engine, create_engine, event, inspect
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DatabaseError
from sqlalchemy.pool import ConnectionPoolEntry, NullPool, StaticPool

from elspeth_schema import EPOCH
from elspeth_schema.tables import metadata

__all__ = ["LandscapeDB", "LandscapeError", "SchemaCompatibilityError"]

_BUSY_TIMEOUT_MS = 30_000
"""How long a writer waits for another process's transaction."""

_SQLITE_PRAGMAS = {"foreign_keys": 1, "synchronous": 2, "recursive_triggers": 1, "busy_timeout": _BUSY_TIMEOUT_MS}
"""FULL (2) synchronisation: with NORMAL a power cut loses transactions that were already reported as committed."""

_DRIVERS = ("sqlite", "sqlite+pysqlite", "postgresql", "postgresql+psycopg")
_EXPECTED_URL = "Expected sqlite:///PATH or postgresql+psycopg://..."

_SHOWN = 5
"""How many differences a message lists."""


class LandscapeError(Exception):
    """The audit database cannot be used; the message says why and what to do."""


class SchemaCompatibilityError(LandscapeError):
    """The database holds other tables than this version works with."""


class LandscapeDB:
    """An audit database, on SQLite or PostgreSQL.

    Opening an empty database creates the tables, unless `create_tables` is false. Raises SchemaCompatibilityError for a
    database that holds other tables, LandscapeError for one that cannot be opened.
    """

    def __init__(self, connection_string: str, *, create_tables: bool = True) -> None:
        url = _parsed(connection_string)
        self._is_sqlite = url.get_backend_name() == "sqlite"
        self._engine = _sqlite_engine(url, create=create_tables) if self._is_sqlite else _postgresql_engine(url)
        try:
            self._check_tables(create_tables=create_tables)
        except DatabaseError as error:
            self.close()
            message = f"audit database {self.url} cannot be opened: {error.orig}"
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
        return self._engine.url.render_as_string(hide_password=True)

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection in a transaction that is committed at the end, or rolled back if the block raises."""
        with self._engine.begin() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A connection whose reads all see the database as it was at the first of them."""
        options = {} if self._is_sqlite else {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with self._engine.connect().execution_options(**options) as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A connection in a transaction that is meant to write.

        SQLite takes its write lock at once: a transaction that first reads and then writes would be refused, without
        waiting, if another process wrote in between.
        """
        with self._engine.connect().execution_options(sqlite_begin="IMMEDIATE") as connection, connection.begin():
            yield connection

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        self.close()

    def _check_tables(self, *, create_tables: bool) -> None:
        found = self._columns_by_table()
        if not found and create_tables:
            # One transaction: a crash leaves an empty database or a complete one.
            with self.writing() as connection:
                metadata.create_all(connection)
            return
        differences = [f"table {name} is missing" for name in metadata.tables if name not in found]
        for name, table in metadata.tables.items():
            missing = [column.name for column in table.columns if column.name not in found.get(name, table.columns)]
            differences += [f"column {name}.{column} is missing" for column in missing]
        if differences:
            shown = "; ".join(differences[:_SHOWN])
            if len(differences) > _SHOWN:
                shown += f"; and {len(differences) - _SHOWN} more"
            message = (
                f"audit database {self.url} does not hold the tables of epoch {EPOCH}: {shown}. "
                "Nothing was changed. Use another database (landscape.url), or the version that wrote this one."
            )
            raise SchemaCompatibilityError(message)
        with self._engine.connect():
            pass  # a connection that cannot be made durable is refused now, not at the first record

    def _columns_by_table(self) -> dict[str, set[str]]:
        """The columns of our tables, as far as there are any; of other tables only the name."""
        # On SQLite without our settings: a database that is not ours keeps its journal mode.
        engine = create_engine(self._engine.url, poolclass=NullPool) if self._is_sqlite else self._engine
        with engine.connect() as connection:
            inspector = inspect(connection)
            return {
                name: {column["name"] for column in inspector.get_columns(name)} if name in metadata.tables else set()
                for name in inspector.get_table_names()
            }


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        hidden = re.sub("//.*@", "//***@", url)
        message = f"audit database URL {hidden!r} is not usable: {error}. {_EXPECTED_URL}"
        raise LandscapeError(message) from error
    shown = parsed.render_as_string(hide_password=True)
    if parsed.drivername not in _DRIVERS:
        message = f"audit database URL {shown!r} is not usable: {parsed.drivername} is not supported. {_EXPECTED_URL}"
        raise LandscapeError(message)
    try:
        parsed.get_dialect().import_dbapi()
    except ImportError as error:
        message = f"audit database {shown} needs a driver: {error}. Install elspeth[postgres]."
        raise LandscapeError(message) from error
    return parsed


def _sqlite_engine(url: URL, *, create: bool) -> Engine:
    in_memory = url.database in (None, "", ":memory:")
    if not in_memory and url.database is not None and not url.database.startswith("file:"):
        directory = Path(url.database).parent
        if create:
            _make_directory(directory, url.database)
        elif not Path(url.database).exists():
            message = f"audit database {url.database} does not exist"
            raise LandscapeError(message)
    if in_memory:
        # The one connection serves every thread; the recorder lets them take turns.
        engine = create_engine(url, poolclass=StaticPool, connect_args={"check_same_thread": False})
    else:
        engine = create_engine(url)
    event.listen(engine, "connect", _or_closed(_set_sqlite_pragmas))
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _make_directory(directory: Path, database: str) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"audit database {database} cannot be created: directory {directory}: {error.strerror}"
        raise LandscapeError(message) from error


def _postgresql_engine(url: URL) -> Engine:
    engine = create_engine(url)
    event.listen(engine, "connect", _or_closed(_assert_postgresql_durability))
    return engine


def _or_closed(
    prepare: Callable[[DBAPIConnection], None],
) -> Callable[[DBAPIConnection, ConnectionPoolEntry], None]:
    """Prepare a new connection, or close it: the pool forgets one whose preparation fails."""

    def listener(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        try:
            prepare(connection)
        except BaseException:
            connection.close()
            raise

    return listener


def _set_sqlite_pragmas(connection: DBAPIConnection) -> None:
    """Make a SQLite connection durable and strict, and prove that it is."""
    # The driver must not begin transactions by itself: it would do so only at the first write, without a read snapshot.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    (mode,) = cursor.fetchone() or ("",)
    if mode not in ("wal", "memory"):
        message = f"SQLite did not switch to write-ahead logging, got journal_mode {mode!r}"
        raise LandscapeError(message)
    for name, value in _SQLITE_PRAGMAS.items():
        cursor.execute(f"PRAGMA {name} = {value}")
        cursor.execute(f"PRAGMA {name}")
        (got,) = cursor.fetchone() or (None,)
        if got != value:
            message = f"SQLite did not accept PRAGMA {name}: expected {value}, got {got}"
            raise LandscapeError(message)
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get('sqlite_begin', 'DEFERRED')}")


def _assert_postgresql_durability(connection: DBAPIConnection) -> None:
    """Refuse a server that reports commits before they are on disk."""
    cursor = connection.cursor()
    cursor.execute("SELECT current_setting('fsync'), current_setting('synchronous_commit')")
    fsync, synchronous_commit = cursor.fetchone() or ("", "")
    cursor.close()
    if fsync != "on" or synchronous_commit == "off":
        message = (
            "PostgreSQL would lose committed audit records in a crash: expected fsync on, synchronous_commit not off,"
            f" got fsync {fsync} and synchronous_commit {synchronous_commit}. Change the server's settings."
        )
        raise LandscapeError(message)

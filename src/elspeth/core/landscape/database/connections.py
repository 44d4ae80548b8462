"""Durable and read-only connections to audit databases."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor, ExceptionContext
from sqlalchemy.exc import DatabaseError, DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry, NullPool, StaticPool

from elspeth.contracts.database_urls import mask_url
from elspeth.core.landscape.database.errors import LandscapeError
from elspeth.core.landscape.database.urls import describe_error, is_in_memory, sqlite_path
from elspeth.core.landscape.database.writing import copy_on_insert
from elspeth.outputs.writing import make_directory

__all__ = [
    "durable_engine",
    "prepare_connections",
    "read_only_connection",
    "read_only_parameters",
    "set_utc",
]

_BUSY_TIMEOUT_MS = 30_000
"""How long a writer waits for another process's transaction, in milliseconds."""

_READ_TIMEOUT_S = 5
"""How long a read-only connection waits for another process's transaction."""

_RETRY_S = 0.01
"""The pause between attempts where SQLite does not wait by itself."""

_SQLITE_PRAGMAS = {"foreign_keys": 1, "synchronous": 2, "recursive_triggers": 1, "busy_timeout": _BUSY_TIMEOUT_MS}
"""FULL (2) synchronisation: with NORMAL a power cut loses transactions that were already reported as committed."""

_IMMUTABLE = {"mode": "ro", "immutable": "1"}
"""URI parameters that keep SQLite from locking a file and from writing beside it."""

_KEEPALIVE_S = 60
"""The idle time after which the operating system checks that a server still answers, in seconds."""


# -- connections that record -----------------------------------------------------------------------------------------


def durable_engine(url: URL, *, create: bool) -> Engine:
    """Return an engine whose commits survive a crash.

    `create` makes the directory of a SQLite file. Without it, an existing file that this process may not change can
    still be read, and each write to it is refused. Raises LandscapeError, at once or at the first connection, for a
    database that cannot guarantee durability.
    """
    return _sqlite_engine(url, create=create) if url.get_backend_name() == "sqlite" else _postgresql_engine(url)


def prepare_connections(engine: Engine, prepare: Callable[[DBAPIConnection], None]) -> None:
    """Prepare each new connection of the engine, or close it."""

    def listener(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        try:
            prepare(connection)
        except BaseException:
            connection.close()  # the pool drops a connection whose preparation fails, without closing it
            raise

    event.listen(engine, "connect", listener)


def set_utc(connection: DBAPIConnection) -> None:
    """Make PostgreSQL return times in UTC, whatever the server's zone."""
    connection.cursor().execute("SET TIME ZONE 'UTC'")
    connection.commit()


def _sqlite_engine(url: URL, *, create: bool) -> Engine:
    in_memory = is_in_memory(url)
    if not in_memory and url.database is not None and not url.database.startswith("file:"):
        directory = Path(url.database).parent
        if create:
            _make_directory(directory, url.database)
        elif not Path(url.database).exists():
            message = f"audit database {url.database} does not exist"
            raise LandscapeError(message)
        _refuse_directory(Path(url.database))
    if not in_memory and not create and _is_immutable(sqlite_path(url)):
        return _immutable_engine(url, sqlite_path(url))
    if in_memory:
        # All threads use the one connection; the recorder makes them take turns.
        engine = create_engine(url, poolclass=StaticPool, connect_args={"check_same_thread": False})
    else:
        engine = create_engine(url)
    prepare_connections(engine, _set_sqlite_pragmas)
    event.listen(engine, "handle_error", _report_damage)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _postgresql_engine(url: URL) -> Engine:
    # The server, or a firewall, may have ended a session that was idle.
    alive = {} if "keepalives_idle" in url.query else {"keepalives_idle": _KEEPALIVE_S}
    engine = create_engine(url, pool_pre_ping=True, connect_args=alive)
    prepare_connections(engine, _require_postgresql_durability)
    prepare_connections(engine, _load_odd_times_as_text)
    copy_on_insert(engine)
    return engine


def _immutable_engine(url: URL, path: Path) -> Engine:
    """Return an engine for a read-only file.

    SQLite refuses every write to it.
    """
    engine = create_engine(url.set(database=path.as_uri(), query={**_IMMUTABLE, "uri": "true"}), poolclass=NullPool)
    prepare_connections(engine, _stop_implicit_begin)
    event.listen(engine, "handle_error", _report_damage)
    event.listen(engine, "begin", _begin_sqlite)
    _refuse_if_changed(engine, path)
    return engine


def _refuse_directory(path: Path, what: str = "audit database") -> None:
    if path.is_dir():
        message = f"{what} {path} is a directory, expected a file"
        raise LandscapeError(message)


def _make_directory(directory: Path, database: str) -> None:
    try:
        make_directory(directory)
    except OSError as error:
        message = f"audit database {database} cannot be created: directory {directory}: {error.strerror}"
        raise LandscapeError(message) from error


def _set_sqlite_pragmas(connection: DBAPIConnection) -> None:
    """Make a SQLite connection durable and strict.

    Raises LandscapeError if SQLite does not accept a setting.
    """
    _stop_implicit_begin(connection)
    cursor = connection.cursor()
    mode = _switch_to_wal(cursor)
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


def _switch_to_wal(cursor: DBAPICursor) -> str:
    """Switch to write-ahead logging, and return the journal mode afterwards.

    SQLite does not wait by itself here while another process has locked the file, as when two processes open a new one.
    """
    deadline = time.monotonic() + _BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
            (mode,) = cursor.fetchone() or ("",)
            return str(mode)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                raise
        time.sleep(_RETRY_S)


def _stop_implicit_begin(connection: DBAPIConnection) -> None:
    """Leave the beginning of transactions to `_begin_sqlite`."""
    # The driver would begin only at the first write, so that earlier reads would not see the same snapshot.
    connection.isolation_level = None


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get('sqlite_begin', 'DEFERRED')}")


def _report_damage(context: ExceptionContext) -> None:
    """Replace SQLite's message about damage that cannot be decoded.

    The original message quotes the damaged bytes.
    """
    if isinstance(context.original_exception, UnicodeDecodeError):
        damage = sqlite3.DatabaseError("database disk image is malformed")
        raise DatabaseError(context.statement, None, damage) from context.original_exception


def _require_postgresql_durability(connection: DBAPIConnection) -> None:
    """Refuse a server that may lose commits in a crash."""
    cursor = connection.cursor()
    cursor.execute("SELECT current_setting('fsync'), current_setting('synchronous_commit')")
    fsync, synchronous_commit = cursor.fetchone() or ("", "")
    cursor.close()
    connection.rollback()  # inside a transaction, the next user of the connection could not request a snapshot
    if fsync != "on" or synchronous_commit == "off":
        message = (
            "PostgreSQL would lose committed audit records in a crash: expected fsync on, synchronous_commit not off,"
            f" got fsync {fsync} and synchronous_commit {synchronous_commit}. Change the server's settings."
        )
        raise LandscapeError(message)


def _load_odd_times_as_text(connection: DBAPIConnection) -> None:
    """Make psycopg return times outside Python's range as text.

    The contract of the record then refuses the time, and names the record, which psycopg's own error would not.
    """
    from psycopg import Connection as Session  # noqa: PLC0415  psycopg is an extra
    from psycopg import DataError  # noqa: PLC0415
    from psycopg.abc import AdaptContext, Buffer  # noqa: PLC0415
    from psycopg.adapt import Loader  # noqa: PLC0415
    from psycopg.pq import Format  # noqa: PLC0415

    session = connection.driver_connection if hasattr(connection, "driver_connection") else connection
    assert isinstance(session, Session)  # noqa: S101  the one driver for PostgreSQL
    kind = session.adapters.types["timestamptz"].oid
    found = session.adapters.get_loader(kind, Format.TEXT)
    assert found is not None  # noqa: S101  psycopg has a loader for each of its types
    default = found

    class TimeLoader(Loader):
        def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
            super().__init__(oid, context)
            self._default = default(oid, context)

        def load(self, data: Buffer) -> object:
            try:
                return self._default.load(data)
            except DataError:
                return bytes(data).decode()

    session.adapters.register_loader(kind, TimeLoader)


# -- connections that only read --------------------------------------------------------------------------------------


@contextmanager
def read_only_connection(url: URL, *, recover: bool = True, what: str = "audit database") -> Iterator[Connection]:
    """Open an existing database for reading only.

    On PostgreSQL all reads see the same snapshot. Without `recover`, a transaction that a crash interrupted is not
    rolled back, and a SQLite database that holds one cannot be read. `what` names the database in messages. Raises
    LandscapeError if the database cannot be opened or read.
    """
    try:
        with _read_only_engine(url, what, recover=recover).connect() as connection:
            yield connection
    except DBAPIError as error:
        message = f"{what} {mask_url(url)} cannot be opened: {describe_error(error, url)}"
        raise LandscapeError(message) from error


def read_only_parameters(path: Path) -> dict[str, str]:
    """Return the URI parameters for reading a file with SQLite.

    Reading does not change the content of the file.

    A write-ahead log beside the file belongs to another process, or to one that crashed. The file is then opened for
    reading only, which leaves the log alone. Without a log, the file is opened for writing: SQLite then rolls back a
    transaction that a crash interrupted, which a read-only connection may not do, and removes its own log when it
    closes. The same applies if there are both a log and a rollback journal, which a power cut during the creation of
    the database can leave.

    Where this process may not write, SQLite could not even create the index of an empty log. The file is then declared
    immutable, so that SQLite needs no log and takes no locks; `_refuse_if_changed` notices if the file changes anyway.
    """
    if _is_immutable(path):
        return dict(_IMMUTABLE)
    reads_log = Path(f"{path}-wal").exists() and not Path(f"{path}-journal").exists()
    return {"mode": "ro" if reads_log else "rw"}


def _read_only_engine(url: URL, what: str, *, recover: bool) -> Engine:
    if url.get_backend_name() != "sqlite":
        return _reading_engine(url)
    path = sqlite_path(url)
    _refuse_directory(path, what)
    parameters = read_only_parameters(path)
    if not recover and parameters != _IMMUTABLE and Path(f"{path}-journal").exists():
        parameters = {"mode": "ro"}
    file_url = url.set(database=path.as_uri(), query={**parameters, "uri": "true"})
    if parameters != _IMMUTABLE:
        return _reading_engine(file_url)
    engine = _reading_engine.__wrapped__(file_url)
    _refuse_if_changed(engine, path, what)
    return engine


@lru_cache(maxsize=4)
def _reading_engine(url: URL) -> Engine:
    """Return an engine that keeps compiled statements, but no connection.

    It is shared by all reads of a database, however many ranges are read.
    """
    if url.get_backend_name() != "sqlite":
        options = {"postgresql_readonly": True, "isolation_level": "REPEATABLE READ"}
        # Text of a database without encoding would otherwise be returned as bytes, which SQLAlchemy cannot read.
        encoding = {"client_encoding": "utf8"}
        engine = create_engine(url, poolclass=NullPool, execution_options=options, connect_args=encoding)
        prepare_connections(engine, set_utc)
        prepare_connections(engine, _load_odd_times_as_text)
        return engine
    engine = create_engine(url, poolclass=NullPool, connect_args={"timeout": _READ_TIMEOUT_S})
    prepare_connections(engine, _refuse_writes)
    event.listen(engine, "handle_error", _report_damage)
    return engine


def _refuse_writes(connection: DBAPIConnection) -> None:
    connection.cursor().execute("PRAGMA query_only = ON")


def _is_immutable(path: Path) -> bool:
    """Return whether a file is complete, and read-only here.

    It is complete if there is no write-ahead log with content beside it.
    """
    try:
        if any(log.exists() and log.stat().st_size for log in (Path(f"{path}-wal"), Path(f"{path}-journal"))):
            return False
        return path.exists() and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))
    except OSError:
        return False


def _refuse_if_changed(engine: Engine, path: Path, what: str = "audit database") -> None:
    """Refuse reads from a file that changes in the meantime.

    SQLite takes no locks on an immutable file, so reads during a write may mix two states. The end of a transaction
    then raises LandscapeError.
    """

    def read_version() -> tuple[int, int, int]:
        found = path.stat()
        return found.st_ino, found.st_size, found.st_mtime_ns

    before = read_version()

    def compare(_: Connection) -> None:
        if read_version() != before:
            message = f"{what} {path} was changed while it was read. Read it again when nobody writes to it."
            raise LandscapeError(message)

    event.listen(engine, "commit", compare)
    event.listen(engine, "rollback", compare)

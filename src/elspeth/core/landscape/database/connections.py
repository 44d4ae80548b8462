"""Connections to audit databases: durable ones to record with, and ones that only look and change nothing."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor, ExceptionContext
from sqlalchemy.exc import DatabaseError, DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry, NullPool, StaticPool

from elspeth.contracts.databases import driver_problem, parse_database_url, shown_database
from elspeth.contracts.urls import hide_secrets_of, mask_database_url
from elspeth.core.landscape.database.errors import LandscapeError
from elspeth.outputs.writing import make_directory

__all__ = [
    "durable_engine",
    "in_utc",
    "is_in_memory",
    "looking",
    "parsed_url",
    "prepared",
    "reading_parameters",
    "reason",
    "shown",
    "sqlite_path",
]

_BUSY_TIMEOUT_MS = 30_000
"""How long a writer waits for another process's transaction."""

_LOOKING_TIMEOUT_S = 5
"""How long one that only looks does."""

_RETRY_S = 0.01
"""How long to wait before asking SQLite again for what it does not wait for itself."""

_SQLITE_PRAGMAS = {"foreign_keys": 1, "synchronous": 2, "recursive_triggers": 1, "busy_timeout": _BUSY_TIMEOUT_MS}
"""FULL (2) synchronisation: with NORMAL a power cut loses transactions that were already reported as committed."""

_IMMUTABLE = {"mode": "ro", "immutable": "1"}
"""How SQLite opens a file that it shall neither lock nor write beside."""

_KEEPALIVE_S = 60
"""How long a connection to a server is silent before the operating system asks whether it is still there."""

_DRIVERS = ("sqlite", "sqlite+pysqlite", "postgresql", "postgresql+psycopg")
_EXPECTED_URL = "Expected sqlite:///PATH or postgresql+psycopg://..."


def durable_engine(url: URL, *, create: bool) -> Engine:
    """An engine whose every connection keeps what it committed; `create` makes the directory of a SQLite file.

    A file that is to exist, and that we cannot change, can be read; each write to it is refused.
    Raises LandscapeError, at once or at the first connection, for a database that cannot promise that.
    """
    return _sqlite_engine(url, create=create) if url.get_backend_name() == "sqlite" else _postgresql_engine(url)


@contextmanager
def looking(url: URL) -> Iterator[Connection]:
    """A connection to an existing database that changes nothing; all its reads see the same state on PostgreSQL.

    LandscapeError if the database cannot be opened or read.
    """
    try:
        with _looking_engine(url).connect() as connection:
            yield connection
    except DBAPIError as error:
        message = f"audit database {shown(url)} cannot be opened: {reason(error, url)}"
        raise LandscapeError(message) from error


def reading_parameters(path: Path) -> dict[str, str]:
    """Return the URI parameters with which SQLite reads a file and leaves it as it is.

    A write-ahead log beside it belongs to another process, or to one that crashed: opened for reading only, it stays as
    it is. Without one the file is opened for writing: SQLite then takes back a transaction that a crash cut short,
    which a mere reader is refused, and clears away its own log when it closes. The same with both a log and a rollback
    journal: a power cut while the database was created can leave them.

    Where we may not write, SQLite could not even make the index of an empty log. It is told that the file is immutable,
    so that it neither needs a log nor takes locks; `_hold_unchanged` finds out if that was wrong.
    """
    if _is_frozen(path):
        return dict(_IMMUTABLE)
    reads_log = Path(f"{path}-wal").exists() and not Path(f"{path}-journal").exists()
    return {"mode": "ro" if reads_log else "rw"}


def _is_frozen(path: Path) -> bool:
    """Return whether the file is complete in itself and we cannot change it."""
    try:
        if any(log.exists() and log.stat().st_size for log in (Path(f"{path}-wal"), Path(f"{path}-journal"))):
            return False
        return path.exists() and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))
    except OSError:
        return False


def _hold_unchanged(engine: Engine, path: Path) -> None:
    """Compare the file with what it is now whenever a transaction ends.

    SQLite takes no locks on an immutable file: what was read while another wrote may belong to no one state, and is
    refused with LandscapeError.
    """

    def state() -> tuple[int, int, int]:
        found = path.stat()
        return found.st_ino, found.st_size, found.st_mtime_ns

    before = state()

    def compare(_: Connection) -> None:
        if state() != before:
            message = f"audit database {path} was changed while it was read. Read it again when nobody writes to it."
            raise LandscapeError(message)

    event.listen(engine, "commit", compare)
    event.listen(engine, "rollback", compare)


def shown(url: URL) -> str:
    """Return the URL as messages and records have it, without its secrets."""
    return shown_database(url)


def reason(error: DBAPIError, url: URL) -> str:
    """Return what the database at the URL said, on one line.

    Without the statement, whose values may be protected, and without the secrets of the URL.
    """
    diagnosis = getattr(error.orig, "diag", None)
    parts = (diagnosis.message_primary, diagnosis.message_detail) if diagnosis is not None else ()
    said = " ".join(part for part in parts if part) or str(error.orig)
    return " ".join(hide_secrets_of(url.render_as_string(hide_password=False), said).split())


def sqlite_path(url: URL) -> Path:
    """The file of a SQLite database."""
    name = str(url.database)
    is_uri = name.startswith("file:")
    return Path(unquote(name.removeprefix("file:").partition("?")[0]) if is_uri else name).absolute()


def is_in_memory(url: URL) -> bool:
    """Whether the URL is of a SQLite database without a file."""
    return url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:")


def parsed_url(url: str) -> URL:
    """The URL in parts; LandscapeError if it is none of a database that we support."""
    try:
        parsed = parse_database_url(url)
    except ValueError as error:
        message = f"audit database URL {mask_database_url(url)!r} is not usable: {error}"
        raise LandscapeError(message) from error
    if parsed.drivername not in _DRIVERS:
        problem = f"{parsed.drivername} is not supported"
        message = f"audit database URL {shown(parsed)!r} is not usable: {problem}. {_EXPECTED_URL}"
        raise LandscapeError(message)
    missing = driver_problem(parsed)
    if missing is not None:
        message = f"audit database {shown(parsed)} {missing}"
        raise LandscapeError(message)
    return parsed


def _looking_engine(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        engine = create_engine(
            url,
            poolclass=NullPool,
            execution_options={"postgresql_readonly": True, "isolation_level": "REPEATABLE READ"},
        )
        event.listen(engine, "connect", prepared(in_utc))
        return engine
    path = sqlite_path(url)
    _refuse_directory(path)
    parameters = reading_parameters(path)
    reading = url.set(database=path.as_uri(), query={**parameters, "uri": "true"})
    engine = create_engine(reading, poolclass=NullPool, connect_args={"timeout": _LOOKING_TIMEOUT_S})
    event.listen(engine, "connect", prepared(_refuse_writes))
    event.listen(engine, "handle_error", _name_damage)
    if parameters == _IMMUTABLE:
        _hold_unchanged(engine, path)
    return engine


def _frozen_engine(url: URL, path: Path) -> Engine:
    """Return an engine for a file that can only be read; SQLite refuses every write."""
    engine = create_engine(url.set(database=path.as_uri(), query={**_IMMUTABLE, "uri": "true"}), poolclass=NullPool)
    event.listen(engine, "connect", prepared(_begin_by_event))
    event.listen(engine, "handle_error", _name_damage)
    event.listen(engine, "begin", _begin_sqlite)
    _hold_unchanged(engine, path)
    return engine


def _begin_by_event(connection: DBAPIConnection) -> None:
    # The driver must not begin transactions by itself: it would do so only at the first write, without a read snapshot.
    connection.isolation_level = None


def _refuse_writes(connection: DBAPIConnection) -> None:
    connection.cursor().execute("PRAGMA query_only = ON")


def in_utc(connection: DBAPIConnection) -> None:
    """Let PostgreSQL say times in UTC, whatever the server's zone is."""
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
    if not in_memory and not create and _is_frozen(sqlite_path(url)):
        return _frozen_engine(url, sqlite_path(url))
    if in_memory:
        # The one connection serves every thread; the recorder lets them take turns.
        engine = create_engine(url, poolclass=StaticPool, connect_args={"check_same_thread": False})
    else:
        engine = create_engine(url)
    event.listen(engine, "connect", prepared(_set_sqlite_pragmas))
    event.listen(engine, "handle_error", _name_damage)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _name_damage(context: ExceptionContext) -> None:
    """Raise SQLite's error about a damaged file where Python cannot decode its words, as they quote what is damaged."""
    if isinstance(context.original_exception, UnicodeDecodeError):
        damage = sqlite3.DatabaseError("database disk image is malformed")
        raise DatabaseError(context.statement, None, damage) from context.original_exception


def _refuse_directory(path: Path) -> None:
    if path.is_dir():
        message = f"audit database {path} is a directory, expected a file"
        raise LandscapeError(message)


def _make_directory(directory: Path, database: str) -> None:
    try:
        make_directory(directory)
    except OSError as error:
        message = f"audit database {database} cannot be created: directory {directory}: {error.strerror}"
        raise LandscapeError(message) from error


def _postgresql_engine(url: URL) -> Engine:
    # The server, or a firewall, may have ended a session that was idle.
    alive = {} if "keepalives_idle" in url.query else {"keepalives_idle": _KEEPALIVE_S}
    engine = create_engine(url, pool_pre_ping=True, connect_args=alive)
    event.listen(engine, "connect", prepared(_assert_postgresql_durability))
    return engine


def prepared(
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
    _begin_by_event(connection)
    cursor = connection.cursor()
    mode = _write_ahead(cursor)
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


def _write_ahead(cursor: DBAPICursor) -> str:
    """Switch to write-ahead logging; the mode afterwards.

    SQLite does not wait by itself if another process has the file at that moment, as when two open a new one.
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


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get('sqlite_begin', 'DEFERRED')}")


def _assert_postgresql_durability(connection: DBAPIConnection) -> None:
    """Refuse a server that reports commits before they are on disk."""
    cursor = connection.cursor()
    cursor.execute("SELECT current_setting('fsync'), current_setting('synchronous_commit')")
    fsync, synchronous_commit = cursor.fetchone() or ("", "")
    cursor.close()
    connection.rollback()  # within a transaction the next user could not ask for a snapshot
    if fsync != "on" or synchronous_commit == "off":
        message = (
            "PostgreSQL would lose committed audit records in a crash: expected fsync on, synchronous_commit not off,"
            f" got fsync {fsync} and synchronous_commit {synchronous_commit}. Change the server's settings."
        )
        raise LandscapeError(message)

"""The claim of a process on the run that it records: no other may go on with it at the same time.

A claim is a lock that ends with its process: of the PostgreSQL server, for a session, or of the operating system, on a
file beside an SQLite database. A process may also lose it while it works: the server ends the session, somebody
removes the file. So whoever records under a claim proves in each transaction that it still holds it, and a new owner
waits for the end of the transaction in which the old one proved it last.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, select
from sqlalchemy.exc import DBAPIError

from elspeth.core.landscape.database.connections import is_in_memory, sqlite_path
from elspeth.core.landscape.database.errors import LandscapeError
from elspeth.core.landscape.database.landscape_db import LandscapeDB
from elspeth.outputs.locks import still_names
from elspeth_schema.tables import runs_table

__all__ = ["Claim", "ClaimLostError", "RunClaimedError", "claimed", "claimed_runs"]

_PATIENCE_S = 0.5
"""How long a lock may stay with somebody who only looks at it, or with a session that is about to end."""

_RETRY_S = 0.02

_IS_HELD = """\
SELECT EXISTS (
    SELECT FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND pid = pg_backend_pid()
    AND classid::bigint = %s AND objid::bigint = %s
)"""

_STAY = "SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'"
"""A session that has a claim may be idle as long as a row takes. Servers before 14 have no such limit."""


class RunClaimedError(LandscapeError):
    """Another process records the run at this moment."""


class ClaimLostError(LandscapeError):
    """The process had the run to itself, and has it no longer."""


class Claim(Protocol):
    """A run that no other process may record."""

    def writing(self) -> AbstractContextManager[Connection]:
        """Return a transaction like that of `LandscapeDB.writing`, committed only under the claim.

        Raises ClaimLostError.
        """

    def renew(self) -> None:
        """Take the claim, unless it is held; RunClaimedError if another process has it."""

    def release(self) -> None:
        """Give the claim back, if it is held."""


@contextmanager
def claimed(db: LandscapeDB, run_id: str) -> Iterator[Claim]:
    """Have a run to oneself while the block lasts.

    Raises RunClaimedError if another process has it. A crash leaves the empty lock file, which claims nothing.
    """
    claim = _claim_of(db, run_id)
    claim.renew()
    try:
        yield claim
    finally:
        claim.release()


def claimed_runs(connection: Connection, run_ids: Iterable[str]) -> frozenset[str]:
    """Return those of the runs that a process records at this moment, without changing anything."""
    url = connection.engine.url
    if url.get_backend_name() == "sqlite":
        return frozenset(run_id for run_id in run_ids if _is_locked(_lock_path(sqlite_path(url), run_id)))
    statement = (
        "SELECT classid::bigint, objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    held = {(high, low) for high, low in connection.exec_driver_sql(statement)}
    return frozenset(run_id for run_id in run_ids if _halves(_key(run_id)) in held)


def _claim_of(db: LandscapeDB, run_id: str) -> Claim:
    url = db.engine.url
    if is_in_memory(url):
        return _InMemory(db)
    if url.get_backend_name() == "sqlite":
        return _LockedFile(db, run_id, _lock_path(sqlite_path(url), run_id))
    return _LockedSession(db, run_id)


class _InMemory:
    """A run in a database that no other process sees."""

    def __init__(self, db: LandscapeDB) -> None:
        self.writing = db.writing

    def renew(self) -> None:
        """There is nothing to lose."""

    def release(self) -> None:
        """There is nothing to give back."""


class _LockedFile:
    """A lock of the operating system on a file, as long as the file has its name."""

    def __init__(self, db: LandscapeDB, run_id: str, path: Path) -> None:
        self._db = db
        self._run_id = run_id
        self._path = path
        self._file: int | None = None

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        with self._db.writing() as connection:
            # Under SQLite's write lock: a new owner waits for that before it reads.
            if not self._is_held():
                raise _lost(self._run_id, f"the file {self._path} was removed")
            yield connection

    def renew(self) -> None:
        if self._is_held():
            return
        self.release()
        _patiently(self._take, self._run_id)
        with self._db.writing():
            pass  # an owner that has just lost the file may still be committing

    def release(self) -> None:
        if self._file is None:
            return
        if self._is_held():
            self._path.unlink(missing_ok=True)
        os.close(self._file)
        self._file = None

    def _take(self) -> bool:
        # Not truncated, and not through a link: the name may be that of another file.
        self._file = os.open(self._path, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        with suppress(BlockingIOError):
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self._is_held():
                return True  # else its last owner removed the file meanwhile
        os.close(self._file)
        self._file = None
        return False

    def _is_held(self) -> bool:
        return self._file is not None and still_names(self._path, self._file)


class _LockedSession:
    """An advisory lock of the PostgreSQL server, on the connection that also records.

    So the lock and what is not yet committed end together: whoever gets the lock next sees all that was recorded.
    """

    def __init__(self, db: LandscapeDB, run_id: str) -> None:
        self._db = db
        self._run_id = run_id
        self._key = _key(run_id)
        self._connection: Connection | None = None

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        if self._connection is None:
            raise _lost(self._run_id, "it was given back")
        with self._db.writing(self._connection) as connection:
            # SQLAlchemy connects anew after a failure, and a pooler may pass transactions on to any session.
            if not self._is_held(connection):
                raise _lost(self._run_id, "the server ended the session that held it, or a pooler changed the session")
            yield connection

    def renew(self) -> None:
        if self._connection is not None and not self._connection.invalidated:
            # A session that was ended is found out by this.
            with suppress(LandscapeError, DBAPIError), self._db.writing(self._connection) as connection:
                if self._is_held(connection):
                    return
        self.release()
        _patiently(self._take, self._run_id)

    def release(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if not connection.invalidated:
            with suppress(LandscapeError, DBAPIError), self._db.writing(connection):
                connection.exec_driver_sql("SELECT pg_advisory_unlock(%s)", (self._key,))
        _end(connection)

    def _take(self) -> bool:
        connection = self._db.engine.connect()
        try:
            with self._db.writing(connection):
                is_taken = self._lock(connection)
        except BaseException:
            _end(connection)
            raise
        if is_taken:
            self._connection = connection
        else:
            connection.close()
        return is_taken

    def _lock(self, connection: Connection) -> bool:
        # A pooler may have given us the session of the owner, to which the server would give its lock once more.
        if self._is_held(connection):
            return False
        if not connection.exec_driver_sql("SELECT pg_try_advisory_lock(%s)", (self._key,)).scalar():
            return False
        connection.exec_driver_sql(_STAY)
        # A recorder without a claim may still be committing: it holds the record of the run.
        connection.execute(select(runs_table.c.run_id).where(runs_table.c.run_id == self._run_id).with_for_update())
        return True

    def _is_held(self, connection: Connection) -> bool:
        return bool(connection.exec_driver_sql(_IS_HELD, _halves(self._key)).scalar())


def _end(connection: Connection) -> None:
    """Close the session, and with it end its locks, even when the server is gone."""
    connection.invalidate()
    connection.close()


def _patiently(take: Callable[[], bool], run_id: str) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not take():
        if time.monotonic() >= deadline:
            raise RunClaimedError(
                f"run {run_id} is being recorded by another process: wait for its end, or stop it first"
            )
        time.sleep(_RETRY_S)


def _lost(run_id: str, why: str) -> ClaimLostError:
    return ClaimLostError(
        f"this process has run {run_id} no longer to itself, and records nothing more of it: {why}; another process may"
        " have taken it up"
    )


def _lock_path(database: Path, run_id: str) -> Path:
    return database.with_name(f"{database.name}.{run_id}.lock")


def _is_locked(path: Path) -> bool:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return True  # somebody else's: it is there while a process works, and after a crash
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def _key(run_id: str) -> int:
    return int.from_bytes(hashlib.sha256(run_id.encode()).digest()[:8], signed=True)


def _halves(key: int) -> tuple[int, int]:
    """Return the number of an advisory lock in two parts, as `pg_locks` shows it."""
    return key >> 32 & 0xFFFF_FFFF, key & 0xFFFF_FFFF

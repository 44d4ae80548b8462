"""Claims: the right of one process to record a run.

A claim is a lock that ends with its process: a lock of the PostgreSQL server, held by a session, or a lock of the
operating system on a file beside a SQLite database. A process may also lose its claim while it works: the server ends
the session, or somebody removes the file. So each transaction recorded under a claim proves that the claim is still
held, and a new owner waits for the end of the last transaction in which the old owner proved it.
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

from elspeth.core.landscape.database.errors import LandscapeError
from elspeth.core.landscape.database.landscape_db import LandscapeDB
from elspeth.core.landscape.database.urls import is_in_memory, sqlite_path
from elspeth.outputs.locks import still_names
from elspeth_schema.tables import runs_table

__all__ = ["Claim", "ClaimLostError", "RunClaimedError", "claim_run", "claimed_runs"]

_PATIENCE_S = 0.5
"""How long to wait for a lock, in seconds: `claimed_runs`, or a session that is ending, may hold it for a moment."""

_RETRY_S = 0.02

_IS_HELD = """\
SELECT EXISTS (
    SELECT FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND pid = pg_backend_pid()
    AND classid::bigint = %s AND objid::bigint = %s
)"""

_ALLOW_IDLE = "SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'"
"""Lifts the limit on idle time, as a row may take long. Servers before version 14 have no such limit."""


class RunClaimedError(LandscapeError):
    """Another process is recording the run."""


class ClaimLostError(LandscapeError):
    """The process no longer holds its claim on the run."""


class Claim(Protocol):
    """The right of this process to record a run."""

    def write_transaction(self) -> AbstractContextManager[Connection]:
        """Open a transaction like `LandscapeDB.write_transaction`, under the claim.

        Raises ClaimLostError if the claim is no longer held.
        """

    def renew(self) -> None:
        """Take the claim again, unless it is still held.

        Raises RunClaimedError if another process has it.
        """

    def release(self) -> None:
        """Release the claim, if it is held."""


@contextmanager
def claim_run(db: LandscapeDB, run_id: str) -> Iterator[Claim]:
    """Hold the claim on a run while the block lasts.

    Raises RunClaimedError if another process holds it. A crash leaves an empty lock file, which claims nothing.
    """
    claim = _create_claim(db, run_id)
    try:
        claim.renew()
        yield claim
    finally:
        claim.release()


def claimed_runs(connection: Connection, run_ids: Iterable[str]) -> frozenset[str]:
    """Return those of the runs that are being recorded."""
    url = connection.engine.url
    if url.get_backend_name() == "sqlite":
        return frozenset(run_id for run_id in run_ids if _is_locked(_lock_path(sqlite_path(url), run_id)))
    statement = (
        "SELECT classid::bigint, objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    held = {(high, low) for high, low in connection.exec_driver_sql(statement)}
    return frozenset(run_id for run_id in run_ids if _halves(_key(run_id)) in held)


def _create_claim(db: LandscapeDB, run_id: str) -> Claim:
    url = db.engine.url
    if is_in_memory(url):
        return _InMemoryClaim(db)
    if url.get_backend_name() == "sqlite":
        return _FileClaim(db, run_id, _lock_path(sqlite_path(url), run_id))
    return _SessionClaim(db, run_id)


class _InMemoryClaim:
    """The claim on a run in a database in memory."""

    def __init__(self, db: LandscapeDB) -> None:
        self.write_transaction = db.write_transaction

    def renew(self) -> None:
        """Do nothing: the claim cannot be lost."""

    def release(self) -> None:
        """Do nothing."""


class _FileClaim:
    """A lock on a file.

    It is valid while the file keeps its name.
    """

    def __init__(self, db: LandscapeDB, run_id: str, path: Path) -> None:
        self._db = db
        self._run_id = run_id
        self._path = path
        self._file: int | None = None

    @contextmanager
    def write_transaction(self) -> Iterator[Connection]:
        with self._db.write_transaction() as connection:
            # SQLite's write lock is held from here on, and a new owner waits for it before reading.
            if not self._is_held():
                raise _claim_lost(self._run_id, f"the file {self._path} was removed")
            yield connection

    def renew(self) -> None:
        if self._is_held():
            return
        self.release()
        _retry(self._take, self._run_id)
        with self._db.write_transaction():
            pass  # wait for an owner that has just lost the file and may still be committing

    def release(self) -> None:
        if self._file is None:
            return
        if self._is_held():
            self._path.unlink(missing_ok=True)
        os.close(self._file)
        self._file = None

    def _take(self) -> bool:
        # Another file may have this name: do not truncate it, and do not follow a link.
        self._file = os.open(self._path, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        with suppress(BlockingIOError):
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self._is_held():  # if not, the previous owner has just removed the file
                return True
        os.close(self._file)
        self._file = None
        return False

    def _is_held(self) -> bool:
        return self._file is not None and still_names(self._path, self._file)


class _SessionClaim:
    """An advisory lock, held by the recording connection.

    The lock and an uncommitted transaction end together, so the next owner sees everything that was recorded.
    """

    def __init__(self, db: LandscapeDB, run_id: str) -> None:
        self._db = db
        self._run_id = run_id
        self._key = _key(run_id)
        self._connection: Connection | None = None

    @contextmanager
    def write_transaction(self) -> Iterator[Connection]:
        if self._connection is None:
            raise _claim_lost(self._run_id, "it was released")
        with self._db.write_transaction(self._connection) as connection:
            # SQLAlchemy connects again after a failure, and a pooler may run a transaction in any session.
            if not self._is_held(connection):
                raise _claim_lost(
                    self._run_id, "the server ended the session that held it, or a pooler changed the session"
                )
            yield connection

    def renew(self) -> None:
        if self._connection is not None and not self._connection.invalidated:
            # If the server has ended the session, the statement fails.
            with suppress(LandscapeError, DBAPIError), self._db.write_transaction(self._connection) as connection:
                if self._is_held(connection):
                    return
        self.release()
        _retry(self._take, self._run_id)

    def release(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if not connection.invalidated:
            with suppress(LandscapeError, DBAPIError), self._db.write_transaction(connection):
                connection.exec_driver_sql("SELECT pg_advisory_unlock(%s)", (self._key,))
        _close_session(connection)

    def _take(self) -> bool:
        connection = self._db.engine.connect()
        try:
            with self._db.write_transaction(connection):
                is_taken = self._lock(connection)
        except BaseException:
            _close_session(connection)
            raise
        if is_taken:
            self._connection = connection
        else:
            connection.close()
        return is_taken

    def _lock(self, connection: Connection) -> bool:
        # A pooler may hand out the session of the lock's owner, for which the server would grant the lock again.
        if self._is_held(connection):
            return False
        if not connection.exec_driver_sql("SELECT pg_try_advisory_lock(%s)", (self._key,)).scalar():
            return False
        connection.exec_driver_sql(_ALLOW_IDLE)
        # A recorder without a claim may still be committing. It has locked the record of the run: wait for it.
        connection.execute(select(runs_table.c.run_id).where(runs_table.c.run_id == self._run_id).with_for_update())
        return True

    def _is_held(self, connection: Connection) -> bool:
        return bool(connection.exec_driver_sql(_IS_HELD, _halves(self._key)).scalar())


def _close_session(connection: Connection) -> None:
    """Close the session, which ends its locks.

    It works without a server, too.
    """
    connection.invalidate()
    connection.close()


def _retry(take: Callable[[], bool], run_id: str) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not take():
        if time.monotonic() >= deadline:
            raise RunClaimedError(
                f"run {run_id} is being recorded by another process: wait for its end, or stop it first"
            )
        time.sleep(_RETRY_S)


def _claim_lost(run_id: str, why: str) -> ClaimLostError:
    return ClaimLostError(
        f"this process no longer has the claim on run {run_id}, and records nothing more of it: {why};"
        " another process may be recording the run now"
    )


def _lock_path(database: Path, run_id: str) -> Path:
    return database.with_name(f"{database.name}.{run_id}.lock")


def _is_locked(path: Path) -> bool:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return True  # the file of another user: it exists while a process records, and after a crash
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
    """Split the number of an advisory lock as `pg_locks` does."""
    return key >> 32 & 0xFFFF_FFFF, key & 0xFFFF_FFFF

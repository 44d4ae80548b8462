"""The claim of a process on the run that it records: no other may go on with it at the same time."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from sqlalchemy import select

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.engines import is_in_memory, sqlite_path
from elspeth.core.landscape.errors import LandscapeError
from elspeth_schema.tables import runs_table

__all__ = ["RunClaimedError", "claimed"]


class RunClaimedError(LandscapeError):
    """Another process records the run at this moment."""


@contextmanager
def claimed(db: LandscapeDB, run_id: str) -> Iterator[None]:
    """Have a run to oneself while the block lasts; RunClaimedError if another process has it.

    The claim ends with the process, however that ends: a lock of the operating system on a file beside an SQLite
    database, or of the PostgreSQL server for the time of a connection. A crash leaves the empty file, which claims
    nothing.
    """
    url = db.engine.url
    if is_in_memory(url):
        yield  # no other process sees it
    elif url.get_backend_name() == "sqlite":
        database = sqlite_path(url)
        with _locked_file(database.with_name(f"{database.name}.{run_id}.lock"), run_id):
            yield
    else:
        with _advisory_lock(db, run_id):
            yield


@contextmanager
def _locked_file(path: Path, run_id: str) -> Iterator[None]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _claimed(run_id) from error
        if not _is_still(path, file):
            raise _claimed(run_id)  # its last owner removed the file while we waited for it
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _is_still(path: Path, file: TextIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


@contextmanager
def _advisory_lock(db: LandscapeDB, run_id: str) -> Iterator[None]:
    key = int.from_bytes(hashlib.sha256(run_id.encode()).digest()[:8], signed=True)
    with db.engine.connect() as connection:
        has_lock = connection.exec_driver_sql("SELECT pg_try_advisory_lock(%s)", (key,)).scalar()
        connection.commit()  # the lock is the connection's, not the transaction's
        if not has_lock:
            raise _claimed(run_id)
        try:
            # The server may still be committing for a process that is gone: that holds the record of the run.
            connection.execute(select(runs_table.c.run_id).where(runs_table.c.run_id == run_id).with_for_update())
            connection.commit()
            yield
        finally:
            connection.invalidate()  # closes it, and with it the lock, even when the server is gone


def _claimed(run_id: str) -> RunClaimedError:
    return RunClaimedError(f"run {run_id} is being recorded by another process: wait for its end, or stop it first")

"""Locks that give an output one writer at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from elspeth.outputs.policy import OutputLockedError, OutputRefusedError

__all__ = ["hidden_sibling", "lock_output", "still_names", "try_lock"]

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)

_LONGEST_NAME = 200
"""The longest name, in bytes, that leaves room for the parts of a hidden name; systems allow 255 bytes."""

_FLAGS = os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Reading is enough for a lock, and is possible where another user's process left the file."""


@contextmanager
def lock_output(path: Path, real: Path) -> Iterator[None]:
    """Lock an output while the block lasts.

    `real` is the path with its links followed, `path` is its name in messages. The lock is held on an empty file
    `.NAME.lock` beside the output and ends with the process. A crash leaves the file, which locks nothing; the next
    writer removes it.

    Raises OutputLockedError if another process has the lock, OutputRefusedError if something is in its place.
    """
    lock = hidden_sibling(real, "lock")
    try:
        descriptor = _open_locked(path, lock)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR):
            problem = f"{lock} is not a file, and cannot be its lock: move it away"
            raise OutputRefusedError(path, problem) from error
        error.filename = str(path)  # users do not know the lock file's name
        raise
    try:
        yield
    finally:
        try:
            # Leave another program's file of that name alone, whether older or newer than the lock.
            if _is_empty_file(descriptor) and still_names(lock, descriptor):
                lock.unlink(missing_ok=True)
        finally:
            os.close(descriptor)


def hidden_sibling(real: Path, ending: str) -> Path:
    """Return the path of `.NAME.ENDING` beside an output.

    A name that is too long for that is replaced by its SHA-256.
    """
    name = os.fsencode(real.name)
    stem = real.name if len(name) <= _LONGEST_NAME else sha256(name).hexdigest()
    return real.with_name(f".{stem}.{ending}")


def try_lock(descriptor: int) -> bool:
    """Lock an open file; return whether that succeeded.

    On a file system without locks it counts as locked.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True


def still_names(path: Path, descriptor: int) -> bool:
    """Return whether the path still names the open file."""
    try:
        return os.path.samestat(path.stat(follow_symlinks=False), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _is_empty_file(descriptor: int) -> bool:
    found = os.fstat(descriptor)
    return stat.S_ISREG(found.st_mode) and found.st_size == 0


def _open_locked(path: Path, lock: Path) -> int:
    while True:
        descriptor = os.open(lock, _FLAGS, 0o666)
        try:
            is_free = try_lock(descriptor)
            if is_free and still_names(lock, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        if not is_free:
            problem = "is being written by another process: wait for it to end, or name another path"
            raise OutputLockedError(path, problem)
        # Its last owner removed the file between opening and locking: try again.

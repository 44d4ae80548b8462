"""One writer per output: a lock that lasts as long as the process that has it."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from elspeth.outputs.policy import OutputRefusedError

__all__ = ["is_still", "sole_writer", "try_lock"]

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)

_FLAGS = os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Reading is enough for a lock, and possible where another user's process left the file."""


@contextmanager
def sole_writer(path: Path, real: Path) -> Iterator[None]:
    """Be the only one who writes an output while the block lasts; OutputRefusedError if somebody else does.

    `real` is the path with its links followed, `path` what messages call it. The lock is one of the operating system on
    an empty file `.NAME.lock` beside the output: it ends with the process, however that ends. A crash leaves the file,
    which locks nothing and goes with the next writer.
    """
    lock = real.with_name(f".{real.name}.lock")
    try:
        descriptor = _locked(path, lock)
    except OSError as error:
        error.filename = str(path)  # nobody knows the lock by its name
        raise
    try:
        yield
    finally:
        try:
            # Not a file of somebody else that had the name before, or that has it by now.
            if _is_our_own(descriptor) and is_still(lock, descriptor):
                lock.unlink(missing_ok=True)
        finally:
            os.close(descriptor)


def try_lock(descriptor: int) -> bool:
    """Lock an open file if nobody else has; where the file system has no locks, it counts as locked."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True


def is_still(path: Path, descriptor: int) -> bool:
    """Return whether the open file still has its name."""
    try:
        return os.path.samestat(path.stat(follow_symlinks=False), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _is_our_own(descriptor: int) -> bool:
    found = os.fstat(descriptor)
    return stat.S_ISREG(found.st_mode) and found.st_size == 0


def _locked(path: Path, lock: Path) -> int:
    while True:
        descriptor = os.open(lock, _FLAGS, 0o666)
        try:
            is_free = try_lock(descriptor)
            if is_free and is_still(lock, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        if not is_free:
            problem = "is being written at this moment: wait for the end of that, or name another path"
            raise OutputRefusedError(path, problem)
        # Its last owner removed the file while we opened it.

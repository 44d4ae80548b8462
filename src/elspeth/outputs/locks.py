"""One writer per output: a lock that lasts as long as the process that has it."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from elspeth.outputs.policy import OutputRefusedError

__all__ = ["sole_writer"]

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
    descriptor = _locked(path, lock)
    try:
        yield
    finally:
        try:
            if os.fstat(descriptor).st_size == 0:  # nobody else's file of that name
                lock.unlink(missing_ok=True)
        finally:
            os.close(descriptor)


def _locked(path: Path, lock: Path) -> int:
    while True:
        descriptor = os.open(lock, _FLAGS, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(lock, descriptor):
                return descriptor
        except OSError as error:
            os.close(descriptor)
            if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES):
                problem = "is being written at this moment: wait for the end of that, or name another path"
                raise OutputRefusedError(path, problem) from error
            raise
        os.close(descriptor)  # its last owner removed the file while we opened it


def _is_still(lock: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(lock.stat(follow_symlinks=False), os.fstat(descriptor))
    except FileNotFoundError:
        return False

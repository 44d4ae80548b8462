"""Standard streams that may be gone: a closed pipe, a terminal that was closed."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from typing import TextIO, cast

__all__ = ["is_broken", "silence", "unfailing_stderr"]


@contextmanager
def unfailing_stderr() -> Iterator[None]:
    """Let what cannot be written to standard error be lost while the block lasts.

    Nobody is there to read it, and work must not stop for want of a reader.
    """
    with redirect_stderr(cast("TextIO", _Unfailing(sys.stderr))):
        yield


def is_broken(stream: TextIO) -> bool:
    """Return whether the reader of a pipe is gone."""
    try:
        poll = select.poll()
        poll.register(stream, 0)
    except (OSError, ValueError):
        return False  # no file stands behind it
    return any(event & select.POLLERR for _, event in poll.poll(0))


def silence(stream: TextIO) -> None:
    """Point a stream that cannot be written to nowhere, else Python would complain about it at its end."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):
        return  # no file stands behind it
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, number)
    finally:
        os.close(nowhere)


class _Unfailing:
    """A stream without errors."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            silence(self._stream)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            silence(self._stream)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

"""Hand over large results of worker processes in files."""

from __future__ import annotations

import os
import pickle
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar, cast

__all__ = ["Spool", "SpooledFuture"]

P = ParamSpec("P")
T = TypeVar("T")

_LARGE = 1 << 16
"""Results from this size on go through a file: the capacity of a pipe, in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Packed:
    """A pickled result, in a file unless it is small."""

    content: bytes | Path

    def unpack(self) -> object:
        """Return the result, and remove the file."""
        if isinstance(self.content, bytes):
            return pickle.loads(self.content)  # noqa: S301  from a worker of ours
        with self.content.open("rb") as file:
            self.content.unlink()
            return pickle.load(file)  # noqa: S301  in a directory that only this user can write to


@dataclass(frozen=True, slots=True, kw_only=True)
class Spool:
    """A directory for results, None if it cannot be made.

    Nobody else can read it.
    """

    directory: str | None = None

    @classmethod
    def new(cls) -> Spool:
        """Make the directory."""
        try:
            return cls(directory=tempfile.mkdtemp(prefix="elspeth-"))
        except OSError:
            return cls()

    def do(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> _Packed:
        """Do the work in a worker, and pack the result."""
        content = pickle.dumps(work(*args, **kwargs), pickle.HIGHEST_PROTOCOL)
        if self.directory is None or len(content) < _LARGE:
            return _Packed(content=content)
        try:
            descriptor, name = tempfile.mkstemp(dir=self.directory)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
        except OSError:
            # A full disk: the pipe will do. What was written goes with the directory.
            return _Packed(content=content)
        return _Packed(content=Path(name))

    def remove(self) -> None:
        """Remove the directory with all that is in it."""
        if self.directory is not None:
            shutil.rmtree(self.directory, ignore_errors=True)


class SpooledFuture(Future[T]):
    """A future whose result is unpacked by the caller."""

    def __init__(self, sent: Future[_Packed]) -> None:
        super().__init__()
        self._sent = sent
        self._unpacked: list[T] = []
        self.add_done_callback(lambda _: sent.cancel() if self.cancelled() else None)
        sent.add_done_callback(self._end)

    def result(self, timeout: float | None = None) -> T:
        """Return the result, as any future does."""
        found = super().result(timeout)
        if not self._unpacked:
            assert isinstance(found, _Packed)  # noqa: S101  from `_end`
            self._unpacked.append(cast("T", found.unpack()))
        return self._unpacked[0]

    def _end(self, sent: Future[_Packed]) -> None:
        """End as what was sent has ended."""
        if sent.cancelled():
            self.cancel()
        elif self.set_running_or_notify_cancel():
            error = sent.exception()
            if error is not None:
                self.set_exception(error)
            else:
                self.set_result(cast("T", sent.result()))  # unpacked by whoever asks for it

"""Hand over large values between processes in files."""

from __future__ import annotations

import os
import pickle
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, ParamSpec, TypeVar, cast

__all__ = ["Spool", "SpooledFuture"]

P = ParamSpec("P")
T = TypeVar("T")

_LARGE = 1 << 16
"""Work from this size on goes through a file: the capacity of a pipe, in bytes."""

_LARGE_RESULT = 1 << 11
"""Results from this size on go through a file.

Smaller ones, with what the executor adds, are written to its pipe in one piece, as up to 4096 bytes are. If a worker
died in the middle of a longer one, the executor would wait for the rest forever.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Packed:
    """A pickled value, in a file unless it is small."""

    content: bytes | Path

    def unpack(self) -> object:
        """Return the value, and remove the file."""
        if isinstance(self.content, bytes):
            return pickle.loads(self.content)  # noqa: S301  from a process of ours
        with self.content.open("rb") as file:
            self.content.unlink()
            return pickle.load(file)  # noqa: S301  in a directory that only this user can write to


@dataclass(frozen=True, slots=True, kw_only=True)
class Spool:
    """A directory for values, None if it cannot be made.

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

    def send(self, executor: Executor, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> SpooledFuture[T]:
        """Let a worker do the work.

        Its arguments and its result go through files if they are large. The future raises what the executor's does.
        """
        return SpooledFuture(executor.submit(self._do, self._pack((work, args, kwargs), _LARGE)))

    def _do(self, sent: _Packed) -> _Packed:
        """Do the work, in a worker."""
        work, args, kwargs = cast("tuple[Callable[..., object], tuple[object, ...], dict[str, object]]", sent.unpack())
        return self._pack(work(*args, **kwargs), _LARGE_RESULT)

    def _pack(self, value: object, large: int) -> _Packed:
        if self.directory is not None:
            pickled = _Pickle(self.directory, large)
            try:
                with closing(pickled):
                    pickle.dump(value, pickled, pickle.HIGHEST_PROTOCOL)
                return _Packed(content=pickled.content)
            except OSError:
                pickled.remove()  # A full disk: the pipe will do.
        return _Packed(content=pickle.dumps(value, pickle.HIGHEST_PROTOCOL))

    def remove(self) -> None:
        """Remove the directory with all that is in it."""
        if self.directory is not None:
            shutil.rmtree(self.directory, ignore_errors=True)


class _Pickle:
    """The bytes of a pickled value, perhaps in a file."""

    def __init__(self, directory: str, large: int) -> None:
        self._directory = directory
        self._large = large
        self._written = bytearray()
        self._file: BinaryIO | None = None
        self._path: Path | None = None

    @property
    def content(self) -> bytes | Path:
        """The content, or the path of the file."""
        return bytes(self._written) if self._path is None else self._path

    def write(self, data: bytes) -> None:
        """Take the next bytes; raises OSError."""
        if self._file is None and len(self._written) + len(data) < self._large:
            self._written += data
            return
        if self._file is None:
            descriptor, name = tempfile.mkstemp(dir=self._directory)
            self._path, self._file = Path(name), os.fdopen(descriptor, "wb")
            self._file.write(self._written)
        self._file.write(data)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def remove(self) -> None:
        """Remove the file, if there is one."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)


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

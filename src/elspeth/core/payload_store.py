"""Payloads: content kept as files named by their SHA-256."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Protocol

from elspeth.contracts.errors import RecordableError
from elspeth.outputs.writing import make_directory, sync_directory

__all__ = ["FilesystemPayloadStore", "IntegrityError", "PayloadStore"]

_HASH = re.compile("[0-9a-f]{64}")


class IntegrityError(RecordableError):
    """The content kept under a hash has another hash."""


class PayloadStore(Protocol):
    """Keeps bytes under their SHA-256 (64 hex digits)."""

    def store(self, content: bytes) -> str:
        """Keep the content durably and return its hash.

        Raises IntegrityError if the content is kept already and was altered.
        """

    def retrieve(self, content_hash: str) -> bytes:
        """Return the content.

        Raises KeyError if it is not kept, IntegrityError if it was altered.
        """

    def exists(self, content_hash: str) -> bool:
        """Return whether content is kept under the hash."""

    def delete(self, content_hash: str) -> bool:
        """Delete the content; return whether it was kept."""


class FilesystemPayloadStore:
    """Payloads as files below a directory, `ab/abcd...`."""

    def __init__(self, base_path: Path) -> None:
        self._base = Path(base_path)
        self._made: set[Path] = set()
        make_directory(self._base)

    def store(self, content: bytes) -> str:
        """Keep the content durably and return its hash.

        Once this returns, the content survives a power cut. A crash before the rename leaves a temporary file that
        nothing names.

        Raises IntegrityError if the content is kept already and was altered.
        """
        content_hash = hashlib.sha256(content).hexdigest()
        path = self._path(content_hash)
        self._make(path.parent)
        with _locked(path.parent, fcntl.LOCK_SH):  # so that nothing deletes it once it is found
            if path.exists():
                self.retrieve(content_hash)
                os.utime(path)  # its age counts from its last use
            else:
                _write(path, content)
        # Also for a file that exists: the process that renamed it may have died before its sync.
        sync_directory(path.parent)
        return content_hash

    def retrieve(self, content_hash: str) -> bytes:
        """Return the content.

        Raises KeyError if it is not kept, IntegrityError if it was altered.
        """
        path = self._path(content_hash)
        try:
            content = path.read_bytes()
        except FileNotFoundError as error:
            raise KeyError(content_hash) from error
        found = hashlib.sha256(content).hexdigest()
        if found != content_hash:
            message = f"payload {path}: expected SHA-256 {content_hash}, got {found}. The file was altered."
            raise IntegrityError(message)
        return content

    def exists(self, content_hash: str) -> bool:
        """Return whether content is kept under the hash."""
        return self._path(content_hash).exists()

    def delete(self, content_hash: str) -> bool:
        """Delete the content; return whether it was kept."""
        try:
            self._path(content_hash).unlink()
        except FileNotFoundError:
            return False
        return True

    def delete_unless_used(self, content_hash: str, since: datetime) -> bool:
        """Delete the content unless it was stored since a moment.

        Returns whether it was deleted.
        """
        path = self._path(content_hash)
        try:
            with _locked(path.parent, fcntl.LOCK_EX):
                if path.stat().st_mtime >= since.timestamp():
                    return False
                path.unlink()
        except FileNotFoundError:
            return False
        return True

    def last_used_before(self, moment: datetime) -> Iterator[tuple[str, int]]:
        """Yield hash and size of payloads stored before a moment.

        Sizes are in bytes; storing a payload again counts.
        """
        for path in sorted(self._base.glob("??/*")):
            if _HASH.fullmatch(path.name) and (status := path.stat()).st_mtime < moment.timestamp():
                yield path.name, status.st_size

    def _path(self, content_hash: str) -> Path:
        if _HASH.fullmatch(content_hash) is None:
            message = f"payload hash: expected 64 hex digits, got {content_hash!r}"
            raise ValueError(message)
        return self._base / content_hash[:2] / content_hash

    def _make(self, directory: Path) -> None:
        if directory not in self._made:
            make_directory(directory)
            self._made.add(directory)


@contextmanager
def _locked(directory: Path, kind: int) -> Iterator[None]:
    """Lock a directory while the block lasts.

    Writers share the lock; a deletion excludes them.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # without locks, as on some network file systems, only the time protects
            fcntl.flock(descriptor, kind)
        yield
    finally:
        os.close(descriptor)


def _write(path: Path, content: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".partial-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise

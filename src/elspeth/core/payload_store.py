"""Keeps contents in files named by their SHA-256."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Protocol, runtime_checkable

from elspeth.contracts.errors import RecordableError
from elspeth.objects.address import ObjectPath, Place
from elspeth.outputs.writing import make_directory, sync_directory

__all__ = [
    "DeferredPayloads",
    "FilesystemPayloadStore",
    "IntegrityError",
    "ManagedPayloadStore",
    "PayloadStore",
    "is_hash",
    "relative_path",
    "require_content",
]

_HASH = re.compile("[0-9a-f]{64}")


class IntegrityError(RecordableError):
    """The content kept under a hash has another hash."""


class PayloadStore(Protocol):
    """Stores contents under their SHA-256 (64 hex digits)."""

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


class ManagedPayloadStore(PayloadStore, Protocol):
    """A payload store of runs: read in bulk, and purged."""

    def find(self, hashes: Iterable[str]) -> list[str]:
        """Return the hashes that are kept, in order.

        Texts that are not hashes are left out.
        """

    def read(self, hashes: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Yield each hash with its content.

        Raises KeyError for a content that is not kept, and IntegrityError for one that was altered.
        """

    def last_used_before(self, moment: datetime) -> Iterator[tuple[str, int]]:
        """Yield hash and size of payloads stored before a moment.

        Sizes are in bytes; storing a payload again counts.
        """

    def delete_unused(self, hashes: Iterable[str], since: datetime) -> None:
        """Delete the payloads that were not stored since a moment."""


@runtime_checkable
class DeferredPayloads(Protocol):
    """A payload store that makes payloads durable in groups."""

    def sync(self) -> None:
        """Make the payloads stored since the last call durable.

        Raises OSError if that fails, and IntegrityError for a payload that existed already and was altered.
        """

    def forget(self) -> None:
        """Drop the payloads stored so far, without waiting for them.

        No record will refer to them.
        """


class FilesystemPayloadStore:
    """Payloads as files below a directory, `ab/abcd...`."""

    def __init__(self, base_path: Path) -> None:
        self._base = Path(base_path)
        self._made: set[Path] = set()
        make_directory(self._base)

    def store(self, content: bytes) -> str:
        """Keep the content durably and return its hash.

        Once this returns, the content survives a power cut. A crash before the rename leaves a temporary file that no
        record refers to.

        Raises IntegrityError if the content is kept already and was altered.
        """
        content_hash = hashlib.sha256(content).hexdigest()
        path = self._path(content_hash)
        self._make(path.parent)
        with _locked(path.parent, fcntl.LOCK_SH):  # so that no purge deletes the file after it was found
            if path.exists():
                self.retrieve(content_hash)
                os.utime(path)  # its age counts from its last use
            else:
                _write(path, content)
        # This is also needed for an existing file: the process that renamed it may have died before its sync.
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
        require_content(path, content_hash, hashlib.sha256(content).hexdigest())
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

    def delete_unused(self, hashes: Iterable[str], since: datetime) -> None:
        """Delete the payloads that were not stored since a moment."""
        for content_hash in hashes:
            self.delete_unless_used(content_hash, since)

    def find(self, hashes: Iterable[str]) -> list[str]:
        """Return the hashes that are kept, in order."""
        return [each for each in hashes if is_hash(each) and self.exists(each)]

    def read(self, hashes: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Yield each hash with its content."""
        for each in hashes:
            yield each, self.retrieve(each)

    def last_used_before(self, moment: datetime) -> Iterator[tuple[str, int]]:
        """Yield hash and size of payloads stored before a moment.

        Sizes are in bytes; storing a payload again counts.
        """
        for path in sorted(self._base.glob("??/*")):
            if is_hash(path.name) and (status := path.stat()).st_mtime < moment.timestamp():
                yield path.name, status.st_size

    def _path(self, content_hash: str) -> Path:
        return self._base / relative_path(content_hash)

    def _make(self, directory: Path) -> None:
        if directory not in self._made:
            make_directory(directory)
            self._made.add(directory)


def is_hash(text: str) -> bool:
    """Return whether a text can be a payload hash."""
    return _HASH.fullmatch(text) is not None


def relative_path(content_hash: str) -> str:
    """Return the path of a payload in its store.

    Raises ValueError for a text that is not a hash.
    """
    if not is_hash(content_hash):
        raise ValueError(f"payload hash: expected 64 hex digits, got {content_hash!r}")
    return f"{content_hash[:2]}/{content_hash}"


def require_content(place: Place, content_hash: str, found: str) -> None:
    """Raise IntegrityError unless the payload has its hash."""
    if found != content_hash:
        what = "object" if isinstance(place, ObjectPath) else "file"
        raise IntegrityError(f"payload {place}: expected SHA-256 {content_hash}, got {found}. The {what} was altered.")


@contextmanager
def _locked(directory: Path, kind: int) -> Iterator[None]:
    """Lock a directory while the block lasts.

    Writers share the lock; a deletion excludes them.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # some network file systems have no locks: there only the time of last use protects
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

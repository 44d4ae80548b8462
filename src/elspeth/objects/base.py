"""The base class of object stores."""

from __future__ import annotations

import hashlib
import io
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from elspeth.objects.address import ObjectPath
from elspeth.objects.errors import ObjectChangedError, ObjectExistsError, ObjectMissingError, named_errors

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["BLOCK", "PART", "ObjectReader", "ObjectState", "ObjectStore", "RangeFile"]

BLOCK = 8 * 1024 * 1024
"""The number of bytes to read ahead. A request takes about as long as reading one MiB."""

PART = 64 * 1024 * 1024
"""The largest number of bytes in one request. A larger file is uploaded in parts."""

_WILDCARD = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectState:
    """The metadata of an object.

    `size` is in bytes. `tag` changes with the content. `version` is set in buckets that keep versions. `sha256` is the
    hash in hex, if the store has computed it itself. `modified` is the time when the object was written, if that is
    known.
    """

    size: int
    tag: str
    version: str | None = None
    sha256: str | None = None
    modified: datetime | None = field(default=None, compare=False)

    @property
    def label(self) -> str:
        """Return the version, or the tag without one."""
        return self.version or self.tag


class ObjectStore(ABC):
    """One kind of object store.

    All errors are ObjectStoreError, with the address of the object.
    """

    @abstractmethod
    def check_writable(self, path: ObjectPath) -> None:
        """Raise ObjectStoreError if the object cannot be written.

        Nothing is written.
        """

    @abstractmethod
    def _ask_state(self, path: ObjectPath) -> ObjectState | None:
        """Return the metadata of an object.

        Returns None, or raises FileNotFoundError or the like, if there is none.
        """

    @abstractmethod
    def _read(self, path: ObjectPath) -> bytes:
        """Return the content of an object, by one request."""

    @abstractmethod
    def _content(self, path: ObjectPath, state: ObjectState) -> BinaryIO:
        """Open an object, without a request for its metadata.

        If the store supports it, reading raises ObjectChangedError unless the object still has this state.
        """

    @abstractmethod
    def _listed(self, bucket: ObjectPath, prefix: str, *, deep: bool) -> Iterable[tuple[str, ObjectState]]:
        """Return the keys with a prefix, and their states.

        `bucket` is any address in the bucket. Unless `deep`, keys with another slash after the prefix may be left out.
        """

    @abstractmethod
    def _write(self, path: ObjectPath, content: bytes, sha256: str, replacing: ObjectState | None) -> ObjectState:
        """Store bytes by one request, and return its answer.

        Raises FileExistsError if the existing object is not the one to replace.
        """

    @abstractmethod
    def _upload_parts(self, path: ObjectPath, file: Path, sha256: str, replacing: ObjectState | None) -> ObjectState:
        """Upload a file in parts, and return the last answer.

        The last request creates the object. A crash leaves invisible parts. Raises FileExistsError like `_write`.
        """

    @abstractmethod
    def _delete(self, path: ObjectPath) -> None:
        """Delete an object. It may raise FileNotFoundError without one."""

    def state(self, path: ObjectPath) -> ObjectState | None:
        """Return the metadata of an object, or None."""
        try:
            with named_errors(path):
                return self._ask_state(path)
        except ObjectMissingError:
            return None

    def require(self, path: ObjectPath) -> ObjectState:
        """Return the metadata of an object.

        Raises ObjectMissingError if there is none.
        """
        state = self.state(path)
        if state is None:
            raise ObjectMissingError(path, "there is no such object, or no such bucket")
        return state

    def open(self, path: ObjectPath) -> ObjectReader:
        """Open an object for reading in ranges."""
        state = self.require(path)
        with named_errors(path):
            return ObjectReader(self, path, state, self._content(path, state))

    def read(self, path: ObjectPath) -> bytes:
        """Return the content of a small object, by one request.

        Raises ObjectMissingError if there is none.
        """
        with named_errors(path):
            return self._read(path)

    def find(self, pattern: ObjectPath) -> Sequence[ObjectPath]:
        """Return all objects whose addresses may match a pattern.

        They match the pattern up to its first wildcard, because stores list objects by the prefixes of their keys.
        """
        prefix = _WILDCARD.split(pattern.key, maxsplit=1)[0]
        rest = pattern.key[len(prefix) :]
        with named_errors(pattern):
            keys = [key for key, _ in self._listed(pattern, prefix, deep="/" in rest or "**" in rest)]
        return [ObjectPath(f"{pattern.scheme}://{pattern.bucket}/{key}") for key in keys if not key.endswith("/")]

    def hash(self, path: ObjectPath, state: ObjectState) -> str:
        """Return the SHA-256 of an object in hex.

        The object is read, unless the store has computed the hash.
        """
        if state.sha256 is not None:
            return state.sha256
        with self.open(path) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            file.require_unchanged()
        return digest

    def put(self, path: ObjectPath, file: Path, *, sha256: str, replacing: ObjectState | None) -> ObjectState:
        """Store a file as an object, or change nothing.

        `sha256` is the hash of the file. Only the object with the state `replacing` is replaced; if that is None, no
        object is. An existing object with the same content counts as stored, because the answer to an earlier request
        may have been lost.

        Raises ObjectChangedError if another object exists.
        """
        if self.state(path) != replacing:
            return self._require_stored(path, file, sha256)
        try:
            with named_errors(path):
                if file.stat().st_size > PART:
                    return self._upload_parts(path, file, sha256, replacing)
                return self._write(path, file.read_bytes(), sha256, replacing)
        except ObjectExistsError:
            return self._require_stored(path, file, sha256)

    def write(self, path: ObjectPath, content: bytes, *, sha256: str, replacing: ObjectState | None) -> None:
        """Store bytes as a small object, or change nothing.

        Only the object with the state `replacing` is replaced; if that is None, no object is. Raises ObjectExistsError
        if another object exists, or if the one to replace is missing.
        """
        with named_errors(path):
            self._write(path, content, sha256, replacing)

    def list(self, prefix: ObjectPath) -> Iterator[tuple[str, ObjectState]]:
        """Yield the objects below a prefix.

        Each comes with the part of its key after the prefix.
        """
        start = f"{prefix.key}/"
        with named_errors(prefix):
            for key, state in self._listed(prefix, start, deep=True):
                yield key.removeprefix(start), state

    def delete(self, path: ObjectPath) -> None:
        """Delete an object, if there is one."""
        with suppress(ObjectMissingError), named_errors(path):
            self._delete(path)

    def _require_same(self, path: ObjectPath, replacing: ObjectState | None) -> None:
        """Raise FileExistsError unless the object to replace is there.

        Asked before the last request, because stores that do not know its condition ignore it.
        """
        if self.state(path) != replacing:
            raise FileExistsError(str(path))

    def _require_stored(self, path: ObjectPath, file: Path, sha256: str) -> ObjectState:
        """Return the state of an object that equals a file."""
        found = self.state(path)
        if found is not None and found.size == file.stat().st_size and self.hash(path, found) == sha256:
            return found
        raise ObjectChangedError(path, "was made, changed or removed by another program")


class ObjectReader(io.RawIOBase):
    """The bytes of an object.

    All errors are ObjectStoreError. If the store supports it, each read fails unless the object is still the opened
    one. `require_unchanged` compares it at the end.
    """

    def __init__(self, store: ObjectStore, path: ObjectPath, state: ObjectState, file: BinaryIO) -> None:
        super().__init__()
        self._store, self._path, self._file = store, path, file
        self.state = state

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read the next bytes into a buffer."""
        view = memoryview(buffer).cast("B")
        with named_errors(self._path):
            content = self._file.read(len(view))
        view[: len(content)] = content
        return len(content)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._file.tell()

    def require_unchanged(self) -> None:
        """Raise ObjectChangedError if the object was replaced."""
        if self._store.state(self._path) != self.state:
            raise ObjectChangedError(self._path, "it was replaced while it was read")

    def close(self) -> None:
        """Close the object."""
        if not self.closed:
            self._file.close()
        super().close()


class RangeFile(io.RawIOBase):
    """An object as a file that fetches blocks.

    `fetch` returns the bytes from one position up to another.
    """

    def __init__(self, fetch: Callable[[int, int], bytes], size: int) -> None:
        super().__init__()
        self._fetch, self._size = fetch, size
        self._position = self._start = 0
        self._block = b""

    @classmethod
    def opened(cls, fetch: Callable[[int, int], bytes], size: int) -> BinaryIO:
        """Return such a file, typed like other libraries' files."""
        return cast("BinaryIO", cls(fetch, size))

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read bytes of one block into a buffer."""
        view = memoryview(buffer).cast("B")
        if self._position >= self._size or not view:
            return 0
        if not self._start <= self._position < self._start + len(self._block):
            end = min(self._position + BLOCK, self._size)
            block = self._fetch(self._position, end)
            if len(block) != end - self._position:
                raise OSError(f"sent {len(block)} bytes where {end - self._position} were asked for")
            self._start, self._block = self._position, block
        offset = self._position - self._start
        content = self._block[offset : offset + len(view)]
        view[: len(content)] = content
        self._position += len(content)
        return len(content)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._position

"""What all stores of objects share, through fsspec."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from elspeth.objects.address import ObjectPath
from elspeth.objects.errors import ObjectChangedError, ObjectExistsError, ObjectMissingError, named_errors

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["FileSystem", "ObjectReader", "ObjectState", "ObjectStore"]

_BLOCK = 8 * 1024 * 1024
"""Bytes that are read ahead; a request takes about as long as a mebibyte."""

_VERSIONS = ("VersionId", "generation", "version_id")
_TAGS = ("ETag", "etag", "md5Hash", "LastModified", "last_modified", "updated", "mtime", "created")
"""What changes with an object, the best first, by the names that implementations of fsspec give it."""
_TIMES = ("LastModified", "last_modified", "updated", "mtime", "created")
"""When an object was written, the best first, by the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectState:
    """What a store says of an object.

    `size` is in bytes. `tag` changes with the content. `version` is that of a bucket that keeps versions. `sha256` is
    the hash in hex, if the store has computed it itself. `modified` is when the object was written, if that is known.
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


class FileSystem(Protocol):
    """What is used of fsspec's `AbstractFileSystem`."""

    def info(self, path: str) -> Mapping[str, object]:
        """Return what the store says of an object or directory."""

    def open(self, path: str, mode: str, *, block_size: int) -> BinaryIO:
        """Open an object for reading."""

    def glob(self, path: str, *, detail: bool) -> Mapping[str, Mapping[str, object]]:
        """Return what matches a pattern, with what `info` says."""

    def put_file(self, lpath: str, rpath: str, *, mode: str) -> object:
        """Upload a local file."""

    def cat_file(self, path: str, **options: object) -> bytes:
        """Return the content of an object."""

    def pipe_file(self, path: str, value: bytes, *, mode: str) -> object:
        """Store bytes as an object."""

    def rm_file(self, path: str) -> object:
        """Delete an object."""

    def find(self, path: str, *, detail: bool) -> Mapping[str, Mapping[str, object]]:
        """Return all objects below a path, with what `info` says."""

    def call_s3(self, method: str, **options: object) -> Mapping[str, object]:
        """Send a request to S3; only s3fs has this."""


class ObjectStore:
    """One kind of object store, through fsspec.

    Errors are ObjectStoreError with the address.
    """

    def __init__(self, files: FileSystem) -> None:
        self._files = files

    def state(self, path: ObjectPath) -> ObjectState | None:
        """Return what the store says of an object, or None."""
        try:
            with named_errors(path):
                info = self._files.info(str(path))
        except ObjectMissingError:
            return None
        if info.get("type") != "file":
            return None
        return _state_of(info)

    def require(self, path: ObjectPath) -> ObjectState:
        """Return what the store says of an object.

        Raises ObjectMissingError if there is none.
        """
        state = self.state(path)
        if state is None:
            raise ObjectMissingError(path, "there is no such object, or no such bucket")
        return state

    def open(self, path: ObjectPath) -> ObjectReader:
        """Open an object, of which ranges are read."""
        state = self.require(path)
        with named_errors(path):
            return ObjectReader(self, path, state, self._files.open(str(path), "rb", block_size=_BLOCK))

    def find(self, pattern: ObjectPath) -> Sequence[ObjectPath]:
        """Return the objects whose addresses match a pattern."""
        with named_errors(pattern):
            found = self._files.glob(str(pattern), detail=True)
        keys = [name.lstrip("/").partition("/")[2] for name, info in found.items() if info.get("type") == "file"]
        return [ObjectPath(f"{pattern.scheme}://{pattern.bucket}/{key}") for key in keys]

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

        `sha256` is that of the file. Only the object of the state `replacing` is replaced, and without it nothing. An
        object with this content counts as stored: an earlier request may have done that, and its answer been lost.

        Raises ObjectChangedError if another object is there.
        """
        if self.state(path) != replacing:
            return self._require_stored(path, file, sha256)
        try:
            with named_errors(path):
                self._upload(path, file, sha256, replacing)
        except ObjectExistsError:
            return self._require_stored(path, file, sha256)
        stored = self.state(path)
        if stored is None:
            raise ObjectMissingError(path, "was stored, and is gone again")
        return stored

    def read(self, path: ObjectPath) -> bytes:
        """Return the content of a small object.

        Raises ObjectMissingError if there is none.
        """
        with named_errors(path):
            return self._files.cat_file(str(path))

    def write(self, path: ObjectPath, content: bytes, *, sha256: str, replacing: ObjectState | None) -> None:
        """Store bytes as a small object, or change nothing.

        Only the object of the state `replacing` is replaced, and without it nothing. Raises ObjectExistsError if
        another object is there, or none to be replaced.
        """
        with named_errors(path):
            self._write(path, content, sha256, replacing)

    def list(self, prefix: ObjectPath) -> Iterator[tuple[str, ObjectState]]:
        """Yield the objects below a prefix.

        Each comes with the rest of its key.
        """
        with named_errors(prefix):
            found = self._files.find(str(prefix), detail=True)
        for name, info in found.items():
            key = name.lstrip("/").partition("/")[2]
            if key.startswith(f"{prefix.key}/"):
                yield key.removeprefix(f"{prefix.key}/"), _state_of(info)

    def delete(self, path: ObjectPath) -> None:
        """Delete an object, if there is one."""
        with suppress(ObjectMissingError), named_errors(path):
            self._files.rm_file(str(path))

    def check_writable(self, path: ObjectPath) -> None:
        """Raise ObjectStoreError if the object cannot be written.

        What a store does not tell without writing is not checked.
        """

    def _upload(self, path: ObjectPath, file: Path, sha256: str, replacing: ObjectState | None) -> None:  # noqa: ARG002
        """Upload a file. Raises FileExistsError if another object is there."""
        self._files.put_file(str(file), str(path), mode="create" if replacing is None else "overwrite")

    def _write(self, path: ObjectPath, content: bytes, sha256: str, replacing: ObjectState | None) -> None:  # noqa: ARG002
        """Store bytes. Raises FileExistsError if another object is there."""
        if self.state(path) != replacing:
            raise FileExistsError(str(path))
        self._files.pipe_file(str(path), content, mode="create" if replacing is None else "overwrite")

    def _require_stored(self, path: ObjectPath, file: Path, sha256: str) -> ObjectState:
        """Return the state of an object equal to a file."""
        found = self.state(path)
        if found is not None and found.size == file.stat().st_size and self.hash(path, found) == sha256:
            return found
        raise ObjectChangedError(path, "was made, changed or removed by another program")


class ObjectReader(io.RawIOBase):
    """The bytes of an object.

    Errors are ObjectStoreError. Each read asks for a block of the object that was opened, if the store can do that;
    `require_unchanged` compares at the end.
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
        """Raise ObjectChangedError if another object is there now."""
        if self._store.state(self._path) != self.state:
            raise ObjectChangedError(self._path, "it was replaced while it was read")

    def close(self) -> None:
        """Close the object."""
        if not self.closed:
            self._file.close()
        super().close()


def _state_of(info: Mapping[str, object]) -> ObjectState:
    """Return the state that fsspec's information stands for."""
    version = next((str(info[name]) for name in _VERSIONS if info.get(name) is not None), None)
    tag = next((str(info[name]) for name in _TAGS if info.get(name) is not None), "")
    times = (time for name in _TIMES if (time := _time_of(info.get(name))) is not None)
    return ObjectState(size=int(str(info["size"])), tag=tag, version=version, modified=next(times, None))


def _time_of(value: object) -> datetime | None:
    """Return a time given as such, as seconds or text."""
    if isinstance(value, float):
        return datetime.fromtimestamp(value, UTC)
    if isinstance(value, str):
        with suppress(ValueError):
            value = datetime.fromisoformat(value)
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo is not None else value.replace(tzinfo=UTC)

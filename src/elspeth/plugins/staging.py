"""Stages outputs, which nobody sees until they are complete."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

from elspeth.contracts.plugins import JsonObject, PluginError, StagedOutput
from elspeth.objects.address import ObjectPath, Place
from elspeth.objects.errors import ObjectStoreError
from elspeth.outputs.locks import hidden_sibling, still_names, try_lock
from elspeth.outputs.writing import make_directory, sync_directory
from elspeth.plugins._targets import target_of

__all__ = ["ConvertedFile", "StagedFile"]

_BLOCK = 1 << 20


class StagedFile:
    """A file that is written hidden, and published when complete.

    It is written beside its final path, and then renamed; for an object, it is written below `.elspeth/staging`, and
    then uploaded. It replaces only the file or object that existed when it was opened, never one that appeared or
    changed since. PluginError names the file.
    """

    def __init__(self, path: Place) -> None:
        self._path = path
        self._target = target_of(path)
        self._staging: Path | None = None
        self._file: BinaryIO | None = None
        self._hash = hashlib.sha256()
        self._size = 0

    def open(self, staging_name: str) -> None:
        """Create the staging file, and the directories above it.

        A final path that cannot be a file is refused. An existing staging file of that name was left by a process that
        stopped before any of its content was recorded.
        """
        self._target.inspect()
        self._staging = self._staging_path(staging_name)
        try:
            make_directory(self._staging.parent)
            mode = self._target.mode()
            descriptor = _open_exclusively(self._staging, os.O_CREAT, 0o666 if mode is None else mode & 0o600)
            self._file = os.fdopen(descriptor, "wb")
            self._file.truncate()
            if mode is not None:
                os.fchmod(descriptor, mode)
            sync_directory(self._staging.parent)
        except OSError as error:
            raise PluginError(f"{self._staging} cannot be created: {error.strerror}") from error

    def reopen(self, staging_name: str, position: JsonObject) -> None:
        """Continue behind a position in the staging file.

        The bytes before it must have the hash of the position.
        """
        self._target.inspect()
        self._staging = self._staging_path(staging_name)
        self._hash, self._size = hashlib.sha256(), cast("int", position["bytes"])
        try:
            self._file = os.fdopen(_open_exclusively(self._staging), "r+b")
            for start in range(0, self._size, _BLOCK):
                self._hash.update(self._file.read(min(_BLOCK, self._size - start)))
            if self._hash.hexdigest() != position["sha256"]:
                raise PluginError(
                    f"{self._staging} is not what the run wrote: expected {self._size} bytes with SHA-256 "
                    f"{position['sha256']}, got {self._hash.hexdigest()}; restore the file, or run the pipeline again"
                )
            self._file.truncate(self._size)
        except FileNotFoundError as error:
            raise PluginError(
                f"{self._staging} is gone, with {self._size} bytes that the run wrote: put it back, or put "
                f"{self._path} back if it was moved after it was published; else give the run up, and run the pipeline "
                "again"
            ) from error
        except OSError as error:
            raise self._file_error("opened again", error) from error

    def position(self) -> JsonObject:
        """Return size and SHA-256 of the content so far."""
        return {"bytes": self._size, "sha256": self._hash.hexdigest()}

    def confirm(self, staging_name: str, output: StagedOutput) -> bool:
        """Return whether the file is published."""
        try:
            return self._target.holds(self._staging_path(staging_name), output)
        except OSError as error:
            raise PluginError(f"{self._path} cannot be read: {error.strerror}") from error

    def version(self) -> str | None:
        """Return the version of the published object, or None."""
        return self._target.version()

    @property
    def staging(self) -> Path:
        """Return the path of the staging file.

        Raises PluginError before it is opened.
        """
        if self._staging is None:
            raise PluginError(f"{self._path} is not open")
        return self._staging

    def write(self, content: bytes) -> None:
        """Append bytes."""
        self._hash.update(content)
        self._size += len(content)
        try:
            self._require_open().write(content)
        except OSError as error:
            raise self._file_error("written", error) from error

    def sync(self) -> None:
        """Sync everything written to disk."""
        file = self._require_open()
        try:
            file.flush()
            os.fsync(file.fileno())
        except OSError as error:
            raise self._file_error("written", error) from error

    def finish(self, artifact_type: str) -> StagedOutput:
        """Sync and close the file, and return its hash."""
        self.sync()
        self._require_open().close()
        return StagedOutput(
            artifact_type=artifact_type,
            path=str(self._path),
            content_hash=self._hash.hexdigest(),
            size_bytes=self._size,
        )

    def publish(self) -> None:
        """Give the file its final name, or upload it.

        A crash before that leaves the staging file and the old final file; a crash after it leaves the complete new
        file.
        """
        try:
            self._target.publish(self.staging, self._hash.hexdigest())
        except FileExistsError as error:
            raise PluginError(
                f"{self._path} was made or changed by another program during the run, and is left unchanged: move "
                "it away, then resume the run"
            ) from error
        except ObjectStoreError as error:
            raise PluginError(f"{self._path} cannot be stored: {error.strerror}") from error
        except OSError as error:
            raise self._file_error("renamed", error) from error

    def close(self) -> str | None:
        """Close the staging file without removing it.

        Returns its path, or None if it was not opened.
        """
        if self._file is None:
            return None
        with contextlib.suppress(OSError):  # on a full disk: bytes that were not synced were not recorded either
            self._file.close()
        return str(self._staging)

    def discard(self) -> None:
        """Remove the staging file, if there is one."""
        if self._file is not None and self._staging is not None:
            self._staging.unlink(missing_ok=True)  # while this process still holds the lock on it
        self.close()

    def remove(self, staging_name: str) -> None:
        """Remove the staging file that another process left."""
        self._staging_path(staging_name).unlink(missing_ok=True)

    def _staging_path(self, staging_name: str) -> Path:
        return hidden_sibling(self._target.beside(), f"{staging_name}.partial")

    def _require_open(self) -> BinaryIO:
        if self._file is None:
            raise PluginError(f"{self._path} is not open")
        return self._file

    def _file_error(self, what: str, error: OSError) -> PluginError:
        return PluginError(f"{self._staging or self._path} cannot be {what}: {error.strerror}")


def _open_exclusively(path: Path, flags: int = 0, mode: int = 0o666) -> int:
    """Open a staging file exclusively.

    It is opened for reading and writing. Raises OSError, and PluginError while another process has it open: the first
    owner of a resumed run may still be alive.
    """
    file = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | flags, mode)
    try:
        is_alone = try_lock(file) and still_names(path, file)
    except BaseException:
        os.close(file)
        raise
    if not is_alone:
        os.close(file)
        raise PluginError(f"{path} is being written by another process: wait for its end, or stop it first")
    return file


class ConvertedFile:
    """A staged file, converted from its content at the end.

    Until then the content is kept in a staging file of its own, so that the bytes of the file do not depend on when the
    content was synced, or on whether the run was resumed. `convert` writes the file from the path of the content. The
    methods are those of `StagedFile`.
    """

    def __init__(self, path: Place, convert: Callable[[Path, StagedFile], None]) -> None:
        self._file = StagedFile(path)
        beside = target_of(path).beside() if isinstance(path, ObjectPath) else path
        self._content = StagedFile(Path(f"{beside}.rows"))
        self._convert = convert

    @property
    def content(self) -> Path:
        """Return the path of the content."""
        return self._content.staging

    def open(self, staging_name: str) -> None:
        """Create the staging files."""
        self._file.open(staging_name)
        self._content.open(staging_name)

    def reopen(self, staging_name: str, position: JsonObject) -> None:
        """Continue behind a position in the content."""
        self._file.open(staging_name)
        self._content.reopen(staging_name, position)

    def position(self) -> JsonObject:
        """Return size and SHA-256 of the content so far."""
        return self._content.position()

    def write(self, content: bytes) -> None:
        """Append bytes of content."""
        self._content.write(content)

    def sync(self) -> None:
        """Sync everything written to disk."""
        self._content.sync()

    def finish(self, artifact_type: str) -> StagedOutput:
        """Convert the content to the file, and return its hash."""
        self._content.finish(artifact_type)
        try:
            self._convert(self.content, self._file)
        except OSError as error:
            raise PluginError(f"{self.content} cannot be read: {error.strerror}") from error
        return self._file.finish(artifact_type)

    def publish(self) -> None:
        """Publish the file, and remove the content."""
        self._file.publish()
        self._content.discard()

    def confirm(self, staging_name: str, output: StagedOutput) -> bool:
        """Return whether the file is published."""
        is_in_place = self._file.confirm(staging_name, output)
        if is_in_place:
            self._content.remove(staging_name)
        return is_in_place

    def version(self) -> str | None:
        """Return the version of the published object, or None."""
        return self._file.version()

    def close(self) -> str | None:
        """Close the staging files, returning the path of the content."""
        self._file.discard()
        return self._content.close()

    def discard(self) -> None:
        """Remove the staging files."""
        self._file.discard()
        self._content.discard()

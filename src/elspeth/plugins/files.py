"""Output files that appear under their final name complete, or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
from io import BufferedWriter
from pathlib import Path

from elspeth.contracts.plugins import PluginError, StagedOutput

__all__ = ["StagedFile"]


class StagedFile:
    """A file written beside its final place and renamed into it. PluginError names the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._staging: Path | None = None
        self._file: BufferedWriter | None = None
        self._hash = hashlib.sha256()
        self._size = 0

    def open(self, staging_name: str) -> None:
        """Create the staging file, and the directories above it; refuses a final path that is a directory."""
        if self._path.is_dir():
            raise PluginError(f"{self._path} is a directory: a sink needs the path of a file")
        self._staging = self._path.with_name(f".{self._path.name}.{staging_name}.partial")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._staging.open("xb")
        except OSError as error:
            raise PluginError(f"{self._staging} cannot be created: {error.strerror}") from error

    @property
    def staging(self) -> Path:
        """The staging file; PluginError before it is opened."""
        if self._staging is None:
            raise PluginError(f"{self._path} is not open")
        return self._staging

    def write(self, content: bytes) -> None:
        """Append bytes."""
        self._hash.update(content)
        self._size += len(content)
        try:
            self._opened().write(content)
        except OSError as error:
            raise self._failed("written", error) from error

    def sync(self) -> None:
        """Return when everything written is on the disk."""
        file = self._opened()
        try:
            file.flush()
            os.fsync(file.fileno())
        except OSError as error:
            raise self._failed("written", error) from error

    def finish(self, artifact_type: str) -> StagedOutput:
        """Close the file, which is on the disk then, and name its content."""
        self.sync()
        self._opened().close()
        return StagedOutput(
            artifact_type=artifact_type,
            path=str(self._path),
            content_hash=self._hash.hexdigest(),
            size_bytes=self._size,
        )

    def publish(self) -> None:
        """Rename the file to its final name.

        A crash before the rename leaves the staging file and the old final file; after it, the complete new one. Only
        when the directory is on the disk too can a power cut no longer undo the rename.
        """
        staging = self._staging
        try:
            if staging is not None and staging.exists():
                staging.replace(self._path)
            _sync_directory(self._path.parent)
        except OSError as error:
            raise self._failed("renamed", error) from error

    def close(self) -> str | None:
        """Close the staging file and leave it; its path, if there is one."""
        if self._file is None:
            return None
        with contextlib.suppress(OSError):  # a full disk: what was not synced is not recorded either
            self._file.close()
        return str(self._staging)

    def discard(self) -> None:
        """Remove the staging file, if there is one."""
        if self.close() is not None and self._staging is not None:
            self._staging.unlink(missing_ok=True)

    def _opened(self) -> BufferedWriter:
        if self._file is None:
            raise PluginError(f"{self._path} is not open")
        return self._file

    def _failed(self, what: str, error: OSError) -> PluginError:
        return PluginError(f"{self._staging or self._path} cannot be {what}: {error.strerror}")


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""The targets to which staged files are published."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Protocol

from elspeth.contracts.plugins import PluginError, StagedOutput
from elspeth.objects.address import ObjectPath, Place
from elspeth.objects.base import ObjectState
from elspeth.objects.errors import ObjectChangedError, ObjectStoreError
from elspeth.objects.stores import store_of
from elspeth.outputs.policy import FileState, Kind, OutputPolicy, file_state, problem_with, real_path
from elspeth.outputs.writing import mode_of, publish_file, sync_directory

__all__ = ["Target", "target_of"]

_ANY_FILE = OutputPolicy(kind=Kind.FILE, objection=lambda _: None)
"""Any file may be replaced, because the engine, which knows the outputs of earlier runs, has checked that."""

_STAGING = Path(".elspeth", "staging")
"""The directory, below the working directory, in which objects are staged, like the rows of the sink `database`."""

_ADDRESS_DIGITS = 16


class Target(Protocol):
    """A place to which a staged file is published."""

    def beside(self) -> Path:
        """Return the path beside which to stage the file."""

    def inspect(self) -> None:
        """Note the present content: only that may be replaced.

        Raises PluginError if nothing can be published there.
        """

    def mode(self) -> int | None:
        """Return the permissions of the file to replace, or None."""

    def publish(self, staging: Path, content_hash: str) -> None:
        """Publish the staged file, if it is still staged.

        Raises FileExistsError if the content has changed since `inspect`, and OSError.
        """

    def holds(self, staging: Path, output: StagedOutput) -> bool:
        """Return whether the output is published.

        If so, the staged file is removed. Raises OSError.
        """

    def version(self) -> str | None:
        """Return the version of the published object, or None."""


def target_of(place: Place) -> Target:
    """Return the target of a path or an address."""
    return _ObjectTarget(place) if isinstance(place, ObjectPath) else _FileTarget(place)


class _FileTarget:
    """A local file, which is published by renaming.

    A symbolic link is followed, and kept.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._real = path
        self._found: FileState | None = None

    def beside(self) -> Path:
        """Return the path, or the target of a symbolic link."""
        return real_path(self._path) if self._path.is_symlink() else self._path

    def inspect(self) -> None:
        """Note the file at the path."""
        problem = problem_with(self._path, _ANY_FILE)
        if problem is not None:
            raise PluginError(f"{self._path}: {problem}")
        self._real = self.beside()
        self._found = file_state(self._real)

    def mode(self) -> int | None:
        """Return the permissions of the file to replace, or None."""
        return mode_of(self._real)

    def publish(self, staging: Path, content_hash: str) -> None:  # noqa: ARG002  a renaming keeps the content
        """Rename the staged file.

        Until the directory is synced, a power cut can undo the renaming.
        """
        if staging.exists():
            if file_state(self._real) != self._found:
                raise FileExistsError(self._path)
            publish_file(staging, self._real)
        sync_directory(self._real.parent)

    def holds(self, staging: Path, output: StagedOutput) -> bool:
        """Return whether the file has its name."""
        if staging.exists():
            return False
        try:
            with self._path.open("rb") as file:
                is_there = hashlib.file_digest(file, "sha256").hexdigest() == output.content_hash
        except FileNotFoundError:
            return False
        if is_there:
            sync_directory(real_path(self._path).parent)  # the process that renamed may have stopped before its sync
        return is_there

    def version(self) -> str | None:
        """Return None."""
        return None


class _ObjectTarget:
    """An object, which the last request of its upload creates.

    A crash before that request leaves the staged file and the old object; a crash after it leaves the complete new
    object. The staged file is removed at the end.
    """

    def __init__(self, path: ObjectPath) -> None:
        self._path = path
        self._found: ObjectState | None = None
        self._published: ObjectState | None = None

    def beside(self) -> Path:
        """Return a path that stands for the address."""
        digits = hashlib.sha256(str(self._path).encode()).hexdigest()[:_ADDRESS_DIGITS]
        return _STAGING / f"{digits}-{self._path.name}"

    def inspect(self) -> None:
        """Note the object at the address, which must be writable."""
        try:
            store = store_of(self._path)
            self._found = store.state(self._path)
            store.check_writable(self._path)
        except ObjectStoreError as error:
            raise PluginError(f"{self._path} cannot be written: {error.strerror}") from error

    def mode(self) -> int | None:
        """Return None, so that the file gets the usual permissions."""
        return None

    def publish(self, staging: Path, content_hash: str) -> None:
        """Upload the staged file."""
        if not staging.exists():
            return
        try:
            store = store_of(self._path)
            self._published = store.put(self._path, staging, sha256=content_hash, replacing=self._found)
        except ObjectChangedError as error:
            raise FileExistsError(str(self._path)) from error
        staging.unlink()

    def holds(self, staging: Path, output: StagedOutput) -> bool:
        """Return whether the object has the content of the output."""
        store = store_of(self._path)
        found = store.state(self._path)
        if found is None or found.size != output.size_bytes or store.hash(self._path, found) != output.content_hash:
            return False
        self._published = found
        staging.unlink(missing_ok=True)
        return True

    def version(self) -> str | None:
        """Return the store's version, or else its tag."""
        return None if self._published is None else self._published.label

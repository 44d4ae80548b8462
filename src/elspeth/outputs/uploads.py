"""Outputs that are objects: written as files, and uploaded."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from elspeth.objects.address import ObjectPath
from elspeth.objects.base import ObjectState
from elspeth.objects.stores import size_and_hash, store_of
from elspeth.outputs.irreplaceable import content_problem
from elspeth.outputs.policy import OutputRefusedError

__all__ = ["ObjectObjection", "Upload", "begin_upload", "is_there_already", "objection_to"]

ObjectObjection = Callable[[ObjectPath], str | None]
"""Returns why an object that is not empty may not be replaced, None if it may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """An object to be written.

    `found` is what was there before, which alone is replaced.
    """

    path: ObjectPath
    found: ObjectState | None

    @contextmanager
    def file(self) -> Iterator[Path]:
        """Yield the path of a file, uploaded at the end.

        It is uploaded if the block succeeds, and removed. A crash leaves the object as it was, and the file in the
        temporary directory. Raises ObjectChangedError if another object is there by now, ObjectStoreError.
        """
        with tempfile.TemporaryDirectory(prefix="elspeth-") as directory:
            file = Path(directory, self.path.name)
            yield file
            _, content_hash = size_and_hash(file)
            store_of(self.path).put(self.path, file, sha256=content_hash, replacing=self.found)


def begin_upload(path: ObjectPath, objection: ObjectObjection) -> Upload:
    """Return the upload of an object that can be written.

    Raises OutputRefusedError if what is there may not be replaced, ObjectStoreError.
    """
    store = store_of(path)
    found = store.state(path)
    if (problem := objection_to(path, found, objection)) is not None:
        raise OutputRefusedError(path, problem)
    store.check_writable(path)
    return Upload(path=path, found=found)


def objection_to(path: ObjectPath, found: ObjectState | None, objection: ObjectObjection) -> str | None:
    """Return why an object may not be replaced, or None."""
    return None if found is None or found.size == 0 else objection(path)


def is_there_already(*, force: bool) -> ObjectObjection:
    """Return the objection to replacing any object.

    With `force` it is only to what nothing replaces.
    """
    return content_problem if force else lambda _: "is there already: name another key, or use --force"

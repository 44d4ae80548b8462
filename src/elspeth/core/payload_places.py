"""Opens payload stores by their paths and addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from elspeth.core.payload_store import FilesystemPayloadStore, ManagedPayloadStore
from elspeth.objects.address import ObjectPath, Place

if TYPE_CHECKING:
    from elspeth.core.object_payloads import ObjectPayloadStore

__all__ = ["find_payload_store", "open_payload_store"]


def open_payload_store(place: Place) -> ManagedPayloadStore:
    """Return the store at a place, for writing.

    A missing directory is made. Raises OSError if it cannot be made, or an object cannot be stored.
    """
    if isinstance(place, ObjectPath):
        store = _objects(place)
        store.check_writable()
        return store
    return FilesystemPayloadStore(place)


def find_payload_store(place: Place) -> ManagedPayloadStore | None:
    """Return the store at a place, or None.

    Returns None if the directory is missing. Raises OSError if a library is missing.
    """
    if isinstance(place, ObjectPath):
        return _objects(place)
    return FilesystemPayloadStore(place) if place.is_dir() else None


def _objects(place: ObjectPath) -> ObjectPayloadStore:
    from elspeth.core.object_payloads import ObjectPayloadStore  # noqa: PLC0415  few pipelines use objects

    return ObjectPayloadStore(place)

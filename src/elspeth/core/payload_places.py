"""Payload stores by their paths and addresses."""

from __future__ import annotations

from elspeth.core.payload_store import FilesystemPayloadStore, ManagedPayloadStore
from elspeth.objects.address import ObjectPath, Place

__all__ = ["find_payload_store", "open_payload_store"]


def open_payload_store(place: Place) -> ManagedPayloadStore:
    """Return the store at a place; its directory is made.

    Raises OSError if it cannot be made, or a library is missing.
    """
    if isinstance(place, ObjectPath):
        from elspeth.core.object_payloads import ObjectPayloadStore  # noqa: PLC0415  few pipelines use objects

        return ObjectPayloadStore(place)
    return FilesystemPayloadStore(place)


def find_payload_store(place: Place) -> ManagedPayloadStore | None:
    """Return the store at a place, None for a missing directory.

    Nothing is written. Raises OSError.
    """
    return open_payload_store(place) if isinstance(place, ObjectPath) or place.is_dir() else None

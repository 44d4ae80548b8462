"""Stores by address, and files and objects read alike."""

from __future__ import annotations

import hashlib
import io
from importlib import import_module
from typing import cast

from elspeth.objects.address import ObjectPath, Place
from elspeth.objects.base import FileSystem, ObjectStore
from elspeth.objects.errors import named_errors
from elspeth.objects.s3 import S3Store

__all__ = ["open_place", "size_and_hash", "store_of"]

_BUFFER = 64 * 1024


def store_of(path: ObjectPath) -> ObjectStore:
    """Return the store of an object, with the environment's credentials."""
    with named_errors(path):
        files = cast("FileSystem", import_module("fsspec").filesystem(path.scheme, use_listings_cache=False))
    return S3Store(files) if path.scheme == "s3" else ObjectStore(files)


def open_place(place: Place) -> io.BufferedReader:
    """Open a local file or an object for reading."""
    if isinstance(place, ObjectPath):
        return io.BufferedReader(store_of(place).open(place), _BUFFER)
    return place.open("rb")


def size_and_hash(place: Place) -> tuple[int, str]:
    """Return the size and the SHA-256 of a file.

    The size is in bytes, the hash in hex. Raises OSError if it cannot be read.
    """
    if isinstance(place, ObjectPath):
        store = store_of(place)
        state = store.require(place)
        return state.size, store.hash(place, state)
    with place.open("rb") as file:
        content_hash = hashlib.file_digest(file, "sha256").hexdigest()
        return file.tell(), content_hash

"""Finds stores by address, and reads files and objects alike."""

from __future__ import annotations

import hashlib
import io
from importlib import import_module
from typing import cast

from elspeth.objects.address import ObjectPath, Place
from elspeth.objects.azure import AzureFiles, AzureStore
from elspeth.objects.base import ObjectStore
from elspeth.objects.errors import ObjectStoreError, named_errors
from elspeth.objects.google import CLIENT_OPTIONS, GoogleClient, GoogleStore
from elspeth.objects.s3 import S3Files, S3Store

__all__ = ["open_place", "size_and_hash", "store_of"]

_BUFFER = 64 * 1024
_NO_ACCOUNT = (
    "Azure Blob Storage needs the name of an account: set AZURE_STORAGE_ACCOUNT_NAME, or a valid "
    "AZURE_STORAGE_CONNECTION_STRING"
)


def store_of(path: ObjectPath) -> ObjectStore:
    """Return the store of an object, with the environment's credentials."""
    with named_errors(path):
        if path.scheme == "s3":
            return S3Store(cast("S3Files", _files(path)))
        if path.scheme == "gs":
            return GoogleStore(cast("GoogleClient", _files(path, **CLIENT_OPTIONS)))
        try:
            return AzureStore(cast("AzureFiles", _files(path)))
        except ValueError as error:  # adlfs finds no account
            raise ObjectStoreError(path, _NO_ACCOUNT) from error


def _files(path: ObjectPath, **options: object) -> object:
    """Return the client of the store's library."""
    return import_module("fsspec").filesystem(path.scheme, use_listings_cache=False, **options)


def open_place(place: Place) -> io.BufferedReader:
    """Open a local file or an object for reading."""
    if isinstance(place, ObjectPath):
        return io.BufferedReader(store_of(place).open(place), _BUFFER)
    return place.open("rb")


def size_and_hash(place: Place) -> tuple[int, str]:
    """Return the size and the SHA-256 of a file.

    The size is in bytes, the hash in hex. Raises OSError if the file cannot be read.
    """
    if isinstance(place, ObjectPath):
        store = store_of(place)
        state = store.require(place)
        return state.size, store.hash(place, state)
    with place.open("rb") as file:
        content_hash = hashlib.file_digest(file, "sha256").hexdigest()
        return file.tell(), content_hash

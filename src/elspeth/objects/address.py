"""Parses addresses of objects, such as `s3://bucket/key`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["SERVICES", "ObjectPath", "Place", "Service", "address_problem", "is_address", "place_of"]

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_MAX_KEY_BYTES = 1024  # the same for S3, Google Cloud Storage and Azure
_BUCKET = re.compile(r"\$?[A-Za-z0-9]([._-]?[A-Za-z0-9])*")
_NOT_KEPT = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_VERSION = re.compile(r"\?versionid=", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A kind of object store.

    `module` implements it for fsspec, and is installed by the extra `extra`. The environment variable
    `address_variable` may hold the address of the server.
    """

    name: str
    module: str
    extra: str
    address_variable: str


_AZURE = Service(
    name="Azure Blob Storage", module="adlfs", extra="azure", address_variable="AZURE_STORAGE_CONNECTION_STRING"
)

SERVICES: Mapping[str, Service] = {
    "s3": Service(name="Amazon S3", module="s3fs", extra="s3", address_variable="AWS_ENDPOINT_URL"),
    "gs": Service(name="Google Cloud Storage", module="gcsfs", extra="gcs", address_variable="STORAGE_EMULATOR_HOST"),
    "az": _AZURE,
    "abfs": _AZURE,
}
"""The schemes of addresses, named as in fsspec."""

_ALIASES = {"abfs": "az"}
"""Other schemes of the same objects. They are replaced, because addresses are compared."""


@dataclass(frozen=True, slots=True, order=True)
class ObjectPath:
    """The address of an object, or a pattern of addresses."""

    text: str

    def __str__(self) -> str:
        return self.text

    @property
    def scheme(self) -> str:
        """Return the part before `://`."""
        return self.text.partition("://")[0]

    @property
    def service(self) -> Service | None:
        """Return the kind of store, or None if unknown."""
        return SERVICES.get(self.scheme)

    @property
    def bucket(self) -> str:
        """Return the bucket or container."""
        return self._rest.partition("/")[0]

    @property
    def key(self) -> str:
        """Return the name of the object in its bucket."""
        return self._rest.partition("/")[2]

    @property
    def name(self) -> str:
        """Return the last part of the key."""
        return self.key.rpartition("/")[2]

    @property
    def _rest(self) -> str:
        return self.text.partition("://")[2]


Place = Path | ObjectPath
"""The path of a local file, or the address of an object."""


def is_address(text: str) -> bool:
    """Return whether a text is the address of an object."""
    return _ADDRESS.match(text) is not None


def place_of(text: str) -> Place:
    """Return a text as a path or as an address."""
    if not is_address(text):
        return Path(text)
    scheme, mark, rest = text.partition("://")
    return ObjectPath(f"{_ALIASES.get(scheme, scheme)}{mark}{rest}")


def address_problem(text: str) -> str | None:
    """Return why a text is not an object's address.

    Returns None if it is one, or if it is a local path. No library is imported, and no store is contacted.
    """
    found = _ADDRESS.match(text)
    if found is None:
        return None
    service = SERVICES.get(found[1])
    if service is None:
        known = ", ".join(f"{scheme}://" for scheme in SERVICES)
        return f"unknown scheme {found[1]!r}: expected one of {known}, or a local path"
    path = ObjectPath(text)
    if ":" in path.bucket or "@" in path.bucket:  # the text may contain a secret, so it is not shown
        return f"an address {path.scheme}:// has a user, an account or a port: give these in the environment"
    if not path.bucket or not path.key:
        return f"{text!r} names no object: expected {path.scheme}://bucket/key"
    if not _BUCKET.fullmatch(path.bucket):
        return f"{text!r} has no valid name of a bucket: expected letters and digits, with '.', '_' or '-' between them"
    return _key_problem(path, service)


def _key_problem(path: ObjectPath, service: Service) -> str | None:
    """Return why a key is refused, or None."""
    text = path.text
    if _NOT_KEPT.search(path.key) or (service is _AZURE and "\\" in path.key):
        return f"{text!r} has a key with a character that {service.name} does not keep: choose another key"
    if path.key.endswith("/"):
        return f"{text!r} names a directory: expected the key of an object, without a slash at its end"
    if any(part in ("", ".", "..") for part in path.key.split("/")):
        return f"{text!r} has a key with an empty part, '.' or '..': another program would take it for another object"
    if _VERSION.search(path.key):
        return f"{text!r} names a version: expected the address of the object, whose newest version is read"
    if len(path.key.encode("utf-8", "replace")) > _MAX_KEY_BYTES:
        return f"the key of {text!r} is too long: expected at most {_MAX_KEY_BYTES} bytes"
    return None

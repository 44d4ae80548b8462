"""Azure Blob Storage.

The client of adlfs is used for requests, because it finds the account and the credentials, but not its file objects,
because these cannot restrict which blob they read or replace.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar, cast

from elspeth.objects.address import ObjectPath
from elspeth.objects.base import PART, ObjectState, ObjectStore, RangeFile
from elspeth.objects.errors import (
    ObjectChangedError,
    ObjectExistsError,
    ObjectMissingError,
    ObjectStoreError,
    named_errors,
)

__all__ = ["AzureStore"]

_MAX_BLOCKS = 50_000
_QUOTE = '"'
_NO_BLOB = '"0x0"'
"""A tag that no blob can have."""

T = TypeVar("T")


class Blob(Protocol):
    """The methods of azure-storage-blob's `BlobClient` that elspeth uses."""

    async def get_blob_properties(self) -> object:
        """Return the metadata of the blob."""

    async def download_blob(self, **options: object) -> Stream:
        """Ask for the content, or a range of it."""

    async def delete_blob(self) -> object:
        """Delete the blob."""

    async def upload_blob(self, data: bytes, *, overwrite: bool, **options: object) -> Mapping[str, object]:
        """Upload a blob in one request."""

    async def stage_block(self, block_id: str, data: bytes) -> object:
        """Upload a part."""

    async def commit_block_list(self, block_list: list[object], **options: object) -> Mapping[str, object]:
        """Make a blob from parts."""


class Stream(Protocol):
    """A range that is being downloaded."""

    async def readall(self) -> bytes:
        """Return the bytes."""


class Container(Protocol):
    """The methods of azure-storage-blob's `ContainerClient` that elspeth uses."""

    def walk_blobs(self, name_starts_with: str, delimiter: str, include: list[str]) -> AsyncIterator[object]:
        """Return blobs, and the common prefixes of others."""

    def list_blobs(self, name_starts_with: str, include: list[str]) -> AsyncIterator[object]:
        """Return the blobs."""


class Service(Protocol):
    """The methods of azure-storage-blob's `BlobServiceClient` that elspeth uses."""

    def get_blob_client(self, container: str, blob: str) -> AbstractAsyncContextManager[Blob]:
        """Return the client of a blob."""

    def get_container_client(self, container: str) -> AbstractAsyncContextManager[Container]:
        """Return the client of a container."""


class AzureFiles(Protocol):
    """The methods of adlfs's `AzureBlobFileSystem` that elspeth uses."""

    loop: object
    service_client: Service


class AzureStore(ObjectStore):
    """Azure Blob Storage.

    A blob appears when the last request of its upload succeeds. That request states which blob it may replace.
    """

    def __init__(self, files: AzureFiles) -> None:
        self._files = files

    def _ask_state(self, path: ObjectPath) -> ObjectState | None:
        found = self._ask(path, lambda blob: blob.get_blob_properties())
        return None if _is_directory(found) else _state(found)

    def check_writable(self, path: ObjectPath) -> None:
        """Raise ObjectStoreError if the object cannot be written.

        The request is for a change under a condition that cannot be met, because Azure checks permissions first: an
        existing blob is required not to exist, and a missing one to have a tag that no blob can have.
        """
        nothing = self.state(path) is None
        condition = _same_tag(_NO_BLOB) if nothing else _nothing_there()
        try:
            with named_errors(path):
                self._ask(path, lambda blob: blob.upload_blob(b"", overwrite=True, **condition))
        except ObjectExistsError:
            return
        raise ObjectStoreError(path, "does not know conditional requests, without which nothing is replaced safely")

    def _content(self, path: ObjectPath, state: ObjectState) -> BinaryIO:
        condition = _same_tag(state.tag)

        def fetch(start: int, end: int) -> bytes:
            try:
                with named_errors(path):
                    return self._ask(path, lambda blob: _download(blob, offset=start, length=end - start, **condition))
            except (ObjectExistsError, ObjectMissingError) as error:
                raise ObjectChangedError(path, "it was replaced while it was read") from error

        return RangeFile.opened(fetch, state.size)

    def _read(self, path: ObjectPath) -> bytes:
        return self._ask(path, _download)

    def _listed(self, bucket: ObjectPath, prefix: str, *, deep: bool) -> Iterable[tuple[str, ObjectState]]:
        async def listed() -> list[tuple[str, ObjectState]]:
            async with self._files.service_client.get_container_client(bucket.bucket) as container:
                if deep:
                    found = container.list_blobs(name_starts_with=prefix, include=["metadata"])
                else:
                    found = container.walk_blobs(name_starts_with=prefix, delimiter="/", include=["metadata"])
                return [
                    (str(getattr(each, "name", "")), _state(each)) async for each in found if not _is_directory(each)
                ]

        return self._run(listed)

    def _write(self, path: ObjectPath, content: bytes, sha256: str, replacing: ObjectState | None) -> ObjectState:
        options = _options(sha256, replacing)
        answer = self._ask(path, lambda blob: blob.upload_blob(content, overwrite=True, **options))
        return _stored(answer, len(content))

    def _delete(self, path: ObjectPath) -> None:
        self._ask(path, lambda blob: blob.delete_blob())

    def _upload_parts(self, path: ObjectPath, file: Path, sha256: str, replacing: ObjectState | None) -> ObjectState:
        """Upload a file in parts.

        A crash leaves invisible blocks, which Azure removes after a week.
        """
        size, options = file.stat().st_size, _options(sha256, replacing)
        block = max(PART, -(-size // _MAX_BLOCKS))
        return _stored(self._ask(path, lambda blob: _upload_blocks(blob, file, block, options)), size)

    def _ask(self, path: ObjectPath, request: Callable[[Blob], Awaitable[T]]) -> T:
        """Send a request to a blob."""

        async def asked() -> T:
            async with self._files.service_client.get_blob_client(path.bucket, path.key) as blob:
                return await request(blob)

        return self._run(asked)

    def _run(self, request: Callable[[], Awaitable[T]]) -> T:
        return cast("T", import_module("fsspec.asyn").sync(self._files.loop, request))


async def _upload_blocks(blob: Blob, file: Path, size: int, options: Mapping[str, object]) -> Mapping[str, object]:
    """Upload a file in blocks of a size."""
    new_block = import_module("azure.storage.blob").BlobBlock
    blocks: list[object] = []
    with file.open("rb") as opened:
        while content := opened.read(size):
            name = base64.b64encode(f"{len(blocks):032}".encode()).decode()  # all names must have the same length
            await blob.stage_block(name, content)
            blocks.append(new_block(block_id=name))
    return await blob.commit_block_list(blocks, **options)


async def _download(blob: Blob, **options: object) -> bytes:
    return await (await blob.download_blob(**options)).readall()


def _options(sha256: str, replacing: ObjectState | None) -> dict[str, object]:
    condition = _nothing_there() if replacing is None else _same_tag(replacing.tag)
    return {"metadata": {"sha256": sha256}, **condition}


def _nothing_there() -> dict[str, object]:
    return {"match_condition": import_module("azure.core").MatchConditions.IfMissing}


def _same_tag(tag: str) -> dict[str, object]:
    return {"etag": tag, "match_condition": import_module("azure.core").MatchConditions.IfNotModified}


def _state(found: object) -> ObjectState:
    modified = getattr(found, "last_modified", None)
    return ObjectState(
        size=int(str(getattr(found, "size", 0))),
        tag=f'"{str(getattr(found, "etag", "")).strip(_QUOTE)}"',
        version=_version(getattr(found, "version_id", None)),
        modified=modified if isinstance(modified, datetime) else None,
    )


def _stored(answer: Mapping[str, object], size: int) -> ObjectState:
    """Return the state in the answer to an upload."""
    return ObjectState(size=size, tag=str(answer["etag"]), version=_version(answer.get("version_id")))


def _version(version: object) -> str | None:
    return None if version is None else str(version)


def _is_directory(found: object) -> bool:
    """Return whether a blob is a directory of its namespace."""
    metadata = getattr(found, "metadata", None) or {}
    return str(metadata.get("hdi_isfolder", "")).lower() == "true"

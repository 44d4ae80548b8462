"""The store of Azure, with blobs kept in memory.

The tests of all stores use a server of Azure, which is not everywhere.
"""

from __future__ import annotations

import base64
import hashlib
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum, auto
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from elspeth.objects import azure, base
from elspeth.objects.address import ObjectPath
from elspeth.objects.azure import AzureFiles, AzureStore
from elspeth.objects.base import ObjectState
from elspeth.objects.errors import ObjectChangedError, ObjectExistsError, ObjectMissingError, ObjectStoreError

PATH = ObjectPath("az://box/out/x.csv")
MOMENT = datetime(2024, 2, 29, 12, tzinfo=UTC)


class MatchConditions(Enum):
    """The conditions of azure-core that the store states."""

    IfMissing = auto()
    IfNotModified = auto()


class ResourceNotFoundError(Exception):
    """There is no such blob."""


class ResourceExistsError(Exception):
    """There is a blob, and none was expected."""


class ResourceModifiedError(Exception):
    """There is another blob than the one expected."""


@dataclass(kw_only=True)
class Service:
    """A service with one container, which records the requests."""

    blobs: dict[str, SimpleNamespace] = field(default_factory=dict)
    asked: list[tuple[object, ...]] = field(default_factory=list)
    knows_conditions: bool = True
    before_commit: Callable[[], object] = lambda: None
    written: int = 0

    def put(self, key: str, content: bytes, metadata: Mapping[str, str] | None = None) -> SimpleNamespace:
        """Put a blob, and return it."""
        self.written += 1
        self.blobs[key] = SimpleNamespace(
            name=key,
            content=content,
            size=len(content),
            etag=f"0x{self.written}",
            version_id=f"v{self.written}",
            last_modified=MOMENT,
            metadata=metadata,
        )
        return self.blobs[key]

    def require(self, key: str, etag: str | None, match_condition: MatchConditions | None) -> None:
        """Raise an error unless the condition is met."""
        found = self.blobs.get(key)
        if not self.knows_conditions:
            return
        if match_condition is MatchConditions.IfMissing and found is not None:
            raise ResourceExistsError
        if match_condition is MatchConditions.IfNotModified and (found is None or f'"{found.etag}"' != etag):
            raise ResourceModifiedError

    @asynccontextmanager
    async def get_blob_client(self, container: str, blob: str) -> AsyncIterator[Blob]:
        assert container == "box"
        yield Blob(self, blob)

    @asynccontextmanager
    async def get_container_client(self, container: str) -> AsyncIterator[Service]:
        assert container == "box"
        yield self

    async def list_blobs(self, name_starts_with: str, include: list[str]) -> AsyncIterator[SimpleNamespace]:
        assert include == ["metadata"]
        for key, blob in self.blobs.items():
            if key.startswith(name_starts_with):
                yield blob

    async def walk_blobs(
        self, name_starts_with: str, delimiter: str, include: list[str]
    ) -> AsyncIterator[SimpleNamespace]:
        async for blob in self.list_blobs(name_starts_with, include):
            if delimiter not in blob.name[len(name_starts_with) :]:
                yield blob


class Blob:
    """The client of one blob."""

    def __init__(self, service: Service, key: str) -> None:
        self.service, self.key = service, key
        self.staged: dict[str, bytes] = {}

    def found(self) -> SimpleNamespace:
        if self.key not in self.service.blobs:
            raise ResourceNotFoundError
        return self.service.blobs[self.key]

    async def get_blob_properties(self) -> SimpleNamespace:
        self.service.asked.append(("state", self.key))
        return self.found()

    async def download_blob(
        self,
        offset: int = 0,
        length: int | None = None,
        etag: str | None = None,
        match_condition: MatchConditions | None = None,
    ) -> SimpleNamespace:
        self.service.asked.append(("read", offset, length))
        found = self.found()
        self.service.require(self.key, etag, match_condition)
        content = found.content[offset : None if length is None else offset + length]

        async def readall() -> bytes:
            return cast("bytes", content)

        return SimpleNamespace(readall=readall)

    async def delete_blob(self) -> None:
        self.found()
        del self.service.blobs[self.key]

    async def upload_blob(
        self,
        data: bytes,
        *,
        overwrite: bool,
        metadata: Mapping[str, str] | None = None,
        etag: str | None = None,
        match_condition: MatchConditions | None = None,
    ) -> Mapping[str, object]:
        assert overwrite, "the condition says what is replaced"
        self.service.asked.append(("write", len(data)))
        self.service.require(self.key, etag, match_condition)
        made = self.service.put(self.key, data, metadata)
        return {"etag": f'"{made.etag}"', "version_id": made.version_id}

    async def stage_block(self, block_id: str, data: bytes) -> None:
        self.staged[block_id] = data

    async def commit_block_list(
        self,
        block_list: list[SimpleNamespace],
        *,
        metadata: Mapping[str, str],
        etag: str | None = None,
        match_condition: MatchConditions | None = None,
    ) -> Mapping[str, object]:
        self.service.before_commit()
        self.service.asked.append(("commit", *(len(self.staged[each.id]) for each in block_list)))
        self.service.require(self.key, etag, match_condition)
        assert len({len(base64.b64decode(name)) for name in self.staged}) == 1, "Azure demands names of the same length"
        made = self.service.put(self.key, b"".join(self.staged[each.id] for each in block_list), metadata)
        return {"etag": f'"{made.etag}"', "version_id": made.version_id}


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    monkeypatch.setitem(sys.modules, "azure.core", cast("Any", SimpleNamespace(MatchConditions=MatchConditions)))
    block = SimpleNamespace(BlobBlock=lambda block_id: SimpleNamespace(id=block_id))
    monkeypatch.setitem(sys.modules, "azure.storage.blob", cast("Any", block))
    return Service()


@pytest.fixture
def store(service: Service) -> AzureStore:
    files = SimpleNamespace(loop=import_module("fsspec.asyn").get_loop(), service_client=service)
    return AzureStore(cast("AzureFiles", files))


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Upload and read in parts of a few bytes."""
    for module in (azure, base):
        monkeypatch.setattr(module, "PART", 4)
    monkeypatch.setattr(base, "BLOCK", 4)


def put(store: AzureStore, content: bytes, tmp_path: Path, seen: ObjectState | None) -> ObjectState:
    file = tmp_path / "file"
    file.write_bytes(content)
    return store.put(PATH, file, sha256=hashlib.sha256(content).hexdigest(), replacing=seen)


def test_the_state_of_a_blob_has_its_tag_in_quotes_and_its_version(service: Service, store: AzureStore) -> None:
    assert store.state(PATH) is None
    service.put(PATH.key, b"one")
    expected = ObjectState(size=3, tag='"0x1"', version="v1")
    assert store.require(PATH) == expected
    assert store.require(PATH).modified == MOMENT
    service.blobs[PATH.key].etag = '"0x1"'  # some answers have the quotes already
    assert store.require(PATH) == expected


def test_a_blob_without_version_has_its_tag_as_label(service: Service, store: AzureStore) -> None:
    service.put(PATH.key, b"one").version_id = None
    assert store.require(PATH).label == '"0x1"'


@pytest.mark.parametrize("mark", ["true", "True"])
def test_a_directory_of_the_namespace_is_no_object(service: Service, store: AzureStore, mark: str) -> None:
    service.put(PATH.key, b"", {"hdi_isfolder": mark})
    assert store.state(PATH) is None
    assert store.find(ObjectPath("az://box/out/*")) == []
    assert list(store.list(ObjectPath("az://box/out"))) == []


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("content", [b"one", b"0123456789"])
def test_only_the_blob_that_was_seen_is_replaced(
    service: Service, store: AzureStore, tmp_path: Path, content: bytes
) -> None:
    stored = put(store, content, tmp_path, None)
    assert stored == store.require(PATH) == ObjectState(size=len(content), tag='"0x1"', version="v1")
    assert service.blobs[PATH.key].metadata == {"sha256": hashlib.sha256(content).hexdigest()}
    assert put(store, content * 2, tmp_path, stored).tag == '"0x2"'
    with pytest.raises(ObjectChangedError) as caught:
        put(store, content * 3, tmp_path, stored)
    assert str(caught.value) == f"{PATH}: was made, changed or removed by another program"
    assert service.blobs[PATH.key].content == content * 2


@pytest.mark.usefixtures("small_parts")
def test_blocks_become_a_blob_unless_another_program_was_faster(
    service: Service, store: AzureStore, tmp_path: Path
) -> None:
    service.before_commit = lambda: service.put(PATH.key, b"mine")
    with pytest.raises(ObjectChangedError):
        put(store, b"0123456789", tmp_path, None)
    assert service.blobs[PATH.key].content == b"mine"
    service.before_commit = lambda: None
    put(store, b"0123456789" * 6, tmp_path, store.require(PATH))  # more than nine blocks
    assert service.blobs[PATH.key].content == b"0123456789" * 6
    assert service.asked[-1] == ("commit", *[4] * 15)


@pytest.mark.usefixtures("small_parts")
def test_a_large_blob_has_no_more_blocks_than_azure_allows(
    service: Service, store: AzureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(azure, "_MAX_BLOCKS", 2)
    put(store, b"0123456789a", tmp_path, None)
    assert service.asked[-1] == ("commit", 6, 5)


def test_a_small_blob_is_written_only_under_its_condition(service: Service, store: AzureStore) -> None:
    digest = hashlib.sha256(b"one").hexdigest()
    store.write(PATH, b"one", sha256=digest, replacing=None)
    seen = store.require(PATH)
    with pytest.raises(ObjectExistsError):
        store.write(PATH, b"two", sha256=digest, replacing=None)
    store.write(PATH, b"two", sha256=digest, replacing=seen)
    with pytest.raises(ObjectExistsError):
        store.write(PATH, b"three", sha256=digest, replacing=seen)
    assert (store.read(PATH), service.blobs[PATH.key].metadata) == (b"two", {"sha256": digest})


@pytest.mark.parametrize("exists", [True, False])
def test_write_access_is_tried_by_a_request_that_can_change_nothing(
    service: Service, store: AzureStore, *, exists: bool
) -> None:
    if exists:
        service.put(PATH.key, b"mine")
    before = dict(service.blobs)
    store.check_writable(PATH)
    assert service.asked == [("state", PATH.key), ("write", 0)]
    assert service.blobs == before


def test_a_server_that_does_not_know_conditions_is_refused(service: Service, store: AzureStore) -> None:
    service.knows_conditions = False
    with pytest.raises(ObjectStoreError) as caught:
        store.check_writable(PATH)
    problem = "does not know conditional requests, without which nothing is replaced safely"
    assert str(caught.value) == f"{PATH}: {problem}"


@pytest.mark.usefixtures("small_parts")
def test_a_blob_is_read_in_ranges_of_one_tag(service: Service, store: AzureStore) -> None:
    service.put(PATH.key, b"0123456789")
    with store.open(PATH) as file:
        assert file.readall() == b"0123456789"
        assert service.asked[-3:] == [("read", 0, 4), ("read", 4, 4), ("read", 8, 2)]


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("is_removed", [True, False])
def test_a_blob_that_is_replaced_or_removed_while_it_is_read_is_refused(
    service: Service, store: AzureStore, *, is_removed: bool
) -> None:
    service.put(PATH.key, b"0123456789")
    with store.open(PATH) as file:
        assert file.read(2) == b"01"
        if is_removed:
            del service.blobs[PATH.key]
        else:
            service.put(PATH.key, b"abcdefghij")
        with pytest.raises(ObjectChangedError) as caught:
            file.readall()
    assert str(caught.value) == f"{PATH}: it was replaced while it was read"


def test_blobs_are_found_by_their_prefix(service: Service, store: AzureStore) -> None:
    for key in ("a/1", "a/b/2", "c"):
        service.put(key, key.encode())
    assert [each.key for each in store.find(ObjectPath("az://box/a/*"))] == ["a/1"]
    assert [each.key for each in store.find(ObjectPath("az://box/a/**"))] == ["a/1", "a/b/2"]
    assert [(name, state.size) for name, state in store.list(ObjectPath("az://box/a"))] == [("1", 3), ("b/2", 5)]


def test_a_blob_is_deleted_once(service: Service, store: AzureStore) -> None:
    service.put(PATH.key, b"one")
    service.put("other", b"two")
    for _ in range(2):
        store.delete(PATH)
    assert list(service.blobs) == ["other"]
    with pytest.raises(ObjectMissingError) as caught:
        store.read(PATH)
    assert str(caught.value) == f"{PATH}: there is no such object, or no such bucket"

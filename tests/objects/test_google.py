"""Requests to Google Cloud Storage, answered in memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import pytest

from elspeth.objects import base, google
from elspeth.objects.address import ObjectPath
from elspeth.objects.errors import ObjectChangedError, ObjectStoreError
from elspeth.objects.google import GoogleStore

PATH = ObjectPath("gs://box/out/x y.csv")
BASE = "https://storage.example.com/storage/v1/"
UPLOADS = "https://storage.example.com/upload/storage/v1/b/{}/o"
SESSION = "https://storage.example.com/session"


class Client:
    """A client with one object, which takes parts of uploads."""

    base = BASE

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, tuple[str, ...], dict[str, object]]] = []
        self.content: bytes | None = None
        self.generation = 0
        self.received = b""
        self.takes = 1_000
        self.error: Exception | None = None
        self.before_last_part = lambda: None

    def put(self, content: bytes) -> None:
        self.content, self.generation = content, self.generation + 1

    def described(self) -> bytes:
        if self.content is None:
            raise FileNotFoundError("x")
        found = {"generation": str(self.generation), "timeCreated": "2024-02-29T12:00:00Z"}
        return json.dumps({"name": PATH.key, "size": str(len(self.content)), **found}).encode()

    def call(self, method: str, address: str, *parts: str, **options: object) -> tuple[Mapping[str, str], bytes]:
        self.asked.append((method, address, parts, options))
        if self.error is not None:
            raise self.error
        if method == "POST" and options["uploadType"] == "resumable":
            return {"Location": SESSION}, b""
        if method == "POST":
            self.put(cast("bytes", options["data"]).split(b"\r\n\r\n")[2].rpartition(b"\r\n--")[0])
        if method == "PUT":
            return self._take(cast("Mapping[str, str]", options["headers"]), cast("bytes", options["data"]))
        if method == "DELETE":
            return {}, b""
        if options.get("alt") == "media":
            if options.get("generation", str(self.generation)) != str(self.generation):
                raise FileNotFoundError("x")
            return {}, self._range(cast("Mapping[str, str]", options["headers"]).get("Range"))
        return {}, self.described()

    def _range(self, asked: str | None) -> bytes:
        assert self.content is not None
        if asked is None:
            return self.content
        start, end = asked.removeprefix("bytes=").split("-")
        return self.content[int(start) : int(end) + 1]

    def _take(self, headers: Mapping[str, str], data: bytes) -> tuple[Mapping[str, str], bytes]:
        place, _, size = headers["Content-Range"].removeprefix("bytes ").partition("/")
        start, _, end = place.partition("-")
        assert (int(start), int(end)) == (len(self.received), len(self.received) + len(data) - 1)
        self.received += data[: self.takes]
        if len(self.received) < int(size):
            return ({"Range": f"bytes=0-{len(self.received) - 1}"} if self.received else {}), b""
        self.put(self.received)
        return {}, self.described()


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture
def store(client: Client) -> GoogleStore:
    return GoogleStore(client)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Upload and read in parts of a few bytes."""
    for module in (base, google):
        monkeypatch.setattr(module, "PART", 4)
    monkeypatch.setattr(base, "BLOCK", 4)


def upload(store: GoogleStore, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    store.put(PATH, tmp_path / "file", sha256=digest, replacing=store.state(PATH))


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("takes", [4, 3, 1])
def test_what_the_server_did_not_receive_is_sent_again(
    client: Client, store: GoogleStore, tmp_path: Path, takes: int
) -> None:
    client.takes = takes
    upload(store, tmp_path, b"0123456789")
    assert client.content == b"0123456789"


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize(("before", "expected"), [(None, "0"), (b"old", "1")])
def test_an_upload_in_parts_names_the_generation_that_it_may_replace(
    client: Client, store: GoogleStore, tmp_path: Path, before: bytes | None, expected: str
) -> None:
    if before is not None:
        client.put(before)
    upload(store, tmp_path, b"0123456789")
    method, address, parts, options = next(each for each in client.asked if each[0] == "POST")
    assert (method, address, parts) == ("POST", UPLOADS, ("box",))
    assert (options["name"], options["ifGenerationMatch"]) == (PATH.key, expected)
    described = cast("Mapping[str, object]", options["json"])
    assert described["metadata"] == {"sha256": hashlib.sha256(b"0123456789").hexdigest()}


@pytest.mark.parametrize(("before", "expected"), [(None, "0"), (b"old", "1")])
def test_an_upload_in_one_request_names_the_generation_that_it_may_replace(
    client: Client, store: GoogleStore, tmp_path: Path, before: bytes | None, expected: str
) -> None:
    if before is not None:
        client.put(before)
    upload(store, tmp_path, b"new")
    _, address, parts, options = next(each for each in client.asked if each[0] == "POST")
    assert (address, parts, options["name"]) == (UPLOADS, ("box",), PATH.key)
    assert (options["uploadType"], options["ifGenerationMatch"]) == ("multipart", expected)
    assert hashlib.sha256(b"new").hexdigest().encode() in cast("bytes", options["data"])
    assert client.content == b"new"


@pytest.mark.usefixtures("small_parts")
def test_the_last_part_is_not_sent_if_another_program_was_faster(
    client: Client, store: GoogleStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that does not know conditions would replace it."""
    take = client._take

    def interfere(headers: Mapping[str, str], data: bytes) -> tuple[Mapping[str, str], bytes]:
        client.put(b"mine")
        return take(headers, data)

    monkeypatch.setattr(client, "_take", interfere)
    with pytest.raises(ObjectChangedError) as caught:
        upload(store, tmp_path, b"0123456789")
    assert str(caught.value) == f"{PATH}: was made, changed or removed by another program"
    assert client.content == b"mine"


@pytest.mark.usefixtures("small_parts")
def test_an_object_is_read_as_it_is_stored_in_ranges_of_one_generation(client: Client, store: GoogleStore) -> None:
    client.put(b"0123456789")
    assert store.read(PATH) == b"0123456789"
    assert client.asked[-1][3]["headers"] == {"Accept-Encoding": "gzip"}, "so that the server unpacks nothing"
    with store.open(PATH) as file:
        assert file.read(4) == b"0123"
        _, address, parts, options = client.asked[-1]
        assert (address, parts) == ("b/{}/o/{}", ("box", PATH.key))
        assert options["generation"] == "1"
        assert options["headers"] == {"Accept-Encoding": "gzip", "Range": "bytes=0-3"}
        client.put(b"abcdefghij")
        with pytest.raises(ObjectChangedError) as caught:
            file.readall()
    assert str(caught.value) == f"{PATH}: it was replaced while it was read"


def test_testing_write_access_ends_the_upload_that_it_began(client: Client, store: GoogleStore) -> None:
    store.check_writable(PATH)
    assert [each[:2] for each in client.asked] == [("POST", UPLOADS), ("DELETE", SESSION)]
    assert client.content is None


def test_an_object_is_deleted_by_its_whole_key(client: Client, store: GoogleStore) -> None:
    store.delete(PATH)
    assert [each[:3] for each in client.asked] == [("DELETE", "b/{}/o/{}", ("box", PATH.key))]


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (
            OSError("Forbidden: https://x\nno permission"),
            "denies access: check the credentials, and what they are allowed to do",
        ),
        (OSError("Bad Request: https://x\nThe name\nis not valid."), "answers: The name is not valid."),
        (ValueError("anything else"), "cannot be used (ValueError)"),
    ],
)
def test_errors_of_the_client_are_reworded(client: Client, store: GoogleStore, error: Exception, problem: str) -> None:
    client.error = error
    with pytest.raises(ObjectStoreError) as caught:
        store.state(PATH)
    assert str(caught.value) == f"{PATH}: Google Cloud Storage {problem}"

"""Stores of objects, and their errors in words."""

from __future__ import annotations

import base64
import hashlib
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from elspeth.objects.address import ObjectPath
from elspeth.objects.base import ObjectStore
from elspeth.objects.errors import ObjectChangedError, ObjectStoreError, named_errors
from elspeth.objects.stores import size_and_hash, store_of
from tests.fixtures.object_store import Bucket

PATH = ObjectPath("s3://bucket/key")


@pytest.fixture
def memory() -> Iterator[ObjectStore]:
    """Return a store in memory."""
    files = import_module("fsspec").filesystem("memory")
    yield store_of(ObjectPath("memory://bucket/x"))
    files.store.clear()


def put(store: ObjectStore, key: str, content: str, tmp_path: Path, *, replace: bool = False) -> ObjectPath:
    path, file = ObjectPath(f"memory://bucket/{key}"), tmp_path / "file"
    file.write_text(content)
    found = store.state(path) if replace else None
    store.put(path, file, sha256=hashlib.sha256(content.encode()).hexdigest(), replacing=found)
    return path


def test_a_store_that_is_not_s3_replaces_only_what_was_seen(memory: ObjectStore, tmp_path: Path) -> None:
    path = put(memory, "a/x.csv", "one", tmp_path)
    assert size_and_hash(path) == (3, hashlib.sha256(b"one").hexdigest())
    seen = memory.state(path)
    put(memory, "a/x.csv", "one", tmp_path)  # it has this content already
    with pytest.raises(ObjectChangedError, match="was made, changed or removed by another program"):
        put(memory, "a/x.csv", "two", tmp_path)
    put(memory, "a/x.csv", "two", tmp_path, replace=True)
    (tmp_path / "file").write_text("three")
    with pytest.raises(ObjectChangedError):
        memory.put(path, tmp_path / "file", sha256=hashlib.sha256(b"three").hexdigest(), replacing=seen)
    assert size_and_hash(path) == (3, hashlib.sha256(b"two").hexdigest())


def test_objects_are_found_by_patterns_and_are_no_directories(memory: ObjectStore, tmp_path: Path) -> None:
    paths = [put(memory, key, key, tmp_path) for key in ("a/1.csv", "a/b/2.csv", "a/3.txt")]
    assert list(memory.find(ObjectPath("memory://bucket/a/**/*.csv"))) == paths[:2]
    assert memory.state(ObjectPath("memory://bucket/a")) is None


def test_an_object_that_changes_while_it_is_hashed_is_noticed(memory: ObjectStore, tmp_path: Path) -> None:
    path = put(memory, "x", "one", tmp_path)
    with memory.open(path) as reader:
        assert reader.read() == b"one"
        put(memory, "x", "two", tmp_path, replace=True)
        with pytest.raises(ObjectChangedError, match="it was replaced while it was read"):
            reader.require_unchanged()


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (PermissionError("Forbidden"), "denies access: check the credentials, and what they are allowed to do"),
        (TimeoutError(), "did not answer in time: try again"),
        (ConnectionRefusedError(), "cannot be reached: check the network, and the address in AWS_ENDPOINT_URL if that"),
        (OSError(22, "The specified bucket\nis not valid."), "answers: The specified bucket is not valid."),
        (ModuleNotFoundError("no"), "needs s3fs, which is not installed"),
        (ValueError("with a secret"), "cannot be used (ValueError)"),
    ],
)
def test_errors_are_said_in_words_of_ours(error: Exception, problem: str) -> None:
    with pytest.raises(ObjectStoreError) as caught, named_errors(PATH):
        raise error
    assert str(caught.value).startswith(f"s3://bucket/key: Amazon S3 {problem}")


@pytest.mark.parametrize(
    ("name", "options", "problem"),
    [
        ("NoCredentialsError", {}, "needs credentials, and none that are valid were found: see how s3fs finds them"),
        ("ReadTimeoutError", {"endpoint_url": "x"}, "did not answer in time: try again"),
        ("EndpointConnectionError", {"endpoint_url": "x"}, "cannot be reached: check the network, and the address in"),
    ],
)
def test_errors_of_the_library_of_s3_are_known(name: str, options: dict[str, str], problem: str) -> None:
    error = getattr(import_module("botocore.exceptions"), name)(**options, error="x")
    with pytest.raises(ObjectStoreError) as caught, named_errors(PATH):
        raise error
    assert str(caught.value).startswith(f"s3://bucket/key: Amazon S3 {problem}")


def test_a_server_that_does_not_answer_is_named(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    path = ObjectPath(bucket.url("x"))
    store = store_of(path)

    def refuse(*_: object, **__: object) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(store._files, "call_s3", refuse)
    with pytest.raises(ObjectStoreError, match="Amazon S3 cannot be reached"):
        store.state(path)


CHECKSUM = base64.b64encode(hashlib.sha256(b"x").digest()).decode()


@pytest.mark.parametrize(
    ("described", "is_known"),
    [
        ({"ChecksumSHA256": CHECKSUM, "ChecksumType": "FULL_OBJECT"}, True),
        ({"ChecksumSHA256": CHECKSUM}, True),
        ({"ChecksumSHA256": f"{CHECKSUM}-2", "ChecksumType": "COMPOSITE"}, False),
        ({"ChecksumSHA256": f"{CHECKSUM}-2"}, False),
        ({"ChecksumSHA256": CHECKSUM, "ChecksumType": "COMPOSITE"}, False),
        ({"ChecksumCRC32": "AAAAAA==", "ChecksumType": "FULL_OBJECT"}, False),
    ],
)
def test_the_hash_of_an_object_is_what_s3_says_of_all_of_it(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, described: dict[str, str], is_known: bool
) -> None:
    path = ObjectPath(bucket.url("x"))
    store = store_of(path)
    head = {"ContentLength": 1, "ETag": '"1"', **described}
    monkeypatch.setattr(store._files, "call_s3", lambda *_, **__: head)
    assert store.require(path).sha256 == (hashlib.sha256(b"x").hexdigest() if is_known else None)


def test_a_missing_library_is_an_error_of_the_object(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(ObjectStoreError, match="Amazon S3 needs s3fs, which is not installed"):
        store_of(PATH)

"""Stores of objects, and their errors in words."""

from __future__ import annotations

import base64
import hashlib
import io
import sys
from importlib import import_module
from pathlib import Path

import pytest

from elspeth.objects import s3
from elspeth.objects.address import ObjectPath
from elspeth.objects.base import RangeFile
from elspeth.objects.errors import ObjectChangedError, ObjectStoreError, named_errors
from elspeth.objects.s3 import S3Store
from elspeth.objects.stores import size_and_hash, store_of
from tests.fixtures.object_store import Bucket, Failure

PATH = ObjectPath("s3://bucket/key")


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (PermissionError("Forbidden"), "denies access: check the credentials, and what they are allowed to do"),
        (TimeoutError(), "did not answer in time: try again"),
        (ConnectionRefusedError(), "cannot be reached: check the network, and the address in AWS_ENDPOINT_URL if that"),
        (OSError(22, "The specified bucket\nis not valid."), "answers: The specified bucket is not valid."),
        (ModuleNotFoundError("no"), "needs s3fs, which is not installed"),
        (ValueError("with a secret"), "cannot be used (ValueError)"),
        (OSError(5, "x" * 300), f"answers: {'x' * 200}"),
    ],
)
def test_errors_of_stores_are_reworded(error: Exception, problem: str) -> None:
    with pytest.raises(ObjectStoreError) as caught, named_errors(PATH):
        raise error
    assert str(caught.value).startswith(f"s3://bucket/key: Amazon S3 {problem}")
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("name", "options", "problem"),
    [
        ("NoCredentialsError", {}, "needs credentials, and none that are valid were found: see how s3fs finds them"),
        ("ReadTimeoutError", {"endpoint_url": "x"}, "did not answer in time: try again"),
        ("EndpointConnectionError", {"endpoint_url": "x"}, "cannot be reached: check the network, and the address in"),
    ],
)
def test_errors_of_the_s3_library_are_recognised(name: str, options: dict[str, str], problem: str) -> None:
    error = getattr(import_module("botocore.exceptions"), name)(**options, error="x")
    with pytest.raises(ObjectStoreError) as caught, named_errors(PATH):
        raise error
    assert str(caught.value).startswith(f"s3://bucket/key: Amazon S3 {problem}")


def test_a_server_that_does_not_answer_is_named(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    path = ObjectPath(bucket.url("x"))
    store = store_of(path)

    def refuse(*_: object, **__: object) -> None:
        raise ConnectionRefusedError

    assert isinstance(store, S3Store)
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
def test_the_hash_of_an_object_is_the_full_object_checksum_of_s3(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, described: dict[str, str], is_known: bool
) -> None:
    path = ObjectPath(bucket.url("x"))
    store = store_of(path)
    assert isinstance(store, S3Store)
    head = {"ContentLength": 1, "ETag": '"1"', "VersionId": "null", **described}
    # Without this option S3 returns no checksum.
    tell = lambda *_, **options: head if options["ChecksumMode"] == "ENABLED" else {}  # noqa: E731
    monkeypatch.setattr(store._files, "call_s3", tell)
    found = store.require(path)
    assert found.sha256 == (hashlib.sha256(b"x").hexdigest() if is_known else None)
    assert found.label == '"1"', "the bucket keeps no versions"


def test_a_missing_library_is_an_error_of_the_object(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(ObjectStoreError, match="Amazon S3 needs s3fs, which is not installed"):
        store_of(PATH)


def test_an_object_that_is_replaced_while_it_is_hashed_is_refused(bucket: Bucket) -> None:
    bucket.put("x", "one")
    bucket.server.fail(Failure(method="HEAD", after="GET /", before=lambda: bucket.put("x", "two")))
    with pytest.raises(ObjectChangedError, match="it was replaced while it was read"):
        size_and_hash(ObjectPath(bucket.url("x")))


def test_directory_markers_are_not_listed_as_objects(bucket: Bucket) -> None:
    for key in ("a/", "a/x"):
        bucket.put(key, "")
    pattern = ObjectPath(bucket.url("a/*"))
    assert [each.key for each in store_of(pattern).find(pattern)] == ["a/x"]


def test_writing_an_object_needs_no_permission_to_abort_uploads(bucket: Bucket) -> None:
    path = ObjectPath(bucket.url("x"))
    bucket.server.fail(Failure(method="DELETE", status=403, code="AccessDenied"))
    store_of(path).check_writable(path)


def test_a_large_object_has_no_more_parts_than_s3_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "PART", 1)
    monkeypatch.setattr(s3, "_MAX_PARTS", 3)
    (tmp_path / "file").write_bytes(b"0123456789")
    assert list(s3._contents(tmp_path / "file")) == [b"0123", b"4567", b"89"]


def test_an_object_can_be_read_from_any_position() -> None:
    file = RangeFile.opened(lambda start, end: b"0123"[start:end], 4)
    assert (file.seek(1), file.seek(1, io.SEEK_CUR), file.read()) == (1, 2, b"23")
    assert (file.seek(-1, io.SEEK_END), file.read(), file.seek(-9), file.read()) == (3, b"3", 0, b"0123")
    with pytest.raises(OSError, match="sent 1 bytes where 4 were asked for"):
        RangeFile.opened(lambda *_: b"0", 4).read()

"""Stores of objects, and their errors in words."""

from __future__ import annotations

import base64
import hashlib
import io
import sys
from importlib import import_module
from pathlib import Path
from typing import cast

import pytest

from elspeth.objects import s3, stores
from elspeth.objects.address import ObjectPath
from elspeth.objects.base import ObjectReader, ObjectState, ObjectStore, RangeFile
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
    (tmp_path / "file").write_bytes(b"012345678")
    assert list(s3._contents(tmp_path / "file")) == [b"012", b"345", b"678"]


def test_an_object_can_be_read_from_any_position() -> None:
    file = RangeFile.opened(lambda start, end: b"0123"[start:end], 4)
    assert (file.seek(1), file.seek(1, io.SEEK_CUR), file.read()) == (1, 2, b"23")
    assert (file.seek(-1, io.SEEK_END), file.read(), file.seek(-9), file.read()) == (3, b"3", 0, b"0123")
    with pytest.raises(OSError, match="sent 1 bytes where 4 were asked for"):
        RangeFile.opened(lambda *_: b"0", 4).read()


class ClientAuthenticationError(Exception):
    """An error of Azure's client for a refused key."""

    status_code = 403


class HttpResponseError(Exception):
    """Any other error of Azure's client."""

    status_code = 400
    message = "The name\nis not valid.\nRequestId:7 Time:8"


class HttpError(Exception):
    """An error of Google's client."""

    def __init__(self, code: int, message: str = "") -> None:
        super().__init__(message)
        self.code, self.message = code, message


@pytest.mark.parametrize(
    ("text", "error", "problem"),
    [
        (
            "az://box/x",
            ClientAuthenticationError(),
            "Azure Blob Storage needs credentials, and none that are valid were found: see how adlfs finds them",
        ),
        ("az://box/x", HttpResponseError(), "Azure Blob Storage answers: The name is not valid."),
        (
            "gs://box/x",
            HttpError(401),
            "Google Cloud Storage needs credentials, and none that are valid were found: see how gcsfs finds them",
        ),
        (
            "gs://box/x",
            HttpError(403),
            "Google Cloud Storage denies access: check the credentials, and what they are allowed to do",
        ),
        ("gs://box/x", HttpError(503, "try  later"), "Google Cloud Storage answers: try later"),
        ("gs://box/x", HttpError(503), "Google Cloud Storage answers: 503"),
        ("gs://box/x", ModuleNotFoundError("no"), "Google Cloud Storage needs gcsfs, which is not installed"),
        ("az://box/x", ModuleNotFoundError("no"), "Azure Blob Storage needs adlfs, which is not installed"),
    ],
)
def test_errors_of_other_libraries_are_recognised(text: str, error: Exception, problem: str) -> None:
    with pytest.raises(ObjectStoreError) as caught, named_errors(ObjectPath(text)):
        raise error
    assert str(caught.value) == f"{text}: {problem}"
    assert (caught.value.filename, caught.value.strerror) == (text, problem)


def test_an_azure_account_that_is_not_found_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> object:
        raise ValueError("no account")

    monkeypatch.setattr(stores, "_files", refuse)
    with pytest.raises(ObjectStoreError) as caught:
        store_of(ObjectPath("az://box/x"))
    assert str(caught.value) == (
        "az://box/x: Azure Blob Storage needs the name of an account: set AZURE_STORAGE_ACCOUNT_NAME, or a valid "
        "AZURE_STORAGE_CONNECTION_STRING"
    )


def test_objects_of_google_are_not_unpacked_by_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, dict[str, object]]] = []

    def filesystem(scheme: str, **options: object) -> object:
        asked.append((scheme, options))
        return object()

    monkeypatch.setattr(import_module("fsspec"), "filesystem", filesystem)
    for text in ("gs://box/x", "s3://box/x", "az://box/x"):
        store_of(ObjectPath(text))
    plain: dict[str, object] = {"use_listings_cache": False}
    assert asked == [
        ("gs", {**plain, "session_kwargs": {"auto_decompress": False}}),
        ("s3", plain),
        ("az", plain),
    ]


def test_a_long_list_of_objects_is_read_in_pages(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "_PAGE", 2)
    keys = [f"a/{number}" for number in range(5)]
    for key in keys:
        bucket.put(key, key)
    pattern = ObjectPath(bucket.url("a/*"))
    assert [each.key for each in store_of(pattern).find(pattern)] == keys


def test_an_object_of_a_bucket_with_versions_is_replaced_and_named_by_its_version(
    bucket: Bucket, tmp_path: Path
) -> None:
    bucket.keep_versions()
    path = ObjectPath(bucket.url("x"))
    store = store_of(path)
    for content in ("one", "two"):
        (tmp_path / "file").write_text(content)
        digest = hashlib.sha256(content.encode()).hexdigest()
        stored = store.put(path, tmp_path / "file", sha256=digest, replacing=store.state(path))
        assert stored.label == stored.version == store.require(path).label == bucket.version("x")
    assert bucket.get("x") == b"two"


def test_closing_an_object_closes_the_file_of_the_library() -> None:
    file = io.BytesIO(b"0123")
    state = ObjectState(size=4, tag="1")
    with ObjectReader(cast("ObjectStore", None), PATH, state, file) as reader:
        assert (reader.seek(-1, io.SEEK_END), reader.tell(), reader.read(), reader.tell()) == (3, 3, b"3", 4)
    assert file.closed
    reader.close()


def test_an_error_on_opening_an_object_is_one_of_the_object(bucket: Bucket) -> None:
    bucket.put("x", "one")
    path = ObjectPath(bucket.url("x"))
    bucket.server.fail(Failure(method="HEAD", status=403, code="AccessDenied", skip=1, times=9))
    with pytest.raises(ObjectStoreError) as caught:
        store_of(path).open(path)
    assert str(caught.value) == (
        f"{path}: Amazon S3 denies access: check the credentials, and what they are allowed to do"
    )

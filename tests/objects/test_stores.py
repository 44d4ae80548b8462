"""Stores of objects, and their errors in words."""

from __future__ import annotations

import base64
import hashlib
import sys
from importlib import import_module

import pytest

from elspeth.objects.address import ObjectPath
from elspeth.objects.errors import ObjectStoreError, named_errors
from elspeth.objects.s3 import S3Store
from elspeth.objects.stores import store_of
from tests.fixtures.object_store import Bucket

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
def test_the_hash_of_an_object_is_what_s3_says_of_all_of_it(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, described: dict[str, str], is_known: bool
) -> None:
    path = ObjectPath(bucket.url("x"))
    store = store_of(path)
    assert isinstance(store, S3Store)
    head = {"ContentLength": 1, "ETag": '"1"', **described}
    monkeypatch.setattr(store._files, "call_s3", lambda *_, **__: head)
    assert store.require(path).sha256 == (hashlib.sha256(b"x").hexdigest() if is_known else None)


def test_a_missing_library_is_an_error_of_the_object(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(ObjectStoreError, match="Amazon S3 needs s3fs, which is not installed"):
        store_of(PATH)

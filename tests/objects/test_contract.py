"""The common behaviour of all stores, tested with their servers."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path

import pytest

from elspeth.contracts.input_paths import find_files
from elspeth.objects import azure, base, google, s3
from elspeth.objects.address import ObjectPath, address_problem
from elspeth.objects.base import ObjectState, ObjectStore
from elspeth.objects.errors import ObjectChangedError, ObjectExistsError, ObjectMissingError, ObjectStoreError
from elspeth.objects.stores import size_and_hash, store_of
from tests.fixtures.object_store import Bucket, Failure

MISSING = "there is no such object, or no such bucket"
DENIED = "denies access: check the credentials, and what they are allowed to do"
OTHER = "was made, changed or removed by another program"

REQUESTS: Mapping[str, Mapping[str, Failure]] = {
    "s3": {
        "state": Failure(method="HEAD"),
        "read": Failure(method="GET"),
        "try": Failure(method="POST", part="uploads"),
        "write": Failure(method="PUT"),
        "end": Failure(method="POST", part="uploadId"),
    },
    "gs": {
        "state": Failure(method="GET", part="/o/"),
        "read": Failure(method="GET", part="alt=media"),
        "try": Failure(method="POST", part="resumable"),
        "write": Failure(method="POST", part="multipart"),
        "end": Failure(method="PUT", skip=2),
    },
    "az": {
        "state": Failure(method="HEAD"),
        "read": Failure(method="GET"),
        "try": Failure(method="PUT"),
        "write": Failure(method="PUT"),
        "end": Failure(method="PUT", part="blocklist"),
    },
}


@pytest.fixture(params=["s3", "gs", "az"], autouse=True)
def bucket(request: pytest.FixtureRequest) -> Bucket:
    """Return a bucket of each store."""
    name = {"s3": "bucket", "gs": "google_bucket", "az": "azure_bucket"}[request.param]
    return _bucket_of(request, name)


def _bucket_of(request: pytest.FixtureRequest, name: str) -> Bucket:
    found: Bucket = request.getfixturevalue(name)
    return found


@pytest.fixture
def path(bucket: Bucket) -> ObjectPath:
    """Return the address of a new object."""
    return ObjectPath(bucket.url("out/x.csv"))


@pytest.fixture
def store(path: ObjectPath) -> ObjectStore:
    return store_of(path)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Upload and read in parts of a few bytes."""
    for module in (azure, base, google, s3):
        monkeypatch.setattr(module, "PART", 4)
    for module in (base, s3):
        monkeypatch.setattr(module, "BLOCK", 4)
    monkeypatch.setattr("moto.s3.models.S3_UPLOAD_PART_MIN_SIZE", 0)


def fail(bucket: Bucket, path: ObjectPath, kind: str, **changes: object) -> None:
    bucket.server.fail(replace(REQUESTS[path.scheme][kind], **changes))  # type: ignore[arg-type]


def put(store: ObjectStore, path: ObjectPath, content: str, tmp_path: Path, seen: ObjectState | None) -> ObjectState:
    file = tmp_path / "file"
    file.write_text(content)
    return store.put(path, file, sha256=sha256(content), replacing=seen)


def sha256(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


# -- writing ---------------------------------------------------------------------------------------------------------


def test_an_object_is_stored_and_found_with_its_version(
    bucket: Bucket, path: ObjectPath, store: ObjectStore, tmp_path: Path
) -> None:
    assert store.state(path) is None
    stored = put(store, path, "one", tmp_path, None)
    assert bucket.get(path.key) == b"one"
    assert sha256("one") in bucket.metadata(path.key).values()
    found = store.require(path)
    assert found.label == stored.label == bucket.version(path.key)
    assert (found.size, stored.size) == (3, 3)
    assert size_and_hash(path) == (3, sha256("one"))


def test_only_the_version_that_was_seen_is_replaced(
    bucket: Bucket, path: ObjectPath, store: ObjectStore, tmp_path: Path
) -> None:
    put(store, path, "one", tmp_path, None)
    seen = store.require(path)
    put(store, path, "one", tmp_path, None)  # it has this content already
    with pytest.raises(ObjectChangedError, match=OTHER):
        put(store, path, "two", tmp_path, None)
    put(store, path, "two", tmp_path, seen)
    with pytest.raises(ObjectChangedError, match=OTHER):
        put(store, path, "three", tmp_path, seen)
    assert bucket.get(path.key) == b"two"


@pytest.mark.parametrize("before", [None, "old"])
def test_an_object_that_another_program_stores_before_the_upload_is_kept(
    bucket: Bucket, path: ObjectPath, store: ObjectStore, tmp_path: Path, before: str | None
) -> None:
    if before is not None:
        bucket.put(path.key, before)
    fail(bucket, path, "write", before=lambda: bucket.put(path.key, "mine"))
    with pytest.raises(ObjectChangedError, match=OTHER):
        put(store, path, "ours", tmp_path, store.state(path))
    assert bucket.get(path.key) == b"mine"


@pytest.mark.usefixtures("small_parts")
def test_a_multipart_upload_appears_with_the_last_request_or_not_at_all(
    bucket: Bucket, path: ObjectPath, store: ObjectStore, tmp_path: Path
) -> None:
    content = "0123456789"
    fail(bucket, path, "end", before=lambda: bucket.put(path.key, "mine"))
    with pytest.raises(ObjectChangedError, match=OTHER):
        put(store, path, content, tmp_path, None)
    assert bucket.get(path.key) == b"mine"
    stored = put(store, path, content, tmp_path, store.state(path))
    assert bucket.get(path.key) == content.encode()
    assert (store.require(path).label, size_and_hash(path)) == (stored.label, (len(content), sha256(content)))


def test_an_upload_whose_answer_was_lost_counts(
    bucket: Bucket, path: ObjectPath, store: ObjectStore, tmp_path: Path
) -> None:
    fail(bucket, path, "write", code="SlowDown", status=503, forwards=True)
    try:
        stored = put(store, path, "one", tmp_path, None)
    except ObjectStoreError:
        stored = put(store, path, "one", tmp_path, None)
    assert (bucket.get(path.key), stored.label) == (b"one", bucket.version(path.key))


def test_testing_write_access_changes_nothing(bucket: Bucket, path: ObjectPath, store: ObjectStore) -> None:
    store.check_writable(path)
    assert bucket.listed() == []
    bucket.put(path.key, "mine")
    version = bucket.version(path.key)
    store.check_writable(path)
    assert (bucket.get(path.key), bucket.version(path.key)) == (b"mine", version)
    fail(bucket, path, "try", status=403, code="AccessDenied")
    with pytest.raises(ObjectStoreError, match=DENIED):
        store.check_writable(path)


# -- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_parts")
def test_an_object_is_read_in_ranges(bucket: Bucket, path: ObjectPath, store: ObjectStore) -> None:
    bucket.put(path.key, "0123456789")
    with io.BufferedReader(store.open(path), 2) as file:
        assert file.read(3) == b"012"
        file.seek(-2, io.SEEK_END)
        assert file.read() == b"89"
        file.seek(1)
        assert file.read() == b"123456789"
    bucket.put(path.key, "")
    with store.open(path) as file:
        assert file.read() == b""


@pytest.mark.usefixtures("small_parts")
def test_an_object_that_is_replaced_while_it_is_read_is_refused(
    bucket: Bucket, path: ObjectPath, store: ObjectStore
) -> None:
    bucket.put(path.key, "0123456789")
    with store.open(path) as reader:
        assert reader.read(2) == b"01"
        bucket.put(path.key, "abcdefghij")
        with pytest.raises(ObjectChangedError, match="it was replaced while it was read"):
            reader.readall()


def test_an_object_that_is_replaced_after_it_was_read_is_noticed(
    bucket: Bucket, path: ObjectPath, store: ObjectStore
) -> None:
    bucket.put(path.key, "one")
    with store.open(path) as reader:
        assert reader.read() == b"one"
        bucket.put(path.key, "two")
        with pytest.raises(ObjectChangedError, match="it was replaced while it was read"):
            reader.require_unchanged()


def test_objects_are_found_by_patterns(bucket: Bucket) -> None:
    for key in ("a/1.csv", "a/b/2.csv", "a/3.txt", "a/.4.csv", "b/5.csv", "a[6].csv"):
        bucket.put(key, key)
    for pattern, keys in {
        "a/*.csv": ["a/1.csv"],
        "a/**/*.csv": ["a/1.csv", "a/b/2.csv"],
        "**.csv": ["a[6].csv"],
        "*/[0-5].csv": ["a/1.csv", "b/5.csv"],
        "a/?.???": ["a/1.csv", "a/3.txt"],
        "a[[]6].csv": ["a[6].csv"],
        "c/*": [],
    }.items():
        assert [str(each) for each in find_files(bucket.url(pattern))] == [bucket.url(key) for key in keys]


def test_small_objects_are_written_listed_read_and_deleted(bucket: Bucket, store: ObjectStore) -> None:
    one, two = (ObjectPath(bucket.url(f"a/b/{name}")) for name in ("1", "c/2"))
    bucket.put("a/bc", "not below the prefix")
    for each in (one, two):
        store.write(each, b"content", sha256=sha256("content"), replacing=None)
    with pytest.raises(ObjectExistsError):
        store.write(one, b"other", sha256=sha256("other"), replacing=None)
    assert store.read(one) == b"content"
    listed = dict(store.list(ObjectPath(bucket.url("a/b"))))
    assert {name: state.size for name, state in listed.items()} == {"1": 7, "c/2": 7}
    now = datetime.now(UTC)
    assert all(
        state.modified is not None and abs(now - state.modified) < timedelta(hours=1) for state in listed.values()
    )
    assert listed["1"].tag == store.require(one).tag
    for _ in range(2):
        store.delete(one)
    assert bucket.listed() == ["a/b/c/2", "a/bc"]
    with pytest.raises(ObjectMissingError, match=MISSING):
        store.read(one)


def test_a_key_is_used_unchanged(bucket: Bucket, tmp_path: Path) -> None:
    keys = ["a b.csv", "a%20b.csv", "a#1.csv", "a+b&c=d.csv", "ü☃😀.csv", "e\u0301.csv", "~'q\".csv", "{}", "%2e%2e/x"]
    keys += ["x?generation=1", "x#1", "AbC", " a", "a ", "a|b<c>^`", "a:b@c", "x" * 300, "x.", "a\u2028b"]
    for key in keys:
        path = ObjectPath(bucket.url(key))
        assert address_problem(str(path)) is None
        put(store_of(path), path, key, tmp_path, None)
        assert bucket.get(key) == store_of(path).read(path) == key.encode()
        assert size_and_hash(path)[1] == sha256(key)
    assert (
        sorted(each.key for each in store_of(path).find(ObjectPath(bucket.url("**"))))
        == bucket.listed()
        == sorted(keys)
    )


# -- problems --------------------------------------------------------------------------------------------------------


def test_a_missing_bucket_is_named(path: ObjectPath, store: ObjectStore, tmp_path: Path) -> None:
    gone = ObjectPath(f"{path.scheme}://no-such-bucket/x")
    assert store.state(gone) is None
    with pytest.raises(ObjectMissingError, match=MISSING):
        store.open(gone)
    with pytest.raises(ObjectMissingError, match=MISSING):
        store.find(ObjectPath(f"{path.scheme}://no-such-bucket/*"))
    with pytest.raises(ObjectMissingError, match=MISSING):
        store.check_writable(gone)
    with pytest.raises(ObjectStoreError, match=f"{MISSING}|{OTHER}"):
        put(store, gone, "one", tmp_path, None)


@pytest.mark.parametrize("kind", ["state", "read", "write"])
def test_a_denied_request_is_one_message(
    bucket: Bucket, path: ObjectPath, store: ObjectStore, tmp_path: Path, kind: str
) -> None:
    bucket.put(path.key, "one")
    seen = store.require(path)
    fail(bucket, path, kind, status=403, code="AccessDenied", times=9)
    with pytest.raises(ObjectStoreError) as caught:
        put(store, path, "two", tmp_path, seen) if kind == "write" else store.open(path).read()
    assert path.service is not None
    assert str(caught.value) == f"{path}: {path.service.name} {DENIED}"
    assert bucket.get(path.key) == b"one"


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        (401, "needs credentials, and none that are valid were found: see how"),
        (503, "answers: "),
    ],
)
def test_an_error_of_the_server_is_one_message(
    bucket: Bucket, path: ObjectPath, store: ObjectStore, status: int, problem: str
) -> None:
    fail(bucket, path, "state", status=status, code="AsTheTestWants", times=9)
    with pytest.raises(ObjectStoreError) as caught:
        store.require(path)
    assert path.service is not None
    assert str(caught.value).startswith(f"{path}: {path.service.name} {problem}")
    assert "\n" not in str(caught.value)


def test_a_bucket_of_another_region_is_named(bucket: Bucket, path: ObjectPath, store: ObjectStore) -> None:
    if path.scheme != "s3":
        pytest.skip("only S3 has a server for each region")
    bucket.put(path.key, "one")
    fail(bucket, path, "state", part=path.key, status=301, code="PermanentRedirect", times=9)
    with pytest.raises(ObjectStoreError, match="has this bucket in another region: name it in AWS_DEFAULT_REGION"):
        store.require(path)
    bucket.server.failures.clear()
    fail(bucket, path, "state", part=path.key, status=301, code="PermanentRedirect")
    assert store.require(path).size == 3  # the client asks for the region, and asks there


def test_an_unreachable_server_is_named(path: ObjectPath, store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    if path.scheme != "gs":
        pytest.skip("the client of another store keeps its first address")
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:1")
    with pytest.raises(
        ObjectStoreError, match="cannot be reached: check the network, and the address in STORAGE_EMULA"
    ):
        store.require(path)


def test_a_missing_azure_account_is_one_message(monkeypatch: pytest.MonkeyPatch, path: ObjectPath) -> None:
    if path.scheme != "az":
        pytest.skip("only Azure has accounts in addresses")
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", "nonsense")
    import_module("adlfs").AzureBlobFileSystem.clear_instance_cache()
    with pytest.raises(ObjectStoreError, match="needs the name of an account: set AZURE_STORAGE_ACCOUNT_NAME, or a"):
        store_of(path)

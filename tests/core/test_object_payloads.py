"""The payload store of objects."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import pytest

from elspeth.core.object_payloads import ObjectPayloadStore
from elspeth.core.payload_places import find_payload_store, open_payload_store
from elspeth.core.payload_store import IntegrityError
from elspeth.objects import s3
from elspeth.objects.address import ObjectPath
from elspeth.objects.errors import ObjectStoreError
from tests.fixtures.object_store import Bucket, Failure

CONTENT = b"what was read"
CONTENT_HASH = hashlib.sha256(CONTENT).hexdigest()
KEY = f"payloads/{CONTENT_HASH[:2]}/{CONTENT_HASH}"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def opened(bucket: Bucket) -> ObjectPayloadStore:
    """Return a store, as another process opens it."""
    return ObjectPayloadStore(ObjectPath(bucket.url("payloads")))


def stored(bucket: Bucket, content: bytes = CONTENT) -> ObjectPayloadStore:
    """Return a store with a content; forget its requests."""
    store = opened(bucket)
    store.store(content)
    store.sync()
    bucket.server.requests.clear()
    return store


def requests(bucket: Bucket) -> list[str]:
    return [each.partition(" ")[0] for each in bucket.server.requests]


def test_a_payload_is_stored_by_one_request_in_one_process(bucket: Bucket) -> None:
    store = opened(bucket)
    assert [store.store(CONTENT), store.store(CONTENT)] == [CONTENT_HASH] * 2
    store.sync()
    store.store(CONTENT)
    store.sync()
    assert (bucket.listed(), requests(bucket)) == ([KEY], ["PUT"])
    assert opened(bucket).retrieve(CONTENT_HASH) == CONTENT
    assert requests(bucket) == ["PUT", "GET"]
    store.delete(CONTENT_HASH)
    store.store(CONTENT)
    store.sync()
    assert bucket.listed() == [KEY], "what was deleted is stored again"


def test_the_age_of_a_payload_counts_from_its_last_use(bucket: Bucket) -> None:
    stored(bucket)
    bucket.date(KEY, LONG_AGO)
    store = stored(bucket)
    assert list(store.last_used_before(datetime.now(UTC) - timedelta(days=1))) == []
    bucket.server.requests.clear()
    assert store.store(CONTENT) == CONTENT_HASH
    store.sync()
    assert requests(bucket) == []


def test_a_payload_that_another_process_just_stored_is_not_written_again(bucket: Bucket) -> None:
    store = opened(bucket)
    store.store(b"begins the time of use")
    store.sync()
    stored(bucket)
    bucket.date(KEY, datetime.now(UTC) + timedelta(seconds=2))
    store.store(CONTENT)
    store.sync()
    assert requests(bucket) == ["PUT", "HEAD"]


def test_a_payload_whose_answer_was_lost_is_found_stored(bucket: Bucket) -> None:
    bucket.server.fail(Failure(method="PUT", forwards=True, code="InternalError"))
    store = opened(bucket)
    store.store(CONTENT)
    with pytest.raises(ObjectStoreError):
        store.sync()
    store.store(CONTENT)
    store.sync()
    assert store.retrieve(CONTENT_HASH) == CONTENT


@pytest.mark.parametrize("code", ["InternalError", "AccessDenied"])
def test_an_upload_that_fails_is_an_error_once(bucket: Bucket, code: str) -> None:
    bucket.server.fail(Failure(method="PUT", status=403 if code == "AccessDenied" else 500, code=code))
    store = opened(bucket)
    store.store(CONTENT)
    with pytest.raises(ObjectStoreError, match=KEY):
        store.sync()
    store.sync()
    assert bucket.listed() == []
    store.store(CONTENT)
    store.sync()
    assert bucket.listed() == [KEY]


def test_a_forgotten_upload_raises_no_error_and_can_be_repeated(bucket: Bucket) -> None:
    bucket.server.fail(Failure(method="PUT", code="InternalError"))
    store = opened(bucket)
    store.store(CONTENT)
    store.forget()
    store.sync()
    bucket.server.failures.clear()
    store.store(CONTENT)
    store.sync()
    assert bucket.listed() == [KEY]


def test_an_altered_payload_is_found_by_its_hash(bucket: Bucket) -> None:
    store = stored(bucket)
    bucket.put(KEY, "something else")
    altered = hashlib.sha256(b"something else").hexdigest()
    problem = f"payload {bucket.url(KEY)}: expected SHA-256 {CONTENT_HASH}, got {altered}. The object was altered."
    with pytest.raises(IntegrityError) as caught:
        store.retrieve(CONTENT_HASH)
    assert str(caught.value) == problem
    other = opened(bucket)
    other.store(CONTENT)
    with pytest.raises(IntegrityError) as caught:
        other.sync()
    assert str(caught.value) == problem
    assert bucket.get(KEY) == b"something else"


def test_a_payload_that_is_deleted_while_it_is_stored_again_is_stored(bucket: Bucket) -> None:
    stored(bucket)
    bucket.server.fail(Failure(method="HEAD", before=lambda: bucket.delete(KEY)))
    stored(bucket)
    assert bucket.get(KEY) == CONTENT


def test_payloads_are_read_in_bulk_and_in_order(bucket: Bucket) -> None:
    store = opened(bucket)
    contents = [b"%d" % number for number in range(12)]
    hashes = [store.store(each) for each in contents]
    store.sync()
    gone = hashlib.sha256(b"gone").hexdigest()
    assert store.find(["no hash", *hashes, gone]) == hashes
    assert list(store.read(hashes)) == list(zip(hashes, contents, strict=True))
    assert list(store.read([hashes[1], hashes[0], hashes[1]])) == [(hashes[at], contents[at]) for at in (1, 0, 1)]
    assert list(store.read([])) == []
    with pytest.raises(KeyError):
        list(store.read([*hashes, gone]))


def test_a_missing_payload_is_a_key_error_and_a_missing_bucket_is_not(bucket: Bucket) -> None:
    with pytest.raises(KeyError):
        opened(bucket).retrieve(CONTENT_HASH)
    with pytest.raises(ObjectStoreError, match="there is no such bucket"):
        ObjectPayloadStore(ObjectPath("s3://no-such-bucket/p")).retrieve(CONTENT_HASH)


def test_only_payloads_unused_since_a_moment_are_deleted(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "_PAGE", 2)
    store = opened(bucket)
    hashes = [store.store(b"%d" % number) for number in range(5)]
    store.sync()
    keys = [f"payloads/{each[:2]}/{each}" for each in hashes]
    for key in keys[:4]:
        bucket.date(key, LONG_AGO)
    for key in ("payloads/readme", f"payloads/{CONTENT_HASH}", f"payloads2/{CONTENT_HASH[:2]}/{CONTENT_HASH}"):
        bucket.put(key, "no payload")
        bucket.date(key, LONG_AGO)
    moment = LONG_AGO + timedelta(days=1)
    assert sorted(store.last_used_before(moment)) == sorted((each, 1) for each in hashes[:4])
    bucket.date(keys[0], moment)
    assert hashes[0] not in dict(store.last_used_before(moment))
    store.delete_unused([*hashes[:4], CONTENT_HASH], moment)
    assert store.find(hashes) == [hashes[0], hashes[4]]
    assert len(bucket.listed()) == 5


def test_opening_a_store_needs_write_access(bucket: Bucket) -> None:
    path = ObjectPath(bucket.url("payloads"))
    open_payload_store(path)
    empty = hashlib.sha256(b"").hexdigest()
    assert bucket.server.requests != []
    assert [each for each in bucket.server.requests if f"/payloads/{empty[:2]}/{empty}" not in each] == []
    assert (bucket.listed(), bucket.unfinished_uploads()) == ([], 0)
    bucket.server.fail(Failure(method="POST", status=403, code="AccessDenied"))
    with pytest.raises(ObjectStoreError, match="Amazon S3 denies access"):
        open_payload_store(path)
    assert find_payload_store(path) is not None


@pytest.mark.parametrize("cloud", ["google_bucket", "azure_bucket"])
def test_the_other_stores_behave_alike(request: pytest.FixtureRequest, cloud: str) -> None:
    bucket: Bucket = request.getfixturevalue(cloud)
    store = stored(bucket)
    again = stored(bucket)
    assert (bucket.listed(), again.retrieve(CONTENT_HASH), again.exists(CONTENT_HASH)) == ([KEY], CONTENT, True)
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    assert list(again.last_used_before(tomorrow)) == [(CONTENT_HASH, len(CONTENT))]
    again.delete_unused([CONTENT_HASH], tomorrow)
    assert (again.find([CONTENT_HASH]), again.delete(CONTENT_HASH)) == ([], False)
    store.store(b"other")
    store.sync()
    assert store.delete(hashlib.sha256(b"other").hexdigest())
    open_payload_store(ObjectPath(bucket.url("payloads")))
    assert bucket.listed() == []

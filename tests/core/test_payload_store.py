"""The payload store: content kept under its hash."""

from __future__ import annotations

import hashlib
import os
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth.core import payload_store
from elspeth.core.payload_places import find_payload_store
from elspeth.core.payload_store import FilesystemPayloadStore, IntegrityError

CONTENT = b"what was read"
CONTENT_HASH = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return tmp_path / "payloads"


@pytest.fixture
def store(base: Path) -> FilesystemPayloadStore:
    return FilesystemPayloadStore(base)


def files(base: Path) -> list[str]:
    return sorted(str(path.relative_to(base)) for path in base.rglob("*") if path.is_file())


def alter(base: Path) -> Path:
    path = base / CONTENT_HASH[:2] / CONTENT_HASH
    path.write_bytes(b"something else")
    return path


@given(content=st.binary())
def test_stored_content_is_retrieved(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    store = FilesystemPayloadStore(tmp_path_factory.mktemp("payloads"))
    content_hash = store.store(content)
    assert content_hash == hashlib.sha256(content).hexdigest()
    assert store.retrieve(content_hash) == content


def test_a_payload_is_in_the_directory_of_the_first_digits_of_its_hash(
    store: FilesystemPayloadStore, base: Path
) -> None:
    assert store.store(CONTENT) == CONTENT_HASH
    assert files(base) == [f"{CONTENT_HASH[:2]}/{CONTENT_HASH}"]


def test_equal_content_is_kept_once(store: FilesystemPayloadStore, base: Path) -> None:
    assert store.store(CONTENT) == store.store(CONTENT)
    assert len(files(base)) == 1


def test_the_age_of_a_payload_counts_from_its_last_use(store: FilesystemPayloadStore, base: Path) -> None:
    store.store(CONTENT)
    os.utime(base / CONTENT_HASH[:2] / CONTENT_HASH, (0, 0))
    store.store(CONTENT)
    assert not store.delete_unless_used(CONTENT_HASH, datetime(2001, 1, 1, tzinfo=UTC))
    assert store.exists(CONTENT_HASH)


def test_a_payload_used_at_a_time_was_not_last_used_before_it(store: FilesystemPayloadStore, base: Path) -> None:
    store.store(CONTENT)
    for path in (base / CONTENT_HASH[:2] / CONTENT_HASH, base / CONTENT_HASH[:2] / "readme"):
        path.touch()
        os.utime(path, (5, 5))
    moment, later = (datetime.fromtimestamp(second, UTC) for second in (5, 6))
    assert list(store.last_used_before(moment)) == []
    assert not store.delete_unless_used(CONTENT_HASH, moment)
    assert list(store.last_used_before(later)) == [(CONTENT_HASH, len(CONTENT))]
    assert store.delete_unless_used(CONTENT_HASH, later)


def test_the_name_of_a_payload_is_durable_whoever_wrote_it(
    store: FilesystemPayloadStore, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.store(b"the first")
    synced: list[Path] = []
    monkeypatch.setattr(payload_store, "sync_directory", synced.append)
    for _ in range(2):
        store.store(CONTENT)
        assert synced.pop() == base / CONTENT_HASH[:2]


def test_content_is_complete_when_it_is_synced(store: FilesystemPayloadStore, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: sizes.append(os.fstat(descriptor).st_size))
    store.store(CONTENT)
    assert len(CONTENT) in sizes


def test_content_can_be_stored_without_file_locks(
    store: FilesystemPayloadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    assert store.retrieve(store.store(CONTENT)) == CONTENT


def test_no_file_stays_open(store: FilesystemPayloadStore) -> None:
    before = os.listdir("/proc/self/fd")  # noqa: PTH208  names only
    store.store(CONTENT)
    store.delete_unless_used(CONTENT_HASH, datetime.max.replace(tzinfo=UTC))
    assert len(os.listdir("/proc/self/fd")) == len(before)  # noqa: PTH208


def test_a_payload_is_not_deleted_while_it_is_stored_again(
    store: FilesystemPayloadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.store(CONTENT)
    deletion = threading.Thread(target=store.delete_unless_used, args=(CONTENT_HASH, datetime.max.replace(tzinfo=UTC)))
    retrieve = FilesystemPayloadStore.retrieve

    def retrieve_while_deleting(self: FilesystemPayloadStore, content_hash: str) -> bytes:
        deletion.start()
        deletion.join(0.2)
        assert deletion.is_alive()
        return retrieve(self, content_hash)

    monkeypatch.setattr(FilesystemPayloadStore, "retrieve", retrieve_while_deleting)
    store.store(CONTENT)
    deletion.join()
    assert not store.exists(CONTENT_HASH)


def test_another_store_on_the_same_directory_finds_it(store: FilesystemPayloadStore, base: Path) -> None:
    store.store(CONTENT)
    assert FilesystemPayloadStore(base).retrieve(CONTENT_HASH) == CONTENT


def test_a_payload_exists_until_it_is_deleted(store: FilesystemPayloadStore) -> None:
    assert not store.exists(CONTENT_HASH)
    store.store(CONTENT)
    assert store.exists(CONTENT_HASH)
    assert store.delete(CONTENT_HASH)
    assert not store.exists(CONTENT_HASH)
    assert not store.delete(CONTENT_HASH)


def test_a_missing_payload_is_a_key_error(store: FilesystemPayloadStore) -> None:
    with pytest.raises(KeyError) as caught:
        store.retrieve(CONTENT_HASH)
    assert caught.value.args == (CONTENT_HASH,)


def test_payloads_are_found_and_read_in_order(store: FilesystemPayloadStore, base: Path) -> None:
    hashes = [store.store(b"%d" % number) for number in range(3)]
    assert store.find(["no hash", hashes[2], CONTENT_HASH, hashes[0]]) == [hashes[2], hashes[0]]
    assert list(store.read([*hashes, hashes[0]])) == [*zip(hashes, [b"0", b"1", b"2"], strict=True), (hashes[0], b"0")]
    with pytest.raises(KeyError) as caught:
        list(store.read([hashes[0], CONTENT_HASH]))
    assert caught.value.args == (CONTENT_HASH,)
    assert find_payload_store(base.parent / "missing") is None
    found = find_payload_store(base)
    assert found is not None
    assert found.retrieve(hashes[1]) == b"1"


def test_a_payload_that_was_emptied_is_not_retrieved(store: FilesystemPayloadStore, base: Path) -> None:
    store.store(CONTENT)
    alter(base).write_bytes(b"")
    with pytest.raises(IntegrityError, match=r"The file was altered\.$"):
        store.retrieve(CONTENT_HASH)


def test_an_altered_payload_is_not_retrieved(store: FilesystemPayloadStore, base: Path) -> None:
    store.store(CONTENT)
    path = alter(base)
    with pytest.raises(IntegrityError) as caught:
        store.retrieve(CONTENT_HASH)
    altered = hashlib.sha256(b"something else").hexdigest()
    assert str(caught.value) == (
        f"payload {path}: expected SHA-256 {CONTENT_HASH}, got {altered}. The file was altered."
    )


def test_storing_an_altered_payload_is_an_error(store: FilesystemPayloadStore, base: Path) -> None:
    store.store(CONTENT)
    alter(base)
    with pytest.raises(IntegrityError, match=r"The file was altered\.$"):
        store.store(CONTENT)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_crash_while_storing_leaves_nothing_under_the_hash(
    store: FilesystemPayloadStore, base: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    (base / CONTENT_HASH[:2]).mkdir()
    with monkeypatch.context() as patched:
        if step == "fsync":
            patched.setattr(os, "fsync", crash)
        else:
            patched.setattr(Path, "replace", crash)
        with pytest.raises(KeyboardInterrupt):
            store.store(CONTENT)
    assert files(base) == []
    assert not store.exists(CONTENT_HASH)
    assert store.retrieve(store.store(CONTENT)) == CONTENT


@pytest.mark.parametrize("content_hash", ["", "ab", "../" + "a" * 61, "A" * 64, "a" * 65, "g" * 64])
def test_an_invalid_hash_is_refused(store: FilesystemPayloadStore, content_hash: str) -> None:
    for call in (store.retrieve, store.exists, store.delete):
        with pytest.raises(ValueError, match="payload hash") as caught:
            call(content_hash)
        assert str(caught.value) == f"payload hash: expected 64 hex digits, got {content_hash!r}"

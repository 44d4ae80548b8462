"""Salts are derived as documented, and all are different."""

from __future__ import annotations

import hashlib
import hmac
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.format.merkle import leaf_hash
from elspeth.evidence.format.salts import BLOCK_LINES, KeySalts, LeafHasher, Salts, salt_algorithm
from tests.evidence.bags import SECRET, salts_of
from tests.evidence.documents import Document, refusal

VERSIONS = [1, 2, 3]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_secret_is_read_as_it_was_written(version: int) -> None:
    salts = Salts(secret="secret", version=version)
    assert Salts.from_bytes(salts.to_bytes(), "salts", version) == salts


@pytest.mark.parametrize("version", VERSIONS)
def test_malformed_secrets_are_refused(version: int) -> None:
    algorithm = salt_algorithm(version)
    documents: list[tuple[Document, str]] = [
        ({"algorithm": "md5", "secret": "s"}, f"document: algorithm: expected {algorithm!r}, got 'md5'"),
        ({"algorithm": algorithm, "secret": ""}, "document: secret: expected a secret, got an empty text"),
        ({"algorithm": algorithm, "secret": "s", "more": 1}, "document: expected no further member, got 'more'"),
    ]
    for document, message in documents:
        assert refusal(partial(Salts.from_bytes, version=version), document) == message


def test_salts_of_another_version_are_refused() -> None:
    with pytest.raises(EvidenceError, match="algorithm: expected 'shake-256: "):
        Salts.from_bytes(Salts(secret="s", version=2).to_bytes(), "salts", 3)


def test_salts_are_those_of_an_independent_derivation() -> None:
    hasher, count = LeafHasher(Salts(secret=SECRET, version=3)), 2 * BLOCK_LINES + 3
    lines = [b"{%d}" % number for number in range(count)]
    expected = [hashlib.sha256(b"\0" + salt + line).digest() for salt, line in zip(salts_of(count), lines, strict=True)]
    pairs = enumerate(zip(hasher.hashes(0, lines), expected, strict=True))
    # Not the lists: pytest takes minutes to describe the difference between such lists.
    assert [number for number, (found, wanted) in pairs if found != wanted][:3] == []


def test_no_two_lines_share_a_salt() -> None:
    hasher, count = LeafHasher(Salts(secret=SECRET, version=3)), 2 * BLOCK_LINES + 3
    assert len(set(hasher.hashes(0, [b""] * count))) == count


def test_another_secret_gives_other_salts() -> None:
    one, other = (LeafHasher(Salts(secret=secret, version=3)) for secret in ("a", "b"))
    assert set(one.hashes(0, [b""] * BLOCK_LINES)).isdisjoint(other.hashes(0, [b""] * BLOCK_LINES))


@given(st.lists(st.integers(0, 1500), max_size=8))
def test_leaf_hashes_do_not_depend_on_batches(sizes: list[int]) -> None:
    hasher, first = LeafHasher(Salts(secret=SECRET, version=3)), 0
    found: list[bytes] = []
    for size in sizes:
        found += hasher.hashes(first, [b"line"] * size)
        first += size
    assert found == LeafHasher(Salts(secret=SECRET, version=3)).hashes(0, [b"line"] * first)


@given(st.integers(0, 5000))
def test_the_leaf_hash_of_a_line_uses_its_salt(number: int) -> None:
    salts = Salts(secret=SECRET, version=3)
    salt = LeafHasher(salts).salt(number)
    assert salt is not None
    assert LeafHasher(salts).hashes(number, [b"line"]) == [leaf_hash(salt + b"line")]


@pytest.mark.parametrize("salts", [None, Salts(secret=SECRET, version=1), Salts(secret=SECRET, version=2)])
def test_leaves_without_salts_are_hashes_of_the_lines(salts: Salts | None) -> None:
    hasher = LeafHasher(salts)
    assert hasher.hashes(5, [b"a", b"b"]) == [leaf_hash(b"a"), leaf_hash(b"b")]
    assert hasher.salt(5) is None


def test_a_hasher_can_go_back_to_earlier_lines() -> None:
    hasher = LeafHasher(Salts(secret=SECRET, version=3))
    numbers = [2 * BLOCK_LINES, 5, BLOCK_LINES + 1, 5, 0]
    fresh = [LeafHasher(Salts(secret=SECRET, version=3)).salt(number) for number in numbers]
    assert [hasher.salt(number) for number in numbers] == fresh
    assert {len(salt or b"") for salt in fresh} == {32}


@pytest.mark.parametrize("size", [1, 63, 64, 65, 200])
def test_salts_of_keys_are_those_of_hmac(size: int) -> None:
    """RFC 2104 hashes only a key longer than a block."""
    secret = "s" * size
    keys: list[list[str | int | None]] = [["run-1", 7], ["\u00e4", None], []]
    texts = ['["run-1",7]', '["\u00e4",null]', "[]"]
    expected = [hmac.new(secret.encode(), b"token\0" + text.encode(), "sha256").hexdigest() for text in texts]
    assert KeySalts(secret).salts("token", keys) == expected


@pytest.mark.parametrize("version", VERSIONS)
def test_only_early_bags_have_salts_in_their_records(version: int) -> None:
    salts = Salts(secret=SECRET, version=version)
    assert (salts.of_keys is None) is (version == 3)
    assert salt_algorithm(version).partition(":")[0] == ("shake-256" if version == 3 else "hmac-sha256")
    assert salt_algorithm(version).encode() in salts.to_bytes()

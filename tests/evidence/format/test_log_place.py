"""The part of the log of runs in a bag."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth.evidence.format import log_place
from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.format.log_place import LogPlace
from elspeth.evidence.format.merkle import CompactRange, leaf_hashes, tree_root
from tests.fixtures.effort import law

ENTRIES = [b'{"entry":%d}' % number for number in range(40)]
LEAVES = leaf_hashes(ENTRIES)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep few hashes, so that small logs have subtrees."""
    monkeypatch.setattr(log_place, "_KEPT", 4)


@given(size=st.integers(0, 40))
@law(20)
def test_a_compact_range_has_the_root_of_the_tree(size: int) -> None:
    tree = CompactRange()
    for leaf in LEAVES[:size]:
        tree.add(leaf)
    assert tree.root() == tree_root(LEAVES[:size])
    assert CompactRange(size, tree.nodes).root() == tree.root()


def test_a_compact_range_of_another_number_of_nodes_is_refused() -> None:
    with pytest.raises(EvidenceError, match="expected 2 nodes of a tree of 5 leaves, got 1"):
        CompactRange(5, [bytes(32)])


@pytest.mark.parametrize("size", [1, 3, 4, 8, 11, 12, 40])
def test_every_place_shows_the_roots_of_earlier_sizes(size: int) -> None:
    for index in {0, size // 2, size - 1}:
        made = LogPlace.of("elspeth.local/x", ENTRIES[:size], index)
        place = LogPlace.parse(made.to_bytes(), b"".join(made.leaves), "place")
        assert place == made
        place.verify("place")
        assert 0 < len(place.leaves) <= 8
        assert place.start == max(0, size // 4 - 1) * 4
        for earlier in range(place.start, size + 1):
            assert place.root_at(earlier) == tree_root(LEAVES[:earlier])
        with pytest.raises(EvidenceError, match="expected a size from"):
            place.root_at(place.start - 1)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"entry": b'{"entry":"x"}'}, "place: inclusion proof: expected the root"),
        ({"index": 13}, "place: inclusion proof: "),
        ({"index": 99}, "place: inclusion proof: expected a leaf below 21, got leaf 99"),
        ({"inclusion": ()}, "place: inclusion proof: expected more hashes"),
        ({"nodes": (bytes(32),)}, "place: root: expected "),
        ({"nodes": ()}, "place: tree: expected 1 nodes of a tree of 16 leaves, got 0"),
    ],
)
def test_a_place_that_was_altered_is_refused(change: dict[str, object], problem: str) -> None:
    altered = replace(LogPlace.of("elspeth.local/x", ENTRIES[:21], 20), **change)  # type: ignore[arg-type]
    with pytest.raises(EvidenceError) as found:
        LogPlace.parse(altered.to_bytes(), b"".join(altered.leaves), "place").verify("place")
    assert str(found.value).startswith(problem)


def test_a_place_has_no_further_member() -> None:
    place = LogPlace.of("elspeth.local/x", ENTRIES[:21], 20)
    with pytest.raises(EvidenceError, match="place: expected no further member, got 'more'"):
        LogPlace.parse(place.to_bytes().replace(b'"nodes"', b'"more":1,"nodes"'), b"".join(place.leaves), "place")


@pytest.mark.parametrize("leaves", [b"", bytes(31), bytes(32 * 22)])
def test_leaf_hashes_that_cannot_belong_to_the_log_are_refused(leaves: bytes) -> None:
    place = LogPlace.of("elspeth.local/x", ENTRIES[:21], 20)
    with pytest.raises(EvidenceError, match="expected hashes of 32 bytes, at most 21, got"):
        LogPlace.parse(place.to_bytes(), leaves, "place")

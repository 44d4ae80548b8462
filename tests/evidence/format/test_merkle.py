"""Merkle trees, against published vectors and the recursive definition."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.format.merkle import (
    CompactRange,
    Subtrees,
    TreeHasher,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    leaf_hashes,
    node_hash,
    root_of_roots,
    split_hashes,
    tree_root,
    verify_consistency,
    verify_inclusion,
)

ENTRIES = [
    bytes.fromhex(entry)
    for entry in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
"""The entries of the test tree of RFC 6962's authors; the hashes below are published with it."""

ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]

A = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
B = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
C = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
D = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
E = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
F = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"

INCLUSION = {
    (0, 1): [],
    (0, 8): [A, B, C],
    (5, 8): [D, E, ROOTS[4]],
    (2, 3): [ROOTS[2]],
    (1, 5): [ROOTS[1], B, D],
}
CONSISTENCY = {
    (1, 1): [],
    (1, 8): [A, B, C],
    (6, 8): [F, E, ROOTS[4]],
    (2, 5): [B, D],
    (6, 7): [F, "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f", ROOTS[4]],
}

LEAVES = list(map(leaf_hash, ENTRIES))

leaf_lists = st.integers(1, 70).map(lambda size: [leaf_hash(bytes([number])) for number in range(size)])


def recursive_root(leaves: Sequence[bytes]) -> bytes:
    """Compute the root by the definition (RFC 9162, section 2.1.1)."""
    if len(leaves) <= 1:
        return leaves[0] if leaves else hashlib.sha256().digest()
    k = max(1 << power for power in range(8) if 1 << power < len(leaves))
    return hashlib.sha256(b"\x01" + recursive_root(leaves[:k]) + recursive_root(leaves[k:])).digest()


@pytest.mark.parametrize("size", range(9))
def test_the_root_of_the_published_tree_is_reproduced(size: int) -> None:
    assert tree_root(LEAVES[:size]).hex() == ROOTS[size]


@pytest.mark.parametrize(("index", "size"), INCLUSION)
def test_inclusion_proofs_of_the_published_tree_are_reproduced(index: int, size: int) -> None:
    proof = inclusion_proof(LEAVES, index, size)
    assert [each.hex() for each in proof] == INCLUSION[index, size]
    verify_inclusion(LEAVES[index], index, size, proof, bytes.fromhex(ROOTS[size]))


@pytest.mark.parametrize(("first", "second"), CONSISTENCY)
def test_consistency_proofs_of_the_published_tree_are_reproduced(first: int, second: int) -> None:
    proof = consistency_proof(LEAVES, first, second)
    assert [each.hex() for each in proof] == CONSISTENCY[first, second]
    verify_consistency(first, second, bytes.fromhex(ROOTS[first]), bytes.fromhex(ROOTS[second]), proof)


@given(leaf_lists)
def test_the_root_agrees_with_the_recursive_definition(leaves: list[bytes]) -> None:
    assert tree_root(leaves) == recursive_root(leaves)


@pytest.mark.parametrize("size", [1023, 1024, 1025, 2048, 3000])
def test_the_root_over_many_leaves_agrees_with_the_definition(size: int) -> None:
    leaves = [leaf_hash(str(number).encode()) for number in range(size)]
    expected = leaves
    while len(expected) > 1:  # level by level, where an odd node goes up unchanged
        pairs = [expected[at : at + 2] for at in range(0, len(expected), 2)]
        expected = [hashlib.sha256(b"\x01" + b"".join(pair)).digest() if len(pair) == 2 else pair[0] for pair in pairs]
    one_by_one = TreeHasher()
    for leaf in leaves:
        one_by_one.add(leaf)
    assert one_by_one.root() == tree_root(leaves) == expected[0]


@given(leaf_lists, st.data())
def test_every_leaf_has_an_inclusion_proof(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    proof = inclusion_proof(iter(leaves), index, len(leaves))
    verify_inclusion(leaves[index], index, len(leaves), proof, tree_root(leaves))


@given(leaf_lists, st.data())
def test_no_other_place_or_proof_shows_inclusion(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    size, root, proof = len(leaves), tree_root(leaves), inclusion_proof(leaves, index, len(leaves))
    other = data.draw(st.integers(-1, size).filter(lambda at: at != index))
    wrong = [
        (leaves[index], other, proof),
        (leaf_hash(b"other"), index, proof),
        (leaves[index], index, [*proof, root]),
        *((leaves[index], index, proof[:at] + proof[at + 1 :]) for at in range(len(proof))),
        *((leaves[index], index, [*proof[:at], root, *proof[at + 1 :]]) for at in range(len(proof))),
    ]
    for leaf, at, hashes in wrong:
        with pytest.raises(EvidenceError):
            verify_inclusion(leaf, at, size, hashes, root)


@given(leaf_lists, st.data())
def test_every_beginning_has_a_consistency_proof(leaves: list[bytes], data: st.DataObject) -> None:
    first = data.draw(st.integers(1, len(leaves)))
    proof = consistency_proof(iter(leaves), first, len(leaves))
    verify_consistency(first, len(leaves), tree_root(leaves[:first]), tree_root(leaves), proof)


@given(leaf_lists, st.data())
def test_no_other_tree_is_consistent(leaves: list[bytes], data: st.DataObject) -> None:
    first, second = data.draw(st.integers(1, len(leaves))), len(leaves)
    old, new, proof = tree_root(leaves[:first]), tree_root(leaves), consistency_proof(leaves, first, len(leaves))
    other = leaf_hash(b"other")
    wrong = [
        (other, new, proof),
        (old, other, proof),
        (old, new, [*proof, other]),
        *((old, new, proof[:at] + proof[at + 1 :]) for at in range(len(proof))),
        *((old, new, [*proof[:at], other, *proof[at + 1 :]]) for at in range(len(proof))),
    ]
    for older, newer, hashes in wrong:
        with pytest.raises(EvidenceError):
            verify_consistency(first, second, older, newer, hashes)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (3, 3), (-1, 2)])
def test_there_is_no_proof_for_a_missing_leaf(index: int, size: int) -> None:
    with pytest.raises(ValueError, match=f"leaf {index} is not in a tree of {size} leaves"):
        inclusion_proof(LEAVES, index, size)


@pytest.mark.parametrize(("first", "second"), [(0, 3), (4, 3)])
def test_there_is_no_consistency_proof_for_a_shrinking_tree(first: int, second: int) -> None:
    with pytest.raises(ValueError, match=f"a tree of {second} leaves does not grow from one of {first}"):
        consistency_proof(LEAVES, first, second)
    with pytest.raises(EvidenceError, match=f"expected trees of 0 < first <= second leaves, got {first} and {second}"):
        verify_consistency(first, second, LEAVES[0], LEAVES[0], [])


def test_too_few_leaves_give_no_proof() -> None:
    with pytest.raises(ValueError, match="expected 9 leaves, got 8"):
        inclusion_proof(LEAVES, 0, 9)


@given(sizes=st.lists(st.integers(0, 70), max_size=12))
def test_subtrees_of_consecutive_leaves_combine_to_the_tree(sizes: list[int]) -> None:
    leaves = [leaf_hash(b"%d" % number) for number in range(sum(sizes))]
    tree = CompactRange()
    for size in sizes:
        tree.extend(Subtrees.of(tree.size, leaves[tree.size : tree.size + size]))
    assert tree.size == len(leaves)
    assert tree.root() == tree_root(leaves)


def test_subtrees_that_do_not_follow_are_refused() -> None:
    tree = CompactRange()
    with pytest.raises(ValueError, match="leaf 1 does not follow the first 0"):
        tree.extend(Subtrees.of(1, [leaf_hash(b"")]))


@pytest.mark.parametrize("entry", [b"", b"\n", b" a \n", b"a\r\n\0", bytes(100)])
def test_every_byte_of_an_entry_is_hashed(entry: bytes) -> None:
    """RFC 9162, section 2.1.1."""
    assert leaf_hash(entry) == hashlib.sha256(b"\0" + entry).digest()
    assert leaf_hashes([b"", entry, entry]) == [leaf_hash(b""), leaf_hash(entry), leaf_hash(entry)]
    assert node_hash(b"2", entry) == hashlib.sha256(b"\x012" + entry).digest()


@pytest.mark.parametrize("size", [0, 1, 4, 5, 8, 15, 16])
def test_the_root_over_roots_is_that_of_the_tree(size: int) -> None:
    leaves = [leaf_hash(b"%d" % number) for number in range(size)]
    roots = [tree_root(leaves[at : at + 4]) for at in range(0, size, 4)]
    assert root_of_roots(roots) == tree_root(leaves) == recursive_root(leaves)
    assert split_hashes(b"".join(leaves)) == leaves


@pytest.mark.parametrize("first", [1, 700, 1023, 1024])
def test_leaves_may_be_added_singly_and_together(first: int) -> None:
    leaves = [leaf_hash(b"%d" % number) for number in range(2500)]
    hasher = TreeHasher()
    for leaf in leaves[:first]:
        hasher.add(leaf)
    hasher.extend(leaves[first:1500])
    hasher.extend(leaves[1500:2400])
    for leaf in leaves[2400:]:
        hasher.add(leaf)
    expected = CompactRange()
    for leaf in leaves:
        expected.add(leaf)
    assert (hasher.size, hasher.root()) == (2500, expected.root())


def test_a_proof_that_does_not_hold_is_refused_with_the_reason() -> None:
    leaves, other = LEAVES[:5], bytes(32)
    root, proof = tree_root(leaves), inclusion_proof(leaves, 2, 5)
    old, grown = tree_root(leaves[:3]), consistency_proof(leaves, 3, 5)

    def included(index: int, hashes: Sequence[bytes], expected: bytes = root) -> None:
        verify_inclusion(leaves[2], index, 5, hashes, expected)

    def consistent(before: bytes, after: bytes, hashes: Sequence[bytes], first: int = 3) -> None:
        verify_consistency(first, 5, before, after, hashes)

    long = "expected fewer hashes: it is longer than the tree is deep"
    short = "expected more hashes: it ends before the root"
    checks: list[tuple[Callable[[], None], str]] = [
        (lambda: included(5, proof), "inclusion proof: expected a leaf below 5, got leaf 5"),
        (lambda: included(-1, proof), "inclusion proof: expected a leaf below 5, got leaf -1"),
        (lambda: included(2, [*proof, other]), f"inclusion proof: {long}"),
        (lambda: included(2, proof[:-1]), f"inclusion proof: {short}"),
        (
            lambda: included(2, proof, other),
            f"inclusion proof: expected the root {other.hex()}, got {root.hex()}",
        ),
        (lambda: consistent(old, root, [*grown, other]), f"consistency proof: {long}"),
        (lambda: consistent(old, root, grown[:-1]), f"consistency proof: {short}"),
        (lambda: consistent(old, root, []), "consistency proof: expected hashes, got none"),
        (
            lambda: consistent(other, root, grown),
            f"consistency proof: expected the root {other.hex()}, got {old.hex()}",
        ),
        (
            lambda: consistent(old, other, grown),
            f"consistency proof: expected the root {other.hex()}, got {root.hex()}",
        ),
        (lambda: consistent(root, root, [other], 5), f"consistency proof: {long}"),
        (
            lambda: consistent(other, root, [], 5),
            f"consistency proof: expected the root {root.hex()}, got {other.hex()}",
        ),
    ]
    for check, problem in checks:
        with pytest.raises(EvidenceError) as caught:
            check()
        assert str(caught.value) == problem


def test_leaves_that_leave_a_gap_or_come_again_are_refused() -> None:
    tree = CompactRange()
    tree.extend(Subtrees.of(0, LEAVES[:3]))
    for first in (2, 4):
        with pytest.raises(ValueError, match=f"^leaf {first} does not follow the first 3$"):
            tree.extend(Subtrees.of(first, LEAVES[:1]))

"""Merkle trees over SHA-256: roots, inclusion and consistency proofs.

They follow RFC 9162, section 2.1.

Computing a root or proof takes one pass over the leaf hashes, and memory that grows with the logarithm of their number.
A proof is a list of hashes, beginning with those nearest to the leaves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from hashlib import sha256
from itertools import islice

from elspeth.evidence.format.errors import EvidenceError

__all__ = [
    "HASH_SIZE",
    "CompactRange",
    "Subtrees",
    "TreeHasher",
    "consistency_proof",
    "inclusion_proof",
    "leaf_hash",
    "leaf_hashes",
    "node_hash",
    "root_of_roots",
    "split_hashes",
    "tree_root",
    "verify_consistency",
    "verify_inclusion",
]

HASH_SIZE = 32
"""Length of a hash in bytes."""

_FANOUT = 1024
"""How many nodes of a level are collected before they are combined: a power of two, to make a perfect subtree."""

_Range = tuple[int, int]
"""The leaves from the first number up to, but not including, the second."""


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of an entry, 32 bytes.

    RFC 9162, section 2.1.1.
    """
    return sha256(b"\x00" + entry).digest()


def leaf_hashes(entries: Iterable[bytes]) -> list[bytes]:
    """Return the hash of each entry."""
    return [sha256(b"\x00" + entry).digest() for entry in entries]


def split_hashes(joined: bytes) -> list[bytes]:
    """Return the hashes in a string of joined hashes."""
    return [joined[start : start + HASH_SIZE] for start in range(0, len(joined), HASH_SIZE)]


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node, 32 bytes.

    RFC 9162, section 2.1.1.
    """
    return sha256(b"\x01" + left + right).digest()


class TreeHasher:
    """Computes the root over leaf hashes as they are added."""

    def __init__(self) -> None:
        self.size = 0
        self._levels: list[list[bytes]] = [[]]
        """Level n holds the roots of perfect subtrees of 1024^n leaves, oldest first."""

    def add(self, leaf: bytes) -> None:
        """Add the next leaf hash."""
        self.size += 1
        self._levels[0].append(leaf)
        if len(self._levels[0]) == _FANOUT:
            self._carry()

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Add several leaf hashes."""
        rest = iter(leaves)
        while some := list(islice(rest, _FANOUT - len(self._levels[0]))):
            self.size += len(some)
            self._levels[0] += some
            self._carry()

    def root(self) -> bytes:
        """Return the root over the leaves so far, 32 bytes."""
        if not self.size:
            return sha256().digest()
        rest: list[bytes] = []
        for nodes in self._levels:
            if nodes or rest:
                rest = [_combined([*nodes, *rest])]
        return rest[0]

    def _carry(self) -> None:
        for number, nodes in enumerate(self._levels):
            if len(nodes) < _FANOUT:
                return
            if number + 1 == len(self._levels):
                self._levels.append([])
            self._levels[number + 1].append(_combined(nodes))
            nodes.clear()


@dataclass(frozen=True, slots=True, kw_only=True)
class Subtrees:
    """Consecutive leaves of a tree, as the roots of subtrees.

    `first` is the number of the first leaf, from 0. `roots` are the roots of the largest perfect subtrees that hold no
    other leaves, in order. Any process can compute them.
    """

    first: int
    size: int
    roots: Sequence[bytes]

    @classmethod
    def of(cls, first: int, leaves: Sequence[bytes]) -> Subtrees:
        """Return the subtrees over leaf hashes."""
        left, right = list[bytes](), list[bytes]()
        at, nodes = first, list(leaves)
        while nodes:
            # The sibling of this node has leaves outside the range, so the node is a root itself.
            if at % 2:
                left.append(nodes[0])
            some = nodes[at % 2 :]
            if len(some) % 2:
                right.append(some.pop())
            pairs = zip(some[::2], some[1::2], strict=True)
            nodes = [sha256(b"\x01" + one + two).digest() for one, two in pairs]
            at = (at + 1) // 2
        return cls(first=first, size=len(leaves), roots=[*left, *reversed(right)])


class CompactRange:
    """A tree, stored as the roots of its perfect subtrees.

    `nodes` are these roots, that of the largest subtree first: one for each 1 in the binary form of `size`. By adding
    leaves, the roots of all later sizes can be derived.

    Raises EvidenceError if the number of nodes does not fit the size.
    """

    def __init__(self, size: int = 0, nodes: Iterable[bytes] = ()) -> None:
        self.size = size
        self.nodes = list(nodes)
        if len(self.nodes) != size.bit_count():
            problem = f"expected {size.bit_count()} nodes of a tree of {size} leaves, got {len(self.nodes)}"
            raise EvidenceError("tree", problem)

    def add(self, leaf: bytes) -> None:
        """Add the next leaf hash."""
        self._add(leaf, 0)

    def extend(self, subtrees: Subtrees) -> None:
        """Add the next leaves.

        Raises ValueError if they do not follow the last leaf.
        """
        if subtrees.first != self.size:
            message = f"leaf {subtrees.first} does not follow the first {self.size}"
            raise ValueError(message)
        end = self.size + subtrees.size
        for root in subtrees.roots:
            level = (end - self.size).bit_length() - 1
            if self.size:
                level = min(level, (self.size & -self.size).bit_length() - 1)
            self._add(root, level)

    def root(self) -> bytes:
        """Return the root over the leaves so far, 32 bytes."""
        if not self.nodes:
            return sha256().digest()
        return reduce(lambda right, left: node_hash(left, right), reversed(self.nodes))

    def _add(self, node: bytes, level: int) -> None:
        """Add a perfect subtree of 2^level leaves."""
        place = self.size >> level
        while place & 1:
            node, place = node_hash(self.nodes.pop(), node), place >> 1
        self.nodes.append(node)
        self.size += 1 << level


def tree_root(leaves: Iterable[bytes]) -> bytes:
    """Return the root over leaf hashes, 32 bytes.

    RFC 9162, section 2.1.1.
    """
    hasher = TreeHasher()
    hasher.extend(leaves)
    return hasher.root()


def root_of_roots(roots: Sequence[bytes]) -> bytes:
    """Return the root over the roots of subtrees, 32 bytes.

    The subtrees are in order. All have the same number of leaves, a power of two, except that the last may have fewer
    (RFC 9162, section 2.1.1).
    """
    return _combined(list(roots)) if roots else sha256().digest()


def inclusion_proof(leaves: Iterable[bytes], index: int, size: int) -> list[bytes]:
    """Return the proof that a leaf is in a tree.

    The tree has the first `size` of the leaf hashes. `index` counts from 0 (RFC 9162, section 2.1.3.1).

    Raises ValueError if there is no such leaf.
    """
    if not 0 <= index < size:
        message = f"leaf {index} is not in a tree of {size} leaves"
        raise ValueError(message)
    low, high = 0, size
    siblings: list[_Range] = []
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            siblings.append((middle, high))
            high = middle
        else:
            siblings.append((low, middle))
            low = middle
    return _roots(leaves, siblings[::-1])


def consistency_proof(leaves: Iterable[bytes], first: int, second: int) -> list[bytes]:
    """Return the proof that a tree extends an older one.

    `first` and `second` are the sizes of the older and the newer tree (RFC 9162, section 2.1.4.1).

    Raises ValueError unless 0 < first <= second.
    """
    if not 0 < first <= second:
        message = f"a tree of {second} leaves does not grow from one of {first}"
        raise ValueError(message)
    low, high = 0, second
    siblings: list[_Range] = []
    while first < high:
        middle = low + _split(high - low)
        if first <= middle:
            siblings.append((middle, high))
            high = middle
        else:
            siblings.append((low, middle))
            low = middle
    # The verifier knows the last subtree of the older tree only if it is the whole tree.
    own: list[_Range] = [(low, high)] if low else []
    return _roots(leaves, own + siblings[::-1])


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check an inclusion proof (RFC 9162, section 2.1.3.2).

    Raises EvidenceError if it does not hold.
    """
    place = "inclusion proof"
    if not 0 <= index < size:
        raise EvidenceError(place, f"expected a leaf below {size}, got leaf {index}")
    fn, sn, result = index, size - 1, leaf
    for node in proof:
        _check_depth(sn, place)
        if fn & 1 or fn == sn:
            result = node_hash(node, result)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            result = node_hash(result, node)
        fn, sn = fn >> 1, sn >> 1
    _check_end(sn, place)
    _check_root(root, result, place)


def verify_consistency(first: int, second: int, old: bytes, new: bytes, proof: Sequence[bytes]) -> None:
    """Check a consistency proof (RFC 9162, section 2.1.4.2).

    Raises EvidenceError if it does not hold.
    """
    place = "consistency proof"
    if not 0 < first <= second:
        raise EvidenceError(place, f"expected trees of 0 < first <= second leaves, got {first} and {second}")
    if first == second:
        # The RFC has no proof for this case: two trees of one size are the same, or one of them is wrong.
        _check_depth(int(not proof), place)
        _check_root(new, old, place)
        return
    nodes = [old, *proof] if first & (first - 1) == 0 else list(proof)
    if not nodes:
        raise EvidenceError(place, "expected hashes, got none")
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    older = newer = nodes[0]
    for node in nodes[1:]:
        _check_depth(sn, place)
        if fn & 1 or fn == sn:
            older, newer = node_hash(node, older), node_hash(node, newer)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            newer = node_hash(newer, node)
        fn, sn = fn >> 1, sn >> 1
    _check_end(sn, place)
    _check_root(old, older, place)
    _check_root(new, newer, place)


def _combined(nodes: list[bytes]) -> bytes:
    """Return the root over roots of equally large subtrees.

    The last subtree may be smaller.
    """
    while len(nodes) > 1:
        odd = [nodes[-1]] if len(nodes) % 2 else []
        nodes = [sha256(b"\x01" + left + right).digest() for left, right in zip(nodes[::2], nodes[1::2], strict=False)]
        nodes += odd
    return nodes[0]


def _split(size: int) -> int:
    """Return the largest power of two below a size."""
    return 1 << (size - 1).bit_length() - 1


def _roots(leaves: Iterable[bytes], ranges: list[_Range]) -> list[bytes]:
    """Return the roots over ranges that do not overlap.

    Takes one pass over the leaves.
    """
    found: dict[_Range, bytes] = {}
    rest: Iterator[bytes] = iter(leaves)
    position = 0
    for low, high in sorted(ranges):
        for _ in islice(rest, low - position):
            pass
        hasher = TreeHasher()
        hasher.extend(islice(rest, high - low))
        if hasher.size != high - low:
            message = f"expected {high} leaves, got {low + hasher.size}"
            raise ValueError(message)
        found[low, high] = hasher.root()
        position = high
    return [found[each] for each in ranges]


def _check_depth(remaining: int, place: str) -> None:
    if not remaining:
        raise EvidenceError(place, "expected fewer hashes: it is longer than the tree is deep")


def _check_end(remaining: int, place: str) -> None:
    if remaining:
        raise EvidenceError(place, "expected more hashes: it ends before the root")


def _check_root(expected: bytes, derived: bytes, place: str) -> None:
    if derived != expected:
        raise EvidenceError(place, f"expected the root {expected.hex()}, got {derived.hex()}")

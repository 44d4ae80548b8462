"""The place of a run in the log, for bags.

It holds the last leaf hashes of the log, and the roots of perfect subtrees for the leaves before them. So a person with
two bags can derive the root of the smaller log from the larger one, as long as the smaller log ended within these last
leaves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from elspeth.evidence.format.canonical import Members, canonical, parse_canonical
from elspeth.evidence.format.checkpoints import Checkpoint
from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.format.merkle import (
    HASH_SIZE,
    CompactRange,
    inclusion_proof,
    leaf_hash,
    leaf_hashes,
    split_hashes,
    verify_inclusion,
)

__all__ = ["LogPlace"]

_KEPT = 4096
"""A place keeps at least this many leaf hashes, if the log has them, and fewer than twice as many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPlace:
    """The log's entry about a run, and the log's end.

    `index` counts from 0, and `inclusion` is the inclusion proof of the entry. `nodes` are the roots of the perfect
    subtrees over the first entries, and `leaves` are the leaf hashes of all later entries.
    """

    checkpoint: Checkpoint
    entry: bytes
    index: int
    inclusion: tuple[bytes, ...]
    nodes: tuple[bytes, ...]
    leaves: tuple[bytes, ...]

    @classmethod
    def of(cls, origin: str, entries: Sequence[bytes], index: int) -> Self:
        """Return the place of an entry in a log."""
        leaves = leaf_hashes(entries)
        size = len(leaves)
        start = max(0, size // _KEPT - 1) * _KEPT
        tree = _grown(CompactRange(), leaves[:start])
        nodes = tuple(tree.nodes)
        root = _grown(tree, leaves[start:]).root()
        return cls(
            checkpoint=Checkpoint(origin=origin, size=size, root=root),
            entry=entries[index],
            index=index,
            inclusion=tuple(inclusion_proof(leaves, index, size)),
            nodes=nodes,
            leaves=tuple(leaves[start:]),
        )

    @classmethod
    def parse(cls, data: bytes, leaves: bytes, place: str) -> Self:
        """Read a place and its leaf hashes, without verifying them.

        Raises EvidenceError if they cannot be read.
        """
        members = Members(parse_canonical(data, place), place)
        checkpoint = Checkpoint(
            origin=members.text("origin"), size=members.number("size"), root=bytes.fromhex(members.sha256("root"))
        )
        found = cls(
            checkpoint=checkpoint,
            entry=members.text("entry").encode(),
            index=members.number("index"),
            inclusion=_hashes(members.sha256s("inclusion")),
            nodes=_hashes(members.sha256s("nodes")),
            leaves=tuple(split_hashes(leaves)),
        )
        members.close()
        if len(leaves) % HASH_SIZE or not 0 < len(found.leaves) <= checkpoint.size:
            problem = f"expected hashes of {HASH_SIZE} bytes, at most {checkpoint.size}, got {len(leaves)} bytes"
            raise EvidenceError(place, problem)
        return found

    def to_bytes(self) -> bytes:
        """Return the place in canonical JSON, without the leaf hashes."""
        return canonical(
            {
                "origin": self.checkpoint.origin,
                "size": self.checkpoint.size,
                "root": self.checkpoint.root.hex(),
                "entry": self.entry.decode(),
                "index": self.index,
                "inclusion": [each.hex() for each in self.inclusion],
                "nodes": [each.hex() for each in self.nodes],
            }
        )

    @property
    def start(self) -> int:
        """The number of entries whose leaf hashes are not kept."""
        return self.checkpoint.size - len(self.leaves)

    def root_at(self, size: int) -> bytes:
        """Return the root of the log at an earlier size.

        Raises EvidenceError unless `start` <= `size` <= the log's size.
        """
        if not self.start <= size <= self.checkpoint.size:
            problem = f"expected a size from {self.start} to {self.checkpoint.size}, got {size}"
            raise EvidenceError("log of runs", problem)
        return _grown(CompactRange(self.start, self.nodes), self.leaves[: size - self.start]).root()

    def verify(self, place: str) -> None:
        """Check that the entry is in the log.

        Raises EvidenceError if it is not, or if the leaf hashes do not lead to the checkpoint's root.
        """
        expected = self.checkpoint.root
        try:
            root = self.root_at(self.checkpoint.size)
            verify_inclusion(leaf_hash(self.entry), self.index, self.checkpoint.size, self.inclusion, expected)
        except EvidenceError as error:
            raise EvidenceError(f"{place}: {error.place}", error.problem) from error
        if root != expected:
            raise EvidenceError(f"{place}: root", f"expected {expected.hex()}, got {root.hex()} from the leaf hashes")


def _grown(tree: CompactRange, leaves: Iterable[bytes]) -> CompactRange:
    for leaf in leaves:
        tree.add(leaf)
    return tree


def _hashes(texts: Iterable[str]) -> tuple[bytes, ...]:
    return tuple(map(bytes.fromhex, texts))

"""Lines of a bag, hashed and ready to be written.

Any process can compute them, as it needs nothing of the lines before but their number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from elspeth.evidence.format.merkle import Subtrees
from elspeth.evidence.format.salts import LeafHasher, Salts

__all__ = ["HashedLines", "hash_lines"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HashedLines:
    """Consecutive lines of a bag, each with its line feed.

    `counts` are by record type. `leaves` are the joined leaf hashes.
    """

    counts: Mapping[str, int]
    lines: bytes
    leaves: bytes
    subtrees: Subtrees


def hash_lines(record_type: str, first: int, lines: bytes, salts: Salts | None) -> HashedLines:
    """Hash lines of one type, the first with this number."""
    leaves = LeafHasher(salts).hashes(first, lines[:-1].split(b"\n"))
    return HashedLines(
        counts={record_type: len(leaves)},
        lines=lines,
        leaves=b"".join(leaves),
        subtrees=Subtrees.of(first, leaves),
    )

"""Lines of a bag, hashed and ready to be written.

Any process can hash them: of the lines before them it only needs the number.
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
    """Return lines of one record type with their hashes.

    `first` is the number of the first line in the bag, from 0.
    """
    leaves = LeafHasher(salts).hashes(first, lines[:-1].split(b"\n"))
    return HashedLines(
        counts={record_type: len(leaves)},
        lines=lines,
        leaves=b"".join(leaves),
        subtrees=Subtrees.of(first, leaves),
    )

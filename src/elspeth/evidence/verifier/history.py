"""Compares bags of one database by its log of runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from elspeth.evidence.format.errors import EvidenceError, shown
from elspeth.evidence.format.log_place import LogPlace

__all__ = ["compare_points"]


def compare_points(points: Sequence[tuple[str, LogPlace | None]]) -> Iterator[EvidenceError]:
    """Yield the reasons why bags do not share one history.

    Each point is the name of a bag with its verified place in the log of runs, or None if it has no place.
    """
    known: list[tuple[str, LogPlace]] = []
    for name, place in points:
        if place is None:
            yield EvidenceError(
                name, "expected the place of its run in the log of runs, got none: it cannot be compared"
            )
        else:
            known.append((name, place))
    known.sort(key=lambda each: each[1].checkpoint.size)
    for (name, older), (other, newer) in pairwise(known):
        first, second = older.checkpoint, newer.checkpoint
        if first.origin != second.origin:
            problem = f"is about the log {shown(second.origin)}, and {name} about {shown(first.origin)}: one of them is"
            yield EvidenceError(
                other, f"{problem} of another database, or the log was removed and begun anew in between"
            )
        elif first.size < newer.start:
            problem = f"keeps the hashes from entry {newer.start:,} on, and {name} has {first.size:,} entries"
            yield EvidenceError(other, f"{problem}: give a bag of the time between them, too")
        elif newer.root_at(first.size) != first.root:
            problem = f"its log does not continue that of {name}: the first {first.size:,} entries differ"
            yield EvidenceError(other, f"{problem}, so runs were changed or removed, or the database was put back")

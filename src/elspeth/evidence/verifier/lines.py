"""The lines of a file, in blocks: none is held that is larger than a record may be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from elspeth.evidence.format.errors import EvidenceError, shown
from elspeth.evidence.format.limits import MAX_LINE

__all__ = ["MAX_LINE", "batches_of_lines"]

_TAIL = 30


def batches_of_lines(blocks: Iterable[bytes], place: str) -> Iterator[list[bytes]]:
    """Yield complete lines without their line feeds, as many at once as a block holds.

    Raises EvidenceError for a line that is too long, and at the end for one that has no line feed.
    """
    number, size = 0, 0
    rest: list[bytes] = []
    """The beginning of a line, in the blocks that it came in."""
    for block in blocks:
        if b"\n" in block:
            lines = b"".join([*rest, block]).split(b"\n")
            rest = [lines.pop()]
            number += len(lines)
            yield lines
        else:
            rest.append(block)
        size = sum(map(len, rest))
        if size > MAX_LINE:
            raise EvidenceError(f"{place}, line {number + 1}", f"expected at most {MAX_LINE:,} bytes, got more")
    if size:
        tail = b"".join(rest)[-_TAIL:]
        problem = f"expected a line feed at its end, got the end of the file after {shown(tail)}"
        raise EvidenceError(f"{place}, line {number + 1}", f"{problem}: the file is truncated")

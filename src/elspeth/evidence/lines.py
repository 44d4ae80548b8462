"""The lines of a file, in blocks: none is held that is larger than a record may be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from elspeth.evidence.errors import EvidenceError, shown

__all__ = ["MAX_LINE", "batches_of_lines"]

MAX_LINE = 64 << 20
"""The longest line, in bytes: a record with its texts is held in memory several times while it is checked."""

_TAIL = 30


def batches_of_lines(blocks: Iterable[bytes], place: str) -> Iterator[list[bytes]]:
    """Complete lines without their line feeds, as many at once as a block holds.

    EvidenceError for a line that is too long, and at the end for one that has no line feed.
    """
    number, rest = 0, b""
    for block in blocks:
        lines = (rest + block).split(b"\n")
        rest = lines.pop()
        number += len(lines)
        yield lines
        if len(rest) > MAX_LINE:
            raise EvidenceError(f"{place}, line {number + 1}", f"expected at most {MAX_LINE:,} bytes, got more")
    if rest:
        problem = f"expected a line feed at its end, got the end of the file after {shown(rest[-_TAIL:])}"
        raise EvidenceError(f"{place}, line {number + 1}", f"{problem}: the file is truncated")

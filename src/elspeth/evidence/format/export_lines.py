"""Reads the lines of exports that are not bags."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple

from elspeth.evidence.format import bag
from elspeth.evidence.format.compression import open_decompressed
from elspeth.evidence.format.errors import EXCERPT, EvidenceError, excerpt
from elspeth.evidence.format.limits import MAX_LINE
from elspeth.outputs.compression import find_compression

__all__ = ["MANIFEST", "MANIFEST_FILE", "ExportLine", "looks_like_export", "read_lines"]


MANIFEST = "manifest"
"""The record type of the manifest."""


MANIFEST_FILE = "manifest.json"
"""The file name of the manifest in an export of several files."""


_BLOCK = 1 << 20


_RUN = re.compile(rb'\A(?:\[\n)?\{[^\n]{0,65536}?"record_type":"(?:run|database)"')
"""The beginning of an export. It cannot match inside a JSON text, where the quotes would be escaped."""


class ExportLine(NamedTuple):
    """A line without line feed: its number, position and bytes.

    Numbers begin at 1; the position is the byte at which the line begins.
    """

    number: int
    position: int
    line: bytes

    @property
    def place(self) -> str:
        """The line's name in messages."""
        return f"line {self.number}"


def looks_like_export(path: Path) -> bool:
    """Return whether a path holds an export, not a bag.

    That is a directory with a manifest, a file that begins with the record of a run or database, or any compressed
    file, as nothing else is compressed.
    """
    if path.is_dir():
        return (path / MANIFEST_FILE).is_file() and not (path / bag.BAGIT).is_file()
    try:
        if find_compression(path) is not None:
            return True
        with path.open("rb") as file:
            return _RUN.match(file.read(_BLOCK)) is not None
    except OSError:
        return False


def read_lines(path: Path) -> Iterator[ExportLine]:
    """Yield the lines that hold records.

    In a JSON array these are the lines of its elements. The file may be compressed: then positions count decompressed
    bytes. A line is never larger than `MAX_LINE`. Raises EvidenceError for a file that cannot be read, or has another
    layout.
    """
    try:
        with open_decompressed(path) as file:
            lines = _complete_lines(file)
            first = next(lines, None)
            if first is None:
                raise EvidenceError(str(path), "expected an export, got an empty file")
            if not first.line.startswith(b"["):
                yield from chain([first], lines)
                return
            if first.line != b"[":
                problem = f"expected '[' and a record on each following line, got {excerpt(first.line)}"
                raise EvidenceError(first.place, problem)
            yield from _array_elements(lines)
    except OSError as error:
        raise EvidenceError(str(path), f"cannot be read: {error.strerror}") from error


def _complete_lines(file: BinaryIO) -> Iterator[ExportLine]:
    position = 0
    for number, line in enumerate(iter(partial(file.readline, MAX_LINE + 1), b""), start=1):
        if len(line) > MAX_LINE:
            raise EvidenceError(f"line {number}", f"expected at most {MAX_LINE:,} bytes, got more")
        if not line.endswith(b"\n"):
            problem = f"expected a line feed at its end, got the end of the file after {excerpt(line[-EXCERPT:])}"
            raise EvidenceError(f"line {number}", f"{problem}: the file is truncated")
        yield ExportLine(number, position, line[:-1])
        position += len(line)


def _array_elements(lines: Iterator[ExportLine]) -> Iterator[ExportLine]:
    number = 1
    for number, position, line in lines:
        yield ExportLine(number, position, line.removesuffix(b","))
        if not line.endswith(b","):
            break
    end = next(lines, None)
    if end is None:
        raise EvidenceError(f"line {number + 1}", "expected ']', got the end of the file: it is truncated")
    if end.line != b"]":
        problem = f"expected ']' after a record without comma, got {excerpt(end.line)}"
        raise EvidenceError(end.place, problem)
    for after in lines:
        raise EvidenceError(after.place, f"expected the end of the file, got {excerpt(after.line)}")

"""Exports as text, a record per line: JSON Lines, and one JSON array laid out in lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import orjson

from elspeth.core.canonical import CanonicalError, canonical_bytes
from elspeth.core.landscape.export.forms import ExportError, StoredRecord
from elspeth.core.landscape.export.sound_rows import sound_row

__all__ = ["parse_line", "read_text", "write_array", "write_lines"]

_SHOWN = 30
"""How much of a line a message shows, in bytes."""


def write_lines(file: BinaryIO, chunks: Iterable[tuple[int, bytes]]) -> int:
    """Write JSON Lines from chunks (a number of lines, and the lines); returns the number of lines."""
    total = 0
    for count, lines in chunks:
        file.write(lines)
        total += count
    return total


def write_array(file: BinaryIO, chunks: Iterable[tuple[int, bytes]]) -> int:
    """Write a JSON array, an element per line, from chunks of lines; returns the number of elements."""
    total = 0
    file.write(b"[\n")
    for count, lines in chunks:
        if total:
            file.write(b",\n")
        # No line feed stands inside canonical JSON.
        file.write(lines[:-1].replace(b"\n", b",\n"))
        total += count
    file.write(b"\n]\n")
    return total


def read_text(path: Path) -> Iterator[StoredRecord]:
    """The records of an export in either form, in file order; ExportError for anything that was not written so."""
    with path.open("rb") as file:
        lines = _complete_lines(path, file)
        first = next(lines, None)
        if first is None:
            raise ExportError(path, None, "expected an export, got an empty file")
        if first[1].startswith(b"["):
            if first[1] != b"[":
                problem = f"expected '[' and a record on each following line, got {_shown(first[1])}"
                raise ExportError(path, "line 1", problem)
            records = _array_elements(path, lines)
        else:
            records = _chained(first, lines)
        for number, line in records:
            where = f"line {number}"
            record = _parsed(path, where, line)
            row = sound_row(record, line)
            if row is None:
                _check_canonical(path, where, record, line)
            yield StoredRecord(where, record, line, row)


def parse_line(path: Path, where: str, line: bytes) -> dict[str, object]:
    """The record of a line; ExportError unless the line is exactly the canonical JSON of its record."""
    record = _parsed(path, where, line)
    _check_canonical(path, where, record, line)
    return record


def _parsed(path: Path, where: str, line: bytes) -> dict[str, object]:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ExportError(path, where, f"expected a record in canonical JSON, got no JSON: {error}") from error
    if not isinstance(record, dict):
        raise ExportError(path, where, f"expected a JSON object, got {_shown(line)}")
    return record


def _check_canonical(path: Path, where: str, record: dict[str, object], line: bytes) -> None:
    try:
        canonical = canonical_bytes(record)
    except CanonicalError as error:
        raise ExportError(path, where, f"expected a record in canonical JSON: {error}") from error
    if canonical != line:
        raise ExportError(path, where, f"expected canonical JSON, {_difference(canonical, line)}")


_Numbered = tuple[int, bytes]


def _complete_lines(path: Path, file: BinaryIO) -> Iterator[_Numbered]:
    """The lines of the file with their numbers, without line feeds."""
    for number, line in enumerate(file, start=1):
        if not line.endswith(b"\n"):
            problem = f"expected a line feed at its end, got the end of the file after {_shown(line[-_SHOWN:])}"
            raise ExportError(path, f"line {number}", f"{problem}: the file is truncated")
        yield number, line[:-1]


def _array_elements(path: Path, lines: Iterator[_Numbered]) -> Iterator[_Numbered]:
    number = 1
    for number, line in lines:
        yield number, line.removesuffix(b",")
        if not line.endswith(b","):
            break
    end = next(lines, None)
    if end is None:
        raise ExportError(path, f"line {number + 1}", "expected ']', got the end of the file: it is truncated")
    if end[1] != b"]":
        raise ExportError(path, f"line {end[0]}", f"expected ']' after a record without comma, got {_shown(end[1])}")
    for number, line in lines:
        raise ExportError(path, f"line {number}", f"expected the end of the file, got {_shown(line)}")


def _chained(first: _Numbered, rest: Iterator[_Numbered]) -> Iterator[_Numbered]:
    yield first
    yield from rest


def _difference(expected: bytes, got: bytes) -> str:
    """Where two lines part, and what follows there."""
    pairs = enumerate(zip(expected, got, strict=False))
    position = next((number for number, (left, right) in pairs if left != right), min(len(expected), len(got)))
    start = slice(position, position + _SHOWN)
    return f"at byte {position + 1} {_shown(expected[start])}, got {_shown(got[start])}"


def _shown(line: bytes) -> str:
    text = line[:_SHOWN].decode(errors="replace")
    return repr(text) + ("..." if len(line) > _SHOWN else "")

"""Exports as text, a record per line: JSON Lines, and one JSON array laid out in lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from os import SEEK_END
from pathlib import Path
from typing import BinaryIO

import orjson

from elspeth.core.canonical import CanonicalError, canonical_bytes
from elspeth.core.landscape.exporting.forms import ExportError, StoredRecord
from elspeth.core.landscape.exporting.sound_rows import sound_row
from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.verifier.export import MANIFEST, read_lines
from elspeth_schema import EPOCH

__all__ = ["parse_line", "read_text", "stated_epoch", "stored_line", "write_array", "write_lines"]

_SHOWN = 30
"""How much of a line a message shows, in bytes."""

_TAIL = 1 << 16
"""How much of the end of a file is read to find the manifest, in bytes; a manifest takes one or two thousand."""


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


def read_text(path: Path, epoch: int) -> Iterator[StoredRecord]:
    """Yield the records of an export in either form, in file order; ExportError for anything not written so."""
    try:
        for each in read_lines(path):
            yield stored_line(path, each.place, each.line, each.position, epoch)
    except EvidenceError as error:
        raise ExportError.of(path, error) from error


def stored_line(path: Path, where: str, line: bytes, position: int, epoch: int) -> StoredRecord:
    """Return the record of a line; ExportError unless the line is exactly the canonical JSON of its record."""
    record = _parsed(path, where, line)
    row = sound_row(record, line) if epoch == EPOCH else None
    if row is None:
        _check_canonical(path, where, record, line)
    return StoredRecord(where, record, line, row, position)


def stated_epoch(path: Path) -> object:
    """Return what the manifest at the end of an export says of its epoch, None if there is no manifest."""
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, SEEK_END) - _TAIL))
        lines = file.read().removesuffix(b"\n").removesuffix(b"\n]").split(b"\n")
    try:
        manifest = orjson.loads(lines[-1])
    except orjson.JSONDecodeError:
        return None
    return manifest.get("epoch") if isinstance(manifest, dict) and manifest.get("record_type") == MANIFEST else None


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


def _difference(expected: bytes, got: bytes) -> str:
    """Where two lines part, and what follows there."""
    pairs = enumerate(zip(expected, got, strict=False))
    position = next((number for number, (left, right) in pairs if left != right), min(len(expected), len(got)))
    start = slice(position, position + _SHOWN)
    return f"at byte {position + 1} {_shown(expected[start])}, got {_shown(got[start])}"


def _shown(line: bytes) -> str:
    text = line[:_SHOWN].decode(errors="replace")
    return repr(text) + ("..." if len(line) > _SHOWN else "")

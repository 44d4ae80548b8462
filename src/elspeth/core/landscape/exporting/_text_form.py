"""Exports as JSON Lines, or a JSON array in lines.

Most lines are recognised by a generated pattern of their record type, which is fast. The pattern matches only canonical
JSON of records that keep the schema's rules, except for what no pattern can check: the canonical spelling of floats,
times that exist, and JSON inside texts. These are checked in addition. All other lines are checked by the contract of
their record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from os import SEEK_END
from pathlib import Path
from typing import BinaryIO

import orjson

from elspeth.core.landscape.exporting.forms import ExportError, StoredRecord, check_canonical, parse_object
from elspeth.core.landscape.lines.rendering import float_columns, format_float, line_pattern
from elspeth.evidence.format.compression import open_decompressed
from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.format.export_lines import MANIFEST, read_lines
from elspeth.schema.checks import is_json
from elspeth_schema import EPOCH
from elspeth_schema.records import RECORD_TYPES, Kind

__all__ = ["find_stated_epoch", "is_sound", "parse_line", "read_text", "write_array", "write_lines"]

_TAIL = 1 << 16
"""How many bytes at the end of a file are read to find the manifest, which has about two thousand."""

_BLOCK = 1 << 20
"""How many bytes of a compressed file's content are read at a time."""


def write_lines(file: BinaryIO, chunks: Iterable[tuple[int, bytes]]) -> int:
    """Write chunks as JSON Lines, and count the lines."""
    total = 0
    for count, lines in chunks:
        file.write(lines)
        total += count
    return total


def write_array(file: BinaryIO, chunks: Iterable[tuple[int, bytes]]) -> int:
    """Write chunks as a JSON array, an element per line.

    Returns the number of elements.
    """
    total = 0
    file.write(b"[\n")
    for count, lines in chunks:
        if total:
            file.write(b",\n")
        # Canonical JSON contains no line feed.
        file.write(lines[:-1].replace(b"\n", b",\n"))
        total += count
    file.write(b"\n]\n")
    return total


def read_text(path: Path, epoch: int) -> Iterator[StoredRecord]:
    """Yield the records in export order, the manifest last.

    Raises ExportError for anything that is not such an export.
    """
    try:
        for each in read_lines(path):
            yield parse_line(path, each.place, each.line, each.position, epoch)
    except EvidenceError as error:
        raise ExportError.of(path, error) from error


def parse_line(path: Path, where: str, line: bytes, position: int, epoch: int) -> StoredRecord:
    """Return the record of a line.

    Raises ExportError unless the line is exactly the canonical JSON of its record.
    """
    record = parse_object(path, where, line)
    sound = epoch == EPOCH and is_sound(record, line)
    if not sound:
        check_canonical(path, where, record, line)
    return StoredRecord(where, record, line, sound, position)


def find_stated_epoch(path: Path, *, is_compressed: bool) -> object:
    """Return the epoch in the last line, or None.

    A compressed file is read to its end. Raises OSError.
    """
    try:
        tail = _read_tail(path, is_compressed=is_compressed)
    except EvidenceError:
        return None  # reading the lines raises the error
    lines = tail.removesuffix(b"\n").removesuffix(b"\n]").split(b"\n")
    try:
        manifest = orjson.loads(lines[-1])
    except orjson.JSONDecodeError:
        return None
    return manifest.get("epoch") if isinstance(manifest, dict) and manifest.get("record_type") == MANIFEST else None


def _read_tail(path: Path, *, is_compressed: bool) -> bytes:
    with open_decompressed(path) as file:
        if not is_compressed:
            file.seek(max(0, file.seek(0, SEEK_END) - _TAIL))
            return file.read()
        tail = b""
        while block := file.read(_BLOCK):
            tail = (tail + block)[-_TAIL:]
        return tail


def is_sound(record: Mapping[str, object], line: bytes) -> bool:
    """Return whether a line is known to be sound.

    Any other line must be checked by the contract of its record.
    """
    name = record.get("record_type")
    return isinstance(name, str) and name in RECORD_TYPES and _judge(name)(record, line)


@cache
def _judge(name: str) -> Callable[[Mapping[str, object], bytes], bool]:
    """Return the function that recognises sound records of a type."""
    matches = line_pattern(name).fullmatch
    exported = [each for each in RECORD_TYPES[name].columns if each.withheld is None]
    documents = [each.name for each in exported if each.kind is Kind.JSON]
    floats = float_columns(RECORD_TYPES[name])

    def judge(record: Mapping[str, object], line: bytes) -> bool:
        if matches(line + b"\n") is None:
            return False
        for column in documents:
            if record[column] is not None and not is_json(record[column]):
                return False
        return all(_is_spelled(column, record[column], line) for column in floats) if floats else True

    return judge


def _is_spelled(column: str, value: object, line: bytes) -> bool:
    """Return whether a line spells a float canonically."""
    if value is None:
        return True
    # This cannot occur inside a text, where quotes are escaped.
    number = float(value) if isinstance(value, int) else value  # canonical JSON writes 1.0 as 1
    _, _, rest = line.partition(f'"{column}":{format_float(number)}'.encode())
    return rest[:1] in (b",", b"}")

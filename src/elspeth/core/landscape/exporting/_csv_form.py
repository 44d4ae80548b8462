"""Exports as directories of CSV files (RFC 4180), for spreadsheets.

Null is written as an empty field, and empty text as a quoted empty field. Files of the first release have an empty
field for both: it is read as null if the column may be null, and the hash in the manifest shows whether that was right.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

import orjson

from elspeth.core.canonical import canonical_json
from elspeth.core.landscape.exporting._data_package import data_package
from elspeth.core.landscape.exporting._record_rules import RecordForm, load_forms
from elspeth.core.landscape.exporting.forms import (
    MANIFEST_FILE,
    PACKAGE_FILE,
    ExportError,
    ExportGroups,
    StoredRecord,
    make_stored_record,
    manifest_bytes,
    read_directory,
)
from elspeth.evidence.format.compression import Allowance, open_decompressed
from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.format.export_lines import MANIFEST
from elspeth.outputs.compression import SUFFIXES, Compression, compressing
from elspeth.schema.snapshots import Kind

__all__ = ["CSV_FIELD", "HASH_REMARK", "read_csv", "read_row_texts", "write_csv"]

HASH_REMARK = (
    "; the first release wrote null and empty text alike, and a file with empty texts cannot be read:"
    " use the json, jsonl or parquet form"
)
"""The hint that is appended to the message about a wrong hash."""

_SPECIAL = re.compile('[,"\r\n]')

CSV_FIELD = re.compile(r'(?:"((?:[^"]|"")*+)"|([^",\r\n]*+))(,|\r\n\Z)')
"""A field, quoted or not, with the comma or line end after it."""

_MAX_LINE = 64 << 20
"""The largest row, in characters."""

_JSON_KINDS = frozenset({Kind.INTEGER, Kind.REAL, Kind.BOOLEAN})
"""Kinds whose values are written as JSON."""


def write_csv(directory: Path, groups: ExportGroups, compression: Compression | None = None) -> int:
    """Write a file for each record type, and the manifest.

    `datapackage.json` describes the files. A header holds the column names. Text is written as it is, null as an empty
    field, and numbers and booleans as in JSON. The manifest and `datapackage.json` are never compressed. Returns the
    number of records before the manifest.
    """
    total = 0
    headers: dict[str, list[str]] = {}
    for name, records in groups:
        if name == MANIFEST:
            manifest = next(records)
            (directory / PACKAGE_FILE).write_bytes(data_package(str(manifest["run_id"]), headers, compression))
            (directory / MANIFEST_FILE).write_bytes(manifest_bytes(manifest))
        else:
            ending = "" if compression is None else SUFFIXES[compression]
            headers[name] = []
            total += _write_file(directory / f"{name}.csv{ending}", records, headers[name], compression)
    return total


def read_csv(path: Path, epoch: int) -> Iterator[StoredRecord]:
    """Yield the records in export order, the manifest last.

    Raises ExportError for files that are not such an export.
    """
    allowance = Allowance(sum(file.stat().st_size for file in path.iterdir() if file.is_file()))
    read_file = partial(_read_file, allowance=allowance)
    return read_directory(path, "csv", load_forms(epoch), read_file, [*SUFFIXES.values()])


def _write_file(
    path: Path, records: Iterator[Mapping[str, object]], header: list[str], compression: Compression | None
) -> int:
    """Write the records of one type, and complete `header`."""
    total = 0
    with (
        path.open("wb") as content,
        compressing(content, compression) as compressed,
        TextIOWrapper(compressed, encoding="utf-8", newline="") as file,
    ):
        for record in records:
            columns = {column: value for column, value in record.items() if column != "record_type"}
            if not total:
                header += columns
                file.write(",".join(header) + "\r\n")
            file.write(",".join(map(_field, columns.values())) + "\r\n")
            total += 1
    return total


def _field(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        return canonical_json(value)
    if value and not _SPECIAL.search(value):
        return value
    doubled = value.replace('"', '""')
    return f'"{doubled}"'


def _read_file(path: Path, file: str, form: RecordForm, allowance: Allowance) -> Iterator[StoredRecord]:
    try:
        with (
            open_decompressed(path / file, allowance) as content,
            TextIOWrapper(content, encoding="utf-8", newline="\n") as opened,
        ):
            rows = _rows(path, file, opened)
            header = [field or "" for field in next(rows, [])]
            columns = _columns(path, file, form, header)
            for number, row in enumerate(rows, start=1):
                where = f"{file}, row {number}"
                if len(row) != len(header):
                    raise ExportError(path, where, f"expected {len(header)} fields, got {len(row)}")
                values = {
                    name: _value(path, f"{where}: {name}", field, columns[name])
                    for name, field in zip(header, row, strict=True)
                }
                yield make_stored_record(path, where, form, values)
    except EvidenceError as error:
        raise ExportError(path, file, error.problem) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ExportError(path, file, f"expected a readable CSV file in UTF-8: {error}") from error


_Column = tuple[Kind, bool]
"""The kind of a column, and whether it may be null."""


def _columns(path: Path, file: str, form: RecordForm, header: list[str]) -> dict[str, _Column]:
    known = {column.name: (column.kind, column.nullable) for column in form.columns}
    known["signature"] = (Kind.TEXT, False)
    needed = {column.name for column in form.columns if not column.withheld}
    for name in sorted((needed - {*header}) | ({*header} - {*known})):
        problem = "is missing" if name in needed else f"is not a field of records of type {form.name}"
        raise ExportError(path, file, f"column {name!r} {problem}")
    if len(set(header)) != len(header):
        raise ExportError(path, file, "expected each column once in the header")
    return {name: known[name] for name in header}


def _rows(path: Path, file: str, opened: TextIO) -> Iterator[list[str | None]]:
    """Yield the fields of each row, None for null."""
    return (_fields(path, file, text) for text in read_row_texts(path, file, opened))


def read_row_texts(path: Path, file: str, opened: TextIO) -> Iterator[str]:
    """Yield the text of each row, with its line end.

    Raises ExportError for a row that is too long or cut off.
    """
    text, quotes = "", 0
    # A line may end inside a quoted field.
    while line := opened.readline(_MAX_LINE + 1):
        text += line
        quotes += line.count('"')
        if len(text) > _MAX_LINE:
            raise ExportError(path, file, f"expected rows of at most {_MAX_LINE:,} characters, got a longer one")
        if quotes % 2 == 0:
            yield text
            text, quotes = "", 0
    if text:
        raise ExportError(path, file, "expected a quote that ends the last field: the file is truncated")


def _fields(path: Path, file: str, text: str) -> list[str | None]:
    fields: list[str | None] = []
    place, end = 0, ","
    while end == ",":
        found = CSV_FIELD.match(text, place)
        if found is None:
            raise ExportError(path, file, f"expected fields as RFC 4180 has them, got {text[place : place + 30]!r}")
        quoted, plain, end = found.groups()
        fields.append(quoted.replace('""', '"') if quoted is not None else plain or None)
        place = found.end()
    return fields


def _value(path: Path, where: str, field: str | None, column: _Column) -> object:
    kind, nullable = column
    if field is None:
        # In a file of the first release, text that cannot be null was empty.
        return None if nullable or kind is not Kind.TEXT else ""
    if kind not in _JSON_KINDS:
        return field
    try:
        return orjson.loads(field)
    except orjson.JSONDecodeError as error:
        raise ExportError(path, where, f"expected {kind.value} in JSON, got {field[:30]!r}") from error

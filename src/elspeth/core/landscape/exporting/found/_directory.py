"""Databases as found in several files.

`tables.jsonl` holds the lines of the database and its tables. `table-N.csv` or `table-N.parquet` holds the rows of the
Nth table, if they are exported. `manifest.json` holds the manifest, whose hash covers the lines of all these records.
Files are numbered, because a table may have any name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from elspeth.core.canonical import CanonicalError, canonical_bytes
from elspeth.core.landscape.exporting.format import ExportFormat
from elspeth.core.landscape.exporting.forms import FOUND_FILE, MANIFEST_FILE, ExportError, read_manifest
from elspeth.core.landscape.exporting.found._csv import read_csv_rows, write_csv_rows
from elspeth.core.landscape.exporting.found.lines import FoundExport
from elspeth.core.landscape.exporting.found.source import FoundTable
from elspeth.evidence.format.canonical import Json
from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.format.export_lines import read_lines
from elspeth.evidence.format.found import ROW, TABLE, Column, Form

__all__ = ["read_directory", "write_directory"]

_TABLES = "tables.jsonl"


def write_directory(directory: Path, export: FoundExport, form: ExportFormat) -> None:
    """Write the files of an export."""
    write = write_csv_rows if form is ExportFormat.CSV else _parquet_writer()
    with (directory / _TABLES).open("wb") as tables:
        tables.write(export.database().line + b"\n")
        for number, (table, line) in enumerate(export.tables(), start=1):
            tables.write(line.line + b"\n")
            if table.query is not None:
                write(directory / f"table-{number}.{form}", export, table)
    (directory / MANIFEST_FILE).write_bytes(export.manifest().line + b"\n")


def read_directory(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the lines of the records in the files.

    Each comes with its place. Check each line before requesting the next. Raises EvidenceError for files that are not
    such an export.
    """
    try:
        yield from _lines(path)
    except ExportError as error:
        raise EvidenceError(error.where or str(path), error.problem) from error
    except CanonicalError as error:
        raise EvidenceError(str(path), f"expected values that canonical JSON can hold: {error}") from error
    except OSError as error:
        raise EvidenceError(str(error.filename or path), f"cannot be read: {error.strerror}") from error


def _lines(path: Path) -> Iterator[tuple[str, bytes]]:
    rest = {entry.name for entry in path.iterdir()} - {_TABLES}
    for name in sorted(rest):
        if not FOUND_FILE.fullmatch(name) or not (path / name).is_file():
            raise ExportError(path, name, f"expected {_TABLES}, table-N.csv or table-N.parquet, and {MANIFEST_FILE}")
    number, is_signed = 0, False
    for each in read_lines(path / _TABLES):
        yield f"{_TABLES}, {each.place}", each.line
        record = orjson.loads(each.line)
        is_signed = is_signed or "signature" in record
        if record["record_type"] != TABLE:
            continue
        number += 1
        if record["order"] is None:
            continue
        file = next((name for form in ("csv", "parquet") if (name := f"table-{number}.{form}") in rest), None)
        if file is None:
            raise ExportError(path, f"table-{number}", "expected the rows of this table, got no file")
        rest.remove(file)
        yield from _row_lines(path, file, record, is_signed=is_signed)
    for name in sorted(rest - {MANIFEST_FILE}):
        raise ExportError(path, name, f"expected no such file, as {_TABLES} does not have the table, got one")
    if MANIFEST_FILE in rest:
        yield MANIFEST_FILE, read_manifest(path).line


def _row_lines(path: Path, file: str, table: Mapping[str, Any], *, is_signed: bool) -> Iterator[tuple[str, bytes]]:
    columns = [Column(name=each["name"], type=each["type"], form=Form(each["form"])) for each in table["columns"]]
    read = read_csv_rows if file.endswith(".csv") else _parquet_reader()
    for number, (values, signature) in enumerate(read(path, file, columns, is_signed=is_signed), start=1):
        record: dict[str, Json] = {
            "record_type": ROW,
            "schema": table["schema"],
            "table": table["table"],
            "number": number,
            "values": dict(zip([column.name for column in columns], values, strict=True)),
        }
        if is_signed:
            record["signature"] = signature
        yield f"{file}, row {number}", canonical_bytes(record)


def _parquet_writer() -> Callable[[Path, FoundExport, FoundTable], None]:
    from elspeth.core.landscape.exporting.found._parquet import write_parquet_rows  # noqa: PLC0415  pyarrow is an extra

    return write_parquet_rows


def _parquet_reader() -> Callable[..., Iterator[tuple[Sequence[Json], str | None]]]:
    from elspeth.core.landscape.exporting.found._parquet import read_parquet_rows  # noqa: PLC0415  pyarrow is an extra

    return read_parquet_rows

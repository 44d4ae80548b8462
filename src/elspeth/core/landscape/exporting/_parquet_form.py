"""Exports as directories of Parquet files, typed by the schema.

Needs pyarrow (extra `parquet`).
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import orjson

from elspeth.contracts.environment import install_command
from elspeth.core.canonical import timestamp_text
from elspeth.core.landscape.database import LandscapeError
from elspeth.core.landscape.exporting._record_rules import RecordForm, load_forms
from elspeth.core.landscape.exporting.forms import (
    MANIFEST_FILE,
    ExportError,
    StoredRecord,
    make_stored_record,
    read_directory,
)
from elspeth.core.landscape.lines.reading import Chunk, TypedChunk
from elspeth.evidence.format.export_lines import MANIFEST
from elspeth.schema.snapshots import Kind
from elspeth_schema import EPOCH

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ModuleNotFoundError as error:
    problem = f"the parquet form needs pyarrow, which is not installed: {install_command('parquet')}"
    raise LandscapeError(problem) from error

from elspeth.core.landscape.exporting.arrow_lines import parse_lines
from elspeth_schema.arrow import SCHEMAS

__all__ = ["read_parquet", "write_parquet"]

_ROWS = 1000
"""The number of rows read at a time, which limits memory."""

_GROUP_ROWS = 10_000
_GROUP_BYTES = 1 << 23
"""The number of rows, and of bytes of their lines, at which a row group ends; they limit memory."""

_SIGNATURE = pa.field("signature", pa.string(), nullable=False)

_TYPES: Mapping[Kind, pa.DataType] = {
    Kind.TEXT: pa.string(),
    Kind.JSON: pa.string(),
    Kind.INTEGER: pa.int64(),
    Kind.REAL: pa.float64(),
    Kind.BOOLEAN: pa.bool_(),
    Kind.TIMESTAMP: pa.timestamp("us", tz="UTC"),
}
"""The types of columns in every epoch; today's schemas are also generated, with the reasons for withholding."""


def write_parquet(directory: Path, chunks: Iterable[TypedChunk[bytes]]) -> int:
    """Write a file for each record type, and the manifest.

    `chunks` hold the lines of the export, whose records have been checked. Returns the number of records before the
    manifest.
    """
    total = 0
    for name, group in groupby(chunks, key=itemgetter(0)):
        if name == MANIFEST:
            (directory / MANIFEST_FILE).write_bytes(next(group)[2])
        else:
            total += _write_file(directory / f"{name}.parquet", name, group)
    return total


def read_parquet(path: Path, epoch: int) -> Iterator[StoredRecord]:
    """Yield the records in export order, the manifest last.

    Raises ExportError for files that are not such an export.
    """
    return read_directory(path, "parquet", load_forms(epoch), _read_file)


def _write_file(path: Path, name: str, chunks: Iterable[TypedChunk[bytes]]) -> int:
    total = 0
    writer = None
    try:
        for count, lines in _joined(chunks):
            if writer is None:
                first = orjson.loads(lines.partition(b"\n")[0])
                schema = _schema(SCHEMAS[name], load_forms(EPOCH)[name].withheld, first)
                writer = pq.ParquetWriter(path, schema, compression="zstd")
            writer.write_table(parse_lines(lines, schema), row_group_size=count)
            total += count
    finally:
        if writer is not None:
            writer.close()
    return total


def _joined(chunks: Iterable[TypedChunk[bytes]]) -> Iterator[Chunk]:
    """Yield the lines of one row group after another."""
    held: list[bytes] = []
    count = size = 0
    for _, number, lines in chunks:
        held.append(lines)
        count, size = count + number, size + len(lines)
        if count >= _GROUP_ROWS or size >= _GROUP_BYTES:
            yield count, b"".join(held)
            held, count, size = [], 0, 0
    if held:
        yield count, b"".join(held)


def _read_file(path: Path, file: str, form: RecordForm) -> Iterator[StoredRecord]:
    number = 0
    try:
        with pq.ParquetFile(path / file) as parquet:
            _check_schema(path, file, form, parquet.schema_arrow)
            for batch in parquet.iter_batches(batch_size=_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    record = {name: _from_arrow(value) for name, value in row.items()}
                    yield make_stored_record(path, f"{file}, row {number}", form, record)
    except (pa.ArrowException, OSError, OverflowError, UnicodeDecodeError) as error:
        where = f"{file}, after row {number}"
        raise ExportError(path, where, f"expected a readable Parquet file: {error}") from error


def _check_schema(path: Path, file: str, form: RecordForm, found: pa.Schema) -> None:
    expected = _schema(_fields(form), form.withheld, found.names)
    unknown = set(found.names).difference(expected.names)
    missing = set(expected.names).difference(found.names)
    for column in sorted(unknown | missing):
        problem = "is missing" if column in missing else f"is not a field of records of type {form.name}"
        raise ExportError(path, file, f"column {column!r} {problem}")
    for want, got in zip(expected, found, strict=True):
        if not want.equals(got):
            raise ExportError(path, file, f"expected column {_described(want)}, got {_described(got)}")


def _schema(fields: Iterable[pa.Field], withheld: frozenset[str], present: Container[str]) -> pa.Schema:
    """Return the schema of a file.

    Withheld columns and the signature belong to it only if they are present.
    """
    chosen = [field for field in fields if field.name not in withheld or field.name in present]
    return pa.schema([*chosen, _SIGNATURE] if "signature" in present else chosen)


def _fields(form: RecordForm) -> list[pa.Field]:
    return [pa.field(column.name, _TYPES[column.kind], nullable=column.nullable) for column in form.columns]


def _described(field: pa.Field) -> str:
    return f"{field.name!r} of type {field.type}{'' if field.nullable else ', never null'}"


def _from_arrow(value: object) -> object:
    return timestamp_text(value) if isinstance(value, datetime) else value

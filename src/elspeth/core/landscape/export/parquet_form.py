"""Exports as a directory of Parquet files, typed by the schema, for analysis. Needs pyarrow (extra `parquet`)."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

from elspeth.contracts.extras import install_command
from elspeth.core.canonical import CanonicalError, canonical_bytes, timestamp_text
from elspeth.core.chunks import chunks
from elspeth.core.landscape.database import LandscapeError
from elspeth.core.landscape.export.forms import MANIFEST_FILE, ExportError, ExportGroups, StoredRecord, manifest_file
from elspeth.core.landscape.export.signing import MANIFEST
from elspeth.core.landscape.export.text_form import parse_line

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ModuleNotFoundError as error:
    problem = f"the parquet form needs pyarrow, which is not installed: {install_command('parquet')}"
    raise LandscapeError(problem) from error

from elspeth_schema.arrow import SCHEMAS

__all__ = ["read_parquet", "write_parquet"]

_ROWS = 1000
"""Rows written or read at once; bounds memory."""

_SIGNATURE = pa.field("signature", pa.string(), nullable=False)


def write_parquet(directory: Path, groups: ExportGroups) -> int:
    """Write a file for each record type and the manifest; returns the number of records before the manifest."""
    total = 0
    for name, records in groups:
        if name == MANIFEST:
            (directory / MANIFEST_FILE).write_bytes(manifest_file(next(records)))
        else:
            total += _write_file(directory / f"{name}.parquet", name, records)
    return total


def read_parquet(path: Path) -> Iterator[StoredRecord]:
    """The records of an export in export order, the manifest last; ExportError for anything that was not written so."""
    files = {f"{name}.parquet": name for name in SCHEMAS}
    for entry in sorted(path.iterdir()):
        if entry.name not in files and entry.name != MANIFEST_FILE:
            raise ExportError(path, entry.name, "expected TYPE.parquet of a known record type, or manifest.json")
    for file, name in files.items():
        if (path / file).exists():
            yield from _read_file(path, file, name)
    if (path / MANIFEST_FILE).exists():
        yield _read_manifest(path)


def _write_file(path: Path, name: str, records: Iterator[Mapping[str, object]]) -> int:
    total = 0
    writer = None
    try:
        for chunk in chunks(records, _ROWS):
            if writer is None:
                schema = _schema(name, chunk[0])
                writer = pq.ParquetWriter(path, schema, compression="zstd")
            writer.write_batch(pa.record_batch([_array(chunk, field) for field in schema], schema=schema))
            total += len(chunk)
    finally:
        if writer is not None:
            writer.close()
    return total


def _read_file(path: Path, file: str, name: str) -> Iterator[StoredRecord]:
    number = 0
    try:
        with pq.ParquetFile(path / file) as parquet:
            _check_schema(path, file, name, parquet.schema_arrow)
            for batch in parquet.iter_batches(batch_size=_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    yield _stored(path, f"{file}, row {number}", name, row)
    except (pa.ArrowException, OSError, OverflowError, UnicodeDecodeError) as error:
        where = f"{file}, after row {number}"
        raise ExportError(path, where, f"expected a readable Parquet file: {error}") from error


def _stored(path: Path, where: str, name: str, row: Mapping[str, object]) -> StoredRecord:
    record = {"record_type": name, **{column: _from_arrow(value) for column, value in row.items()}}
    try:
        return StoredRecord(where, record, canonical_bytes(record))
    except CanonicalError as error:
        raise ExportError(path, where, f"expected values that canonical JSON can hold: {error}") from error


def _read_manifest(path: Path) -> StoredRecord:
    content = (path / MANIFEST_FILE).read_bytes()
    line = content.removesuffix(b"\n")
    if line == content:
        raise ExportError(path, MANIFEST_FILE, "expected a line feed at its end: the file is truncated")
    return StoredRecord(MANIFEST_FILE, parse_line(path, MANIFEST_FILE, line), line)


def _check_schema(path: Path, file: str, name: str, found: pa.Schema) -> None:
    expected = _schema(name, found.names)
    unknown = set(found.names).difference(expected.names)
    missing = set(expected.names).difference(found.names)
    for column in sorted(unknown | missing):
        problem = "is missing" if column in missing else f"is no field of a {name} record"
        raise ExportError(path, file, f"column {column!r} {problem}")
    for want, got in zip(expected, found, strict=True):
        if not want.equals(got):
            raise ExportError(path, file, f"expected column {_described(want)}, got {_described(got)}")


def _schema(name: str, present: Container[str]) -> pa.Schema:
    """The columns of a record type's file; those that exports may withhold, and the signature, if they are present."""
    fields = [field for field in SCHEMAS[name] if not field.metadata or field.name in present]
    return pa.schema([*fields, _SIGNATURE] if "signature" in present else fields)


def _described(field: pa.Field) -> str:
    return f"{field.name!r} of type {field.type}{'' if field.nullable else ', never null'}"


def _array(records: Iterable[Mapping[str, object]], field: pa.Field) -> pa.Array:
    values = [record[field.name] for record in records]
    if pa.types.is_timestamp(field.type):
        values = [datetime.fromisoformat(value) if isinstance(value, str) else value for value in values]
    return pa.array(values, field.type)


def _from_arrow(value: object) -> object:
    return timestamp_text(value) if isinstance(value, datetime) else value

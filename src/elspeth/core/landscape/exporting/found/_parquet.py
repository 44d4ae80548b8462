"""Rows of a database as found, as Parquet.

A column has the type of its values. If the values are of several types, or include text that is not UTF-8, they are
written as JSON text, and the metadata of the column says so. In a signed export, the last column holds the signatures.
Needs pyarrow (extra `parquet`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from elspeth.contracts.environment import install_command
from elspeth.core.canonical import canonical_json
from elspeth.core.landscape.database import LandscapeError
from elspeth.core.landscape.exporting.forms import ExportError
from elspeth.core.landscape.exporting.found.lines import FoundExport, bounded
from elspeth.core.landscape.exporting.found.source import FoundTable
from elspeth.evidence.format.canonical import Json
from elspeth.evidence.format.found import Column, Form, read_value, write_value

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ModuleNotFoundError as error:
    problem = f"the parquet form needs pyarrow, which is not installed: {install_command('parquet')}"
    raise LandscapeError(problem) from error

__all__ = ["read_parquet_rows", "write_parquet_rows"]

_ROWS = 1000
"""The number of rows read at a time, which limits memory."""

_JSON = {b"elspeth": b"json"}
"""The metadata of a column whose values are written as JSON."""

_TYPES: Mapping[type, pa.DataType] = {
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
    str: pa.string(),
    bytes: pa.binary(),
}
_FORMS: Mapping[Form, type] = {
    Form.INTEGER: int,
    Form.REAL: float,
    Form.BLOB: bytes,
    Form.BOOLEAN: bool,
    Form.TEXT: str,
}
"""The types of columns without values, by form."""

_NUMBER = "number"
"""The column that is written for a table without columns, because otherwise the file could not have rows."""


def write_parquet_rows(path: Path, export: FoundExport, table: FoundTable) -> None:
    """Write the rows of a table.

    The rows are read twice, first to find their types.
    """
    fields = [_field(column, kinds) for column, kinds in zip(table.columns, export.kinds(table), strict=True)]
    extra = [] if fields else [pa.field(_NUMBER, pa.int64())]
    if export.is_signed:
        extra.append(pa.field(_free_name("signature", table.columns), pa.string()))
    schema = pa.schema([*fields, *extra])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in bounded(export.rows(table)):
            records = [record for record, _ in batch]
            arrays = [
                pa.array(
                    [_to_arrow(field, column.form, record["values"][column.name]) for record in records], field.type
                )
                for field, column in zip(fields, table.columns, strict=True)
            ]
            if not fields:
                arrays.append(pa.array([record[_NUMBER] for record in records], pa.int64()))
            if export.is_signed:
                arrays.append(pa.array([record["signature"] for record in records], pa.string()))
            writer.write_batch(pa.record_batch(arrays, schema=schema))


def read_parquet_rows(
    path: Path, file: str, columns: Sequence[Column], *, is_signed: bool
) -> Iterator[tuple[Sequence[Json], str | None]]:
    """Yield the values of each row, and its signature.

    Raises ExportError for a file with other columns, or one that cannot be read.
    """
    extra = ([] if columns else [_NUMBER]) + ([_free_name("signature", columns)] if is_signed else [])
    try:
        with pq.ParquetFile(path / file) as parquet:
            schema = parquet.schema_arrow
            if schema.names != [*(column.name for column in columns), *extra]:
                raise ExportError(path, file, "expected the columns of its table, got others")
            for name, field in zip(schema.names, schema, strict=True):
                if field.type not in _TYPES.values():
                    raise ExportError(path, f"{file}: {name}", f"expected a type of an export, got {field.type}")
            for batch in parquet.iter_batches(batch_size=_ROWS):
                found = [array.to_pylist() for array in batch.columns]
                for row in zip(*found, strict=True):
                    values = [
                        _from_arrow(field, column.form, value)
                        for field, column, value in zip(schema, columns, row, strict=False)
                    ]
                    yield values, row[-1] if is_signed else None
    except (pa.ArrowException, ValueError, OverflowError) as error:
        raise ExportError(path, file, f"expected a readable Parquet file: {error}") from error


def _free_name(name: str, columns: Sequence[Column]) -> str:
    """Return a name that no column has."""
    taken = {column.name for column in columns}
    while name in taken:
        name += "_"
    return name


def _field(column: Column, kinds: set[type]) -> pa.Field:
    kind = next(iter(kinds), _FORMS.get(column.form, str))
    if len(kinds) > 1 or kind not in _TYPES:
        return pa.field(column.name, pa.string(), metadata=_JSON)
    return pa.field(column.name, _TYPES[kind])


def _to_arrow(field: pa.Field, form: Form, written: Json) -> object:
    if written is None:
        return None
    return canonical_json(written) if _is_json(field) else read_value(form, written)


def _from_arrow(field: pa.Field, form: Form, value: Any) -> Json:  # noqa: ANN401  of any of the types
    if value is None:
        return None
    written: Json = orjson.loads(value) if _is_json(field) else write_value(form, value)
    return written


def _is_json(field: pa.Field) -> bool:
    return (field.metadata or {}).get(b"elspeth") == b"json"

"""Reads lines of records as typed Arrow tables.

Needs pyarrow (extra `parquet`).
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection

from elspeth.contracts.environment import install_command
from elspeth.core.landscape.database import LandscapeError
from elspeth.core.landscape.exporting._record_rules import load_forms
from elspeth.core.landscape.lines.reading import read_chunks
from elspeth_schema import EPOCH
from elspeth_schema.contracts import AuditRecord
from elspeth_schema.records import RecordType

try:
    import pyarrow as pa
    import pyarrow.json
except ModuleNotFoundError as error:
    problem = f"Arrow tables need pyarrow, which is not installed: {install_command('parquet')}"
    raise LandscapeError(problem) from error

from elspeth_schema.arrow import SCHEMAS

__all__ = ["parse_lines", "read_table", "record_schema"]

_TYPE = pa.field("record_type", pa.string())


def record_schema(name: str) -> pa.Schema:
    """Return the schema of a record type's lines.

    It leaves out the columns that exports withhold.
    """
    withheld = load_forms(EPOCH)[name].withheld
    return pa.schema([field for field in SCHEMAS[name] if field.name not in withheld])


def read_table(connection: Connection, record_type: RecordType[AuditRecord], run_id: str) -> pa.Table:
    """Return a run's records of one type, in export order.

    Raises AuditIntegrityError for a record that breaks the schema.
    """
    schema = record_schema(record_type.name)
    chunks = (parse_lines(lines, schema) for _, lines in read_chunks(connection, record_type, run_id))
    return pa.Table.from_batches(_batches(chunks), schema)


def parse_lines(lines: bytes, schema: pa.Schema) -> pa.Table:
    """Return lines of canonical JSON as a table.

    Times are read as text and cast, because the parser would also accept other forms of times.
    """
    read_as = pa.schema([_TYPE, *(_as_parsed(field) for field in schema)])
    found = pa.json.read_json(
        pa.BufferReader(lines),
        read_options=pa.json.ReadOptions(use_threads=False, block_size=max(len(lines), 1)),
        parse_options=pa.json.ParseOptions(explicit_schema=read_as, unexpected_field_behavior="error"),
    )
    return found.select(schema.names).cast(schema)


def _as_parsed(field: pa.Field) -> pa.Field:
    return pa.field(field.name, pa.string() if pa.types.is_timestamp(field.type) else field.type)


def _batches(tables: Iterator[pa.Table]) -> Iterator[pa.RecordBatch]:
    for table in tables:
        yield from table.to_batches()

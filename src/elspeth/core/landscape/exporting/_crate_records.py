"""Reads the records that describe a bag as an RO-Crate."""

from __future__ import annotations

from contextlib import closing
from itertools import islice

from sqlalchemy import Connection

from elspeth.core.landscape.lines.reading import read_records
from elspeth.evidence.format.canonical import Json
from elspeth.evidence.format.crate import CRATE_TYPES, MOST_LISTED, CrateRecords
from elspeth_schema.records import RECORD_TYPES

__all__ = ["read_crate_records"]


def read_crate_records(connection: Connection, run_id: str) -> CrateRecords:
    """Return the records of an existing run for the crate.

    Raises AuditIntegrityError for a record that breaks the schema.
    """
    (run,), processes, inputs, outputs = (_first(connection, run_id, name) for name in CRATE_TYPES)
    return CrateRecords(run=run, processes=processes, inputs=inputs, outputs=outputs)


def _first(connection: Connection, run_id: str, record_type: str) -> list[dict[str, Json]]:
    """Return the first records of a type in export order."""
    # Close the query at once: until then, PostgreSQL accepts no other statement on the connection.
    with closing(read_records(connection, RECORD_TYPES[record_type], run_id)) as records:
        return list(islice(records, MOST_LISTED))

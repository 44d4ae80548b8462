"""Reads the records of an export into tables, for queries."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import URL, Connection, create_engine

from elspeth.core.chunks import chunks
from elspeth.core.landscape.database.writing import insert_rows, stored_times
from elspeth.core.landscape.exporting.forms import StoredRecord
from elspeth.core.landscape.exporting.importer import open_migrated
from elspeth.core.landscape.exporting.reader import ExportReader, find_source
from elspeth.core.landscape.queries.runs import RecordedRun
from elspeth_schema.contracts import AuditRecord
from elspeth_schema.records import RECORD_TYPES, RecordType
from elspeth_schema.tables import metadata

__all__ = ["open_exported"]

_ROWS = 1000
"""The number of rows inserted at a time, which limits memory."""


@contextmanager
def open_exported(
    path: Path,
    record_types: Collection[RecordType[AuditRecord]],
    progress: Callable[[int], None] | None = None,
    on_record: Callable[[StoredRecord], None] | None = None,
) -> Iterator[RecordedRun]:
    """Read an export into tables of a temporary database.

    The tables hold the records of the given types, whatever the form and the epoch of the export. The export is
    verified while it is read; an older one is migrated as a whole. The files are removed when the block ends.
    `progress` is called with the number of records read so far, and `on_record` with each record as it is stored, with
    the manifest last.

    Raises ExportError if the export is incomplete or was changed.
    """
    export = ExportReader(find_source(path), signing_key=None, on_record=on_record)
    if not export.source.is_current:
        with open_migrated(export, progress) as database, database.snapshot() as connection:
            yield RecordedRun(connection, export.summary.run_id)
        return
    with TemporaryDirectory(prefix="elspeth-") as directory:
        # Nothing is synced and no reference is enforced, because a crash leaves a file that nobody reads.
        engine = create_engine(URL.create("sqlite", database=str(Path(directory) / "export.db")))
        try:
            with engine.begin() as connection:
                connection.exec_driver_sql("PRAGMA synchronous = OFF")
                _fill(connection, export, record_types, progress)
                yield RecordedRun(connection, export.summary.run_id)
        finally:
            engine.dispose()


def _fill(
    connection: Connection,
    export: ExportReader,
    record_types: Collection[RecordType[AuditRecord]],
    progress: Callable[[int], None] | None,
) -> None:
    wanted = {each.name for each in record_types}
    metadata.create_all(connection, tables=[RECORD_TYPES[name].table for name in wanted])
    times, total = stored_times("sqlite"), 0
    for name, entries in groupby(export.rows(times), key=attrgetter("record_type")):
        for chunk in chunks(entries, _ROWS):
            if name in wanted:
                insert_rows(connection, RECORD_TYPES[name].table, [entry.row for entry in chunk])
            total += len(chunk)
            if progress is not None:
                progress(total)

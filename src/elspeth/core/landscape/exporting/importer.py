"""Restores an exported run into a database that holds none."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from sqlalchemy import URL, Connection, exists, insert, select
from sqlalchemy.exc import DatabaseError, IntegrityError

from elspeth.core.chunks import chunks
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.connections import durable_engine, parse_url, sqlite_path
from elspeth.core.landscape.database.errors import LandscapeError
from elspeth.core.landscape.database.state import StateKind, read_state
from elspeth.core.landscape.database.tables import analyze_grown_tables, create_tables
from elspeth.core.landscape.exporting.forms import ExportError
from elspeth.core.landscape.exporting.older_export import in_todays_epoch
from elspeth.core.landscape.exporting.reader import ExportReader, ExportRow, ExportSummary, read_export
from elspeth.core.landscape.records.mapping import mapper
from elspeth.core.landscape.records.refusal import refusal
from elspeth.core.landscape.sealing.seal import keep_secret, seal_run
from elspeth.core.landscape.sealing.withheld import require_recorded_content
from elspeth_schema.contracts import AuditRecord, RunStatus
from elspeth_schema.records import RECORD_TYPES, RecordType
from elspeth_schema.tables import runs_table

__all__ = ["import_export", "import_into"]

_ROWS = 1000
"""Rows inserted at once; bounds memory."""


def import_export(
    db: LandscapeDB,
    path: Path,
    *,
    signing_key: bytes | None = None,
    progress: Callable[[int], None] | None = None,
) -> ExportSummary:
    """Verify an export and record its run, all of it or nothing, in a database without runs; says what was imported.

    What the export withholds stays empty. A run that has ended is sealed as it is now, without a signature. With a key
    every signature is checked. `progress` is called with the number of records so far. ExportError, with line or row,
    for an export that is incomplete, altered or refers to what it does not hold; LandscapeError for a database with
    runs; AuditIntegrityError for withheld content that does not have its hash.
    """
    # One transaction: a crash leaves the database as it was.
    with db.write_transaction() as connection:
        if connection.scalar(select(exists().select_from(runs_table))):
            message = (
                f"audit database {db.url} already holds runs: an export is imported into a database without any."
                " Nothing was changed. Name another database."
            )
            raise LandscapeError(message)
        return _import(connection, path, signing_key, progress)


def import_into(
    url: str,
    path: Path,
    *,
    signing_key: bytes | None = None,
    progress: Callable[[int], None] | None = None,
) -> ExportSummary:
    """Import an export into the database at a URL, which is created if need be; otherwise as `import_export`.

    A failure leaves no table and no file that was not there before; neither does a crash, but for an empty file.
    """
    parsed = parse_url(url)
    if not _is_empty(parsed):
        with LandscapeDB.from_url(url, create_tables=False) as db:
            return import_export(db, path, signing_key=signing_key, progress=progress)
    file = sqlite_path(parsed) if parsed.get_backend_name() == "sqlite" else None
    is_new = file is not None and not file.exists()
    try:
        return _create_and_import(parsed, path, signing_key, progress)
    except BaseException:
        if is_new and file is not None:
            file.unlink(missing_ok=True)
        raise


def _create_and_import(
    url: URL, path: Path, signing_key: bytes | None, progress: Callable[[int], None] | None
) -> ExportSummary:
    """Import into an empty database, in the transaction that creates the tables."""
    engine = durable_engine(url, create=True)
    try:
        with engine.connect().execution_options(sqlite_begin="IMMEDIATE") as connection, connection.begin():
            create_tables(connection)
            return _import(connection, path, signing_key, progress)
    finally:
        engine.dispose()


def _is_empty(url: URL) -> bool:
    try:
        return read_state(url).kind is StateKind.EMPTY
    except DatabaseError:
        return False  # opening it tells what is wrong


def _import(
    connection: Connection, path: Path, signing_key: bytes | None, progress: Callable[[int], None] | None
) -> ExportSummary:
    export = read_export(path, signing_key=signing_key)
    if export.source.is_of_today:
        _insert_records(connection, export, progress)
    else:
        with in_todays_epoch(export, progress) as older, older.snapshot() as source:
            _copy_run(source, connection)
    _seal(connection, export.summary.run_id)
    return export.summary


def _insert_records(connection: Connection, export: ExportReader, progress: Callable[[int], None] | None) -> None:
    total = 0
    for name, entries in groupby(export.rows(), key=attrgetter("record_type")):
        record_type = RECORD_TYPES[name]
        for chunk in chunks(entries, _ROWS):
            _insert(connection, export.source.path, record_type, chunk)
            total += len(chunk)
            if progress is not None:
                progress(total)
        analyze_grown_tables(connection, [record_type.table])


def _seal(connection: Connection, run_id: str) -> None:
    """Seal a run that has ended as it is imported, and give it a secret of its own, for the salts of bags of it.

    Raises AuditIntegrityError for content that the export need not hold and that does not have its hash.
    """
    status = connection.execute(select(runs_table.c.status).where(runs_table.c.run_id == run_id)).scalar_one()
    if RunStatus(status).is_terminal:
        keep_secret(connection, run_id)
        require_recorded_content(connection, run_id)
        seal_run(connection, run_id)


def _copy_run(source: Connection, target: Connection) -> None:
    """Copy every record of a database with one run, each checked by its contract."""
    for record_type in RECORD_TYPES.values():
        convert = mapper(record_type)
        found = source.execute(convert.select(), execution_options={"yield_per": _ROWS})
        for rows in found.partitions():
            target.execute(insert(record_type.table), [convert.to_row(convert.from_row(row)) for row in rows])
        analyze_grown_tables(target, [record_type.table])


def _insert(connection: Connection, path: Path, record_type: RecordType[AuditRecord], entries: list[ExportRow]) -> None:
    rows = [entry.row for entry in entries]
    statement = insert(record_type.table)
    try:
        with connection.begin_nested():
            connection.execute(statement, rows)
    except IntegrityError:
        # Once more, one by one, to find the record at fault.
        for entry, row in zip(entries, rows, strict=True):
            try:
                with connection.begin_nested():
                    connection.execute(statement, row)
            except IntegrityError as error:
                problem = refusal(connection, record_type, row, error, new=True)
                raise ExportError(path, entry.where, str(problem)) from error
        raise

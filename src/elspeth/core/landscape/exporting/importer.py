"""Imports an exported run into an empty database.

An export of an older epoch is first restored into a private database of its epoch, which is then migrated. So its
records go through the same steps and backfills as those of an old database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import URL, Connection, Table, exists, insert, select
from sqlalchemy.exc import DBAPIError, IntegrityError

from elspeth.contracts.database_urls import mask_url
from elspeth.core.chunks import chunks
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.connections import durable_engine
from elspeth.core.landscape.database.errors import LandscapeError
from elspeth.core.landscape.database.landscape_db import fill_database
from elspeth.core.landscape.database.pruned_runs import require_not_pruned
from elspeth.core.landscape.database.run_log import Happening, append_entry, ensure_log
from elspeth.core.landscape.database.tables import analyze_grown_tables, epoch_tables
from elspeth.core.landscape.database.urls import describe_error, parse_url
from elspeth.core.landscape.database.writing import insert_rows, insert_sound_rows, stored_times
from elspeth.core.landscape.exporting._record_rules import load_forms
from elspeth.core.landscape.exporting.bag_form import read_recorded_epoch
from elspeth.core.landscape.exporting.forms import ExportError
from elspeth.core.landscape.exporting.reader import ExportKind, ExportReader, ExportSummary, read_export
from elspeth.core.landscape.migration.contents import Meter
from elspeth.core.landscape.migration.migrate import migrate_exclusively
from elspeth.core.landscape.records.integrity import explain_refusal
from elspeth.core.landscape.records.mapping import mapper
from elspeth.core.landscape.sealing.seal import create_secret, seal_run
from elspeth.core.landscape.sealing.withheld import check_withheld_content
from elspeth_schema import EPOCH
from elspeth_schema.contracts import RunStatus
from elspeth_schema.conversions import ROWS, Row
from elspeth_schema.records import RECORD_TYPES
from elspeth_schema.tables import runs_table, schema_migrations_table

__all__ = ["import_export", "import_into", "open_migrated"]

_ROWS = 1000
"""The number of rows inserted at a time, which limits memory."""


def import_export(
    db: LandscapeDB,
    path: Path,
    *,
    signing_key: bytes | None = None,
    progress: Callable[[int], None] | None = None,
) -> ExportSummary:
    """Verify an export and record its run in a database.

    The database must hold no run; the export is recorded completely or not at all. Withheld columns stay null. A run
    that has ended is sealed in its present state, without a signature. With a key, every signature is checked.
    `progress` is called with the number of records so far.

    Raises ExportError, with line or row, for an export that is incomplete, was altered, or refers to records that it
    does not hold; LandscapeError for a database with runs, or one from which this run was pruned; AuditIntegrityError
    for withheld content that does not have its hash.
    """
    # One transaction: a crash leaves the database as it was.
    with db.write_transaction() as connection:
        return _import_first(connection, db.url, path, signing_key, progress)


def import_into(
    url: str,
    path: Path,
    *,
    signing_key: bytes | None = None,
    progress: Callable[[int], None] | None = None,
) -> ExportSummary:
    """Import an export into the database at a URL.

    The database is created if needed. Otherwise this is `import_export`. A failure leaves no new table and no new file;
    a crash may leave a `.XXXXXXXX.partial` in the directory of the database.
    """
    with fill_database(url) as connection:
        return _import_first(connection, mask_url(parse_url(url)), path, signing_key, progress)


def _import_first(
    connection: Connection, url: str, path: Path, signing_key: bytes | None, progress: Callable[[int], None] | None
) -> ExportSummary:
    """Import into a database that holds no runs."""
    if connection.scalar(select(exists().select_from(runs_table))):
        message = (
            f"audit database {url} already holds runs: an export is imported into a database without any."
            " Nothing was changed. Name another database."
        )
        raise LandscapeError(message)
    return _import(connection, path, signing_key, progress)


def _import(
    connection: Connection, path: Path, signing_key: bytes | None, progress: Callable[[int], None] | None
) -> ExportSummary:
    ensure_log(connection)
    export = read_export(path, signing_key=signing_key)
    if export.source.is_current:
        _insert_records(connection, export, progress)
    else:
        with open_migrated(export, progress) as older, older.snapshot() as source:
            _copy_run(source, connection)
    require_not_pruned(connection, export.summary.run_id)
    _seal(connection, export.summary.run_id, is_older=_is_older(export))
    return export.summary


def _is_older(export: ExportReader) -> bool:
    """Return whether an export is a bag without a seal.

    Its run was recorded before seals existed. Other exports do not say when their run was recorded.
    """
    source = export.source
    return source.kind is ExportKind.BAG and read_recorded_epoch(source.path) is None


def _insert_records(connection: Connection, export: ExportReader, progress: Callable[[int], None] | None) -> None:
    def explain(name: str, row: Row, error: IntegrityError) -> str:
        record_type = RECORD_TYPES[name]
        return str(explain_refusal(connection, record_type, mapper(record_type).named(row), error, new=True))

    tables = {name: record_type.table for name, record_type in RECORD_TYPES.items()}
    _insert_rows(connection, export, tables, explain, progress)


def _insert_rows(
    connection: Connection,
    export: ExportReader,
    tables: Mapping[str, Table],
    explain: Callable[[str, Row, IntegrityError], str],
    progress: Callable[[int], None] | None,
) -> None:
    """Insert the export's rows by record type.

    Raises ExportError, with the text of `explain`, for a row that the database refuses.
    """
    total = 0
    times = stored_times(connection.dialect.name)
    for name, entries in groupby(export.rows(times), key=attrgetter("record_type")):
        for chunk in chunks(entries, _ROWS):
            for place, error in insert_sound_rows(connection, tables[name], [entry.row for entry in chunk]):
                entry = chunk[place]
                raise ExportError(export.source.path, entry.where, explain(name, entry.row, error)) from error
            total += len(chunk)
            if progress is not None:
                progress(total)
        analyze_grown_tables(connection, [tables[name]])


def _seal(connection: Connection, run_id: str, *, is_older: bool) -> None:
    """Seal an imported run that has ended, and log it.

    The run gets a secret for the salts of its bags, unless it was recorded before seals existed: a bag with salts is
    verified by all laws, which older runs did not keep. Raises AuditIntegrityError for optional content that does not
    have its hash.
    """
    status = connection.execute(select(runs_table.c.status).where(runs_table.c.run_id == run_id)).scalar_one()
    root = None
    if RunStatus(status).is_terminal:
        if not is_older:
            create_secret(connection, run_id)
        check_withheld_content(connection, run_id)
        root = seal_run(connection, run_id).root
    append_entry(connection, Happening.IMPORTED, root=root, run_id=run_id, status=status)


def _copy_run(source: Connection, target: Connection) -> None:
    """Copy all records of a database that holds one run.

    Each record is checked by its contract.
    """
    of_moment = stored_times(target.dialect.name).of_moment
    for record_type in RECORD_TYPES.values():
        convert = mapper(record_type)
        found = source.execute(convert.select(), execution_options={"yield_per": _ROWS})
        for rows in found.partitions():
            records = map(convert.from_row, rows)
            insert_rows(target, record_type.table, [ROWS[type(each)](each, of_moment) for each in records])
        analyze_grown_tables(target, [record_type.table])


@contextmanager
def open_migrated(export: ExportReader, progress: Callable[[int], None] | None = None) -> Iterator[LandscapeDB]:
    """Open a migrated database with the run of an export.

    The database is a SQLite file in a temporary directory, about as large as the export, and is removed when the block
    ends. `progress` is called with the number of records read so far.

    Raises ExportError for an export that is incomplete, was altered, refers to records that it does not hold, or cannot
    be migrated.
    """
    with TemporaryDirectory(prefix="elspeth-") as directory:
        url = URL.create("sqlite", database=str(Path(directory) / "export.db"))
        _restore(url, export, progress)
        try:
            migrate_exclusively(url, export.source.epoch, None, Meter(None))
        except (DBAPIError, LandscapeError) as error:
            problem = describe_error(error, url) if isinstance(error, DBAPIError) else str(error)
            epochs = f"of epoch {export.source.epoch}, and cannot be read as one of epoch {EPOCH}"
            raise ExportError(export.source.path, None, f"is {epochs}: {problem}") from error
        name = url.render_as_string(hide_password=False)
        with LandscapeDB(name, create_tables=False, known_as=str(export.source.path)) as database:
            yield database


def _restore(url: URL, export: ExportReader, progress: Callable[[int], None] | None) -> None:
    """Create a database of the export's epoch with its run."""

    def explain(_name: str, _row: Row, error: IntegrityError) -> str:
        return f"expected a record that is unique, sound, and refers to records before it: {describe_error(error, url)}"

    epoch = export.source.epoch
    metadata = epoch_tables(epoch)
    tables = {name: metadata.tables[form.table] for name, form in load_forms(epoch).items()}
    engine = durable_engine(url, create=True)
    try:
        with engine.begin() as connection:
            _create_tables(connection, epoch)
            _insert_rows(connection, export, tables, explain, progress)
    finally:
        engine.dispose()


def _create_tables(connection: Connection, epoch: int) -> None:
    """Create the tables of an epoch, with a migration record."""
    metadata = epoch_tables(epoch)
    metadata.create_all(connection)
    step = {"to_epoch": epoch, "from_epoch": 0, "migrated_at": datetime.now(UTC), "tool": "import", "tables_json": "{}"}
    connection.execute(insert(metadata.tables[schema_migrations_table.name]).values(step))

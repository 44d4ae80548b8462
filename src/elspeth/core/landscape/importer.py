"""Restores an exported run into a database that holds none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

from sqlalchemy import Connection, exists, insert, make_url, select
from sqlalchemy.exc import ArgumentError, IntegrityError

from elspeth.core.chunks import chunks
from elspeth.core.landscape.database import LandscapeDB, LandscapeError
from elspeth.core.landscape.export_forms import ExportError
from elspeth.core.landscape.export_reader import ExportEntry, read_export
from elspeth.core.landscape.export_verifier import ExportSummary
from elspeth.core.landscape.mapping import mapper, record_type_of
from elspeth.core.landscape.refusal import refusal
from elspeth_schema.contracts import AuditRecord
from elspeth_schema.records import RecordType
from elspeth_schema.tables import metadata, runs_table

__all__ = ["import_export", "import_target"]

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

    What the export withholds stays empty. With a key every signature is checked. `progress` is called with the number
    of records so far. ExportError, with line or row, for an export that is incomplete, altered or refers to what it
    does not hold; LandscapeError for a database with runs.
    """
    export = read_export(path, signing_key=signing_key)
    total = 0
    # One transaction: a crash leaves the database as it was.
    with db.writing() as connection:
        if connection.scalar(select(exists().select_from(runs_table))):
            message = (
                f"audit database {db.url} already holds runs: an export is imported into a database without any."
                " Nothing was changed. Name another database."
            )
            raise LandscapeError(message)
        for record_type, entries in groupby(export, key=lambda entry: record_type_of(entry.contract)):
            for chunk in chunks(entries, _ROWS):
                _insert(connection, path, record_type, chunk)
                total += len(chunk)
                if progress is not None:
                    progress(total)
    return export.summary


@contextmanager
def import_target(url: str) -> Iterator[LandscapeDB]:
    """The database to import into, created if need be. If the block raises, what was created is removed again.

    Raises what opening a database raises. A crash leaves at most a database without runs.
    """
    file, is_created = _new_file(url), not _holds_tables(url)
    with LandscapeDB.from_url(url) as db:
        try:
            yield db
        except BaseException:
            if is_created:
                metadata.drop_all(db.engine)
            db.close()
            if file is not None:
                file.unlink()
            raise


def _insert(
    connection: Connection, path: Path, record_type: RecordType[AuditRecord], entries: list[ExportEntry]
) -> None:
    to_row = mapper(record_type).to_row
    rows = [to_row(entry.contract) for entry in entries]
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


def _holds_tables(url: str) -> bool:
    try:
        LandscapeDB.from_url(url, create_tables=False).close()
    except LandscapeError:
        return False  # opening it once more creates the tables, or tells what is wrong
    return True


def _new_file(url: str) -> Path | None:
    """The file that opening the database will create; None if it is there, on a server, or in memory."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return None
    if parsed.get_backend_name() != "sqlite" or parsed.database in (None, "", ":memory:"):
        return None
    file = Path(parsed.database)
    return None if file.exists() else file

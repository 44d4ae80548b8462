"""Exports of an older epoch, in today's: imported into a private database of their epoch, which is then migrated.

So a record of an old export becomes one of today by the same steps, and the same backfills, as a record of an old
database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import URL, Connection, insert
from sqlalchemy.exc import DBAPIError, IntegrityError

from elspeth.core.chunks import chunks
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.connections import describe_error, durable_engine
from elspeth.core.landscape.database.errors import LandscapeError
from elspeth.core.landscape.database.tables import epoch_tables
from elspeth.core.landscape.exporting.forms import ExportError
from elspeth.core.landscape.exporting.reader import ExportReader, ExportRow
from elspeth.core.landscape.exporting.record_forms import forms_of
from elspeth.core.landscape.migration.migrate import migrate_exclusively
from elspeth.core.landscape.records.progress import Meter
from elspeth_schema import EPOCH
from elspeth_schema.tables import schema_migrations_table

__all__ = ["in_todays_epoch"]

_ROWS = 1000
"""Rows inserted at once; bounds memory."""


@contextmanager
def in_todays_epoch(export: ExportReader, progress: Callable[[int], None] | None = None) -> Iterator[LandscapeDB]:
    """Give a database of today's epoch with the run of an older export; it goes when the block ends.

    It is a SQLite file in a temporary directory, about as large as the export. `progress` is called with the number of
    records read so far. Raises ExportError for an export that is incomplete, altered, or refers to what it does not
    hold, and for one that cannot be migrated.
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
    """Create a database of the export's epoch that holds its run."""
    epoch, total = export.source.epoch, 0
    engine = durable_engine(url, create=True)
    try:
        with engine.begin() as connection:
            _create_tables(connection, epoch)
            for name, rows in groupby(export.rows(), key=attrgetter("record_type")):
                table = forms_of(epoch)[name].table
                for chunk in chunks(rows, _ROWS):
                    _insert(connection, export, table, chunk)
                    total += len(chunk)
                    if progress is not None:
                        progress(total)
    finally:
        engine.dispose()


def _create_tables(connection: Connection, epoch: int) -> None:
    """Create the tables of an epoch, and say in their history which it is."""
    metadata = epoch_tables(epoch)
    metadata.create_all(connection)
    step = {"to_epoch": epoch, "from_epoch": 0, "migrated_at": datetime.now(UTC), "tool": "import", "tables_json": "{}"}
    connection.execute(insert(metadata.tables[schema_migrations_table.name]).values(step))


def _insert(connection: Connection, export: ExportReader, table: str, entries: list[ExportRow]) -> None:
    statement = insert(epoch_tables(export.source.epoch).tables[table])
    try:
        with connection.begin_nested():
            connection.execute(statement, [entry.row for entry in entries])
    except IntegrityError:
        # Once more, one by one, to find the record at fault.
        for entry in entries:
            try:
                with connection.begin_nested():
                    connection.execute(statement, entry.row)
            except IntegrityError as error:
                said = describe_error(error, connection.engine.url)
                problem = f"expected a record that is unique, sound, and refers to records before it: {said}"
                raise ExportError(export.source.path, entry.where, problem) from error
        raise

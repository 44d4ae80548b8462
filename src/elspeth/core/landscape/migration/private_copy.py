"""Makes private copies of older databases, migrated for reading."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import URL, Connection, NullPool, create_engine, insert, select
from sqlalchemy.exc import DBAPIError

from elspeth.contracts.database_urls import mask_url
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.connections import read_only_connection
from elspeth.core.landscape.database.errors import LandscapeError
from elspeth.core.landscape.database.state import StateKind, read_state
from elspeth.core.landscape.database.tables import epoch_tables
from elspeth.core.landscape.database.urls import describe_error, parse_url, sqlite_path
from elspeth.core.landscape.migration.adoption import adopt
from elspeth.core.landscape.migration.contents import Meter, Report
from elspeth.core.landscape.migration.migrate import MigrationReport, copy_database, migrate, migrate_exclusively
from elspeth_schema import EPOCH

__all__ = ["open_for_reading", "rehearse"]

_FETCH = 1000
"""The number of rows copied at a time, which limits memory."""


@contextmanager
def open_for_reading(url: str, report: Report | None = None) -> Iterator[LandscapeDB]:
    """Open the database, or a migrated copy if older.

    If the database is one of the predecessor without an epoch, its runs are adopted into the copy. The original stays
    unchanged. The copy is a SQLite file in a temporary directory, whatever the original is, and is removed when the
    block ends. Raises the errors of LandscapeDB for a database in any other state.
    """
    parsed = parse_url(url)
    state = read_state(parsed)
    if state.kind is StateKind.PREDECESSOR:
        with TemporaryDirectory(prefix="elspeth-") as directory:
            adopted = f"sqlite:///{directory}/adopted.db"
            adopt(url, adopted, report=report)
            with LandscapeDB(adopted, create_tables=False, known_as=mask_url(parsed)) as database:
                yield database
        return
    if state.kind is not StateKind.OLDER or state.epoch is None:
        with LandscapeDB.from_url(url, create_tables=False) as database:
            yield database
        return
    with _private_copy(parsed, state.epoch) as copy:
        _migrate_copy(copy, state.epoch, parsed, report)
        with LandscapeDB(
            copy.render_as_string(hide_password=False), create_tables=False, known_as=mask_url(parsed)
        ) as database:
            yield database


def rehearse(url: str, report: Report | None = None) -> MigrationReport:
    """Migrate a private copy, and return the result.

    The original stays unchanged. Raises the errors of `migrate`.
    """
    parsed = parse_url(url)
    state = read_state(parsed)
    if state.kind is not StateKind.OLDER or state.epoch is None:
        return migrate(url)
    with _private_copy(parsed, state.epoch) as copy:
        return _migrate_copy(copy, state.epoch, parsed, report)


def _migrate_copy(copy: URL, epoch: int, original: URL, report: Report | None) -> MigrationReport:
    try:
        return migrate_exclusively(copy, epoch, None, Meter(report))
    except (DBAPIError, LandscapeError) as error:
        problem = describe_error(error, copy) if isinstance(error, DBAPIError) else str(error)
        raise LandscapeError(
            f"audit database {mask_url(original)} cannot be read as one of epoch {EPOCH}: {problem}."
            " It was not changed."
        ) from error


@contextmanager
def _private_copy(source: URL, epoch: int) -> Iterator[URL]:
    """Yield the URL of a copy with the same rows.

    The copy is removed when the block ends.
    """
    with TemporaryDirectory(prefix="elspeth-") as directory:
        copy = Path(directory) / "copy.db"
        if source.get_backend_name() == "sqlite":
            with _copying(source, directory):
                copy_database(sqlite_path(source), copy)
        else:
            with read_only_connection(source) as connection, _copying(source, directory):
                _copy_rows(connection, epoch, copy)
        yield URL.create("sqlite", database=str(copy))


@contextmanager
def _copying(source: URL, directory: str) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, DBAPIError, OSError) as error:
        problem = describe_error(error, source) if isinstance(error, DBAPIError) else str(error)
        raise LandscapeError(
            f"audit database {mask_url(source)} cannot be copied to {directory} to be read: {problem}. "
            "For another directory, set TMPDIR. It was not changed."
        ) from error


def _copy_rows(source: Connection, epoch: int, target: Path) -> None:
    """Create a SQLite database with the same epoch and rows."""
    with create_engine(f"sqlite:///{target}", poolclass=NullPool).begin() as writing:
        metadata = epoch_tables(epoch)
        metadata.create_all(writing)
        for table in metadata.sorted_tables:
            found = source.execute(select(table), execution_options={"yield_per": _FETCH})
            for rows in found.mappings().partitions():
                writing.execute(insert(table), [dict(row) for row in rows])

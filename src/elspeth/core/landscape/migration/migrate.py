"""Migrates a database: backup, one exclusive transaction, check, record.

After any failure, even a kill at any statement, the database is unchanged: everything happens in one transaction, and
the backup is written before it begins.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event, func, select, table
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError

from elspeth.contracts.database_urls import mask_url
from elspeth.core.landscape.database.connections import (
    prepare_connections,
    read_only_connection,
    read_only_parameters,
    set_utc,
)
from elspeth.core.landscape.database.errors import LandscapeError
from elspeth.core.landscape.database.state import StateKind, detect_state, read_state, require_current
from elspeth.core.landscape.database.tables import TableMap, epoch_tables, lock_tables, map_tables, read_migrations
from elspeth.core.landscape.database.urls import describe_error, parse_url, sqlite_path
from elspeth.core.landscape.migration.contents import Meter, Report, TableContent, read_contents_before
from elspeth.core.landscape.sealing.check import SealReport, check_seals
from elspeth.outputs.writing import create_file, sync_directory
from elspeth_schema import EPOCH

__all__ = ["MigrationReport", "copy_database", "migrate", "migrate_exclusively", "migrate_if_older"]

_ROOM = 3
"""The free space needed, in sizes of the database: tables are rewritten, and the journal keeps the old pages."""

_LOCK_TIMEOUT_MS = 2_000
"""How long to wait for readers and writers, which should have been stopped before a migration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationReport:
    """The result of a migration.

    `rows` counts rows by today's tables. `seals` is the check of the seals of all runs after the migration. A run that
    differs from its seal was changed earlier, because another check shows that the migration changed no value.
    """

    from_epoch: int
    backup: Path | None = None
    rows: dict[str, int]
    seals: SealReport | None = None

    @property
    def migrated(self) -> bool:
        """Whether there was anything to do."""
        return self.from_epoch != EPOCH


class CommitFailedError(LandscapeError):
    """The commit failed, and may have taken effect or not."""


_NOTHING_TO_DO = MigrationReport(from_epoch=EPOCH, rows={})


def migrate_if_older(url: str, report: Report | None = None) -> MigrationReport:
    """Migrate the database, with a backup, if it is older.

    Any other state is reported when the database is opened.
    """
    is_older = read_state(parse_url(url)).kind is StateKind.OLDER
    return migrate(url, report=report) if is_older else _NOTHING_TO_DO


def migrate(
    url: str, *, backup: Path | None = None, no_backup: bool = False, report: Report | None = None
) -> MigrationReport:
    """Migrate the database to today's epoch.

    A SQLite database is first backed up, and the backup verified; it is written to `backup`, by default beside the
    database. On PostgreSQL the user makes the backup, and `no_backup` confirms it.

    Raises the error for the database's state if it is not older, and LandscapeError for anything that prevents the
    migration. After an error, the database is unchanged.
    """
    parsed = parse_url(url)
    state = read_state(parsed)
    if state.kind is StateKind.CURRENT:
        return _NOTHING_TO_DO
    if state.kind is not StateKind.OLDER or state.epoch is None:
        require_current(state, mask_url(parsed))
        raise AssertionError(state)
    saved = None
    try:
        _refuse_without_backup(parsed, no_backup=no_backup)
        _probe(parsed, epoch_tables(state.epoch).tables)  # fails before a backup is made in vain
        if parsed.get_backend_name() == "sqlite":
            path = sqlite_path(parsed)
            target = None if no_backup else backup or _backup_path(path, state.epoch)
            _require_space(path, target)
            if target is not None:
                _back_up(path, target)
                saved = target
        return migrate_exclusively(parsed, state.epoch, saved, Meter(report))
    except CommitFailedError as error:
        return _resolve_lost_commit(parsed, state.epoch, saved, error)
    except (DBAPIError, LandscapeError) as error:
        raise LandscapeError(_failure(parsed, error, saved)) from error


def migrate_exclusively(url: URL, epoch: int, saved: Path | None, meter: Meter) -> MigrationReport:
    """Migrate a database of an older epoch in one transaction.

    Raises DBAPIError or LandscapeError if nothing was changed, and CommitFailedError if that is unknown.
    """
    # Alembic takes a third of a second to load, and readers of a current database do not need it.
    from elspeth.core.landscape.migration._steps import upgrade  # noqa: PLC0415

    with _exclusive(url, epoch_tables(epoch).tables) as connection:
        state = detect_state(connection)
        if state.kind is StateKind.CURRENT:
            return _NOTHING_TO_DO  # another process has migrated it
        if state.epoch != epoch or state.kind is not StateKind.OLDER:
            raise LandscapeError("another process changed its tables meanwhile")
        tables = map_tables(epoch, EPOCH)
        meter.expect(_count_rows_to_read(connection, tables, readings=2 if saved is None else 3))
        before = read_contents_before(connection, tables, meter)
        if saved is not None:
            _verify_backup(saved, tables, before, meter)
        upgrade(connection, epoch, tables, before, meter)
        seals = check_seals(connection)
    rows = {each.after: before[each.before].rows for each in tables}
    return MigrationReport(from_epoch=epoch, backup=saved, rows=rows, seals=seals)


def _count_rows_to_read(connection: Connection, tables: tuple[TableMap, ...], *, readings: int) -> int:
    """Return the number of rows to read and copy."""
    return sum(
        (readings + each.copies) * connection.execute(select(func.count()).select_from(table(each.before))).scalar_one()
        for each in tables
    )


def _resolve_lost_commit(url: URL, epoch: int, saved: Path | None, error: CommitFailedError) -> MigrationReport:
    """Return the result of a migration whose commit failed.

    Raises LandscapeError if the migration had no effect, or if the database does not answer.
    """
    try:
        with read_only_connection(url) as connection:
            if detect_state(connection).kind is StateKind.CURRENT:
                counts = json.loads(read_migrations(connection)[-1].tables_json)
                rows = {name: count["rows_after"] for name, count in counts.items()}
                return MigrationReport(from_epoch=epoch, backup=saved, rows=rows, seals=check_seals(connection))
    except LandscapeError:
        raise LandscapeError(
            f"audit database {mask_url(url)} may have been migrated or not: the connection was lost while it committed,"
            f" and it does not answer. When it does, run: elspeth landscape status -d {shlex.quote(mask_url(url))}"
        ) from error
    raise LandscapeError(_failure(url, error, saved)) from error


def _refuse_without_backup(url: URL, *, no_backup: bool) -> None:
    if url.get_backend_name() != "sqlite" and not no_backup:
        raise LandscapeError(
            "a PostgreSQL database is backed up by its administrator, for example with: "
            f"pg_dump --format=custom --file=audit.dump {url.database}. After that, migrate with --no-backup"
        )


def _require_space(database: Path, backup: Path | None) -> None:
    """Raise LandscapeError unless there is room on the disk.

    Both the backup and the migration need room.
    """
    size = sum(path.stat().st_size for path in (database, Path(f"{database}-wal")) if path.exists())
    needed = {database.parent: _ROOM * size}
    if backup is not None:
        needed[backup.absolute().parent] = needed.get(backup.absolute().parent, 0) + size
    for directory, room in needed.items():
        if not directory.is_dir():
            raise LandscapeError(f"backup {backup}: there is no directory {directory}")
        free = shutil.disk_usage(directory).free
        if free < room:
            raise LandscapeError(f"it needs about {room / 1e6:,.0f} MB in {directory}, {free / 1e6:,.0f} MB are free")


def _failure(url: URL, error: DBAPIError | LandscapeError, saved: Path | None) -> str:
    problem = describe_error(error, url) if isinstance(error, DBAPIError) else str(error)
    is_busy = "database is locked" in problem or "lock timeout" in problem
    advice = " Another process is using it: stop that process, then migrate again." if is_busy else ""
    kept = f" The backup {saved} was written." if saved is not None else ""
    return f"audit database {mask_url(url)} was not migrated and not changed: {problem}.{advice}{kept}"


# -- the exclusive transaction -----------------------------------------------------------------------------------------


def _probe(url: URL, tables: Iterable[str]) -> None:
    """Raise DBAPIError unless the tables can be locked and changed.

    The database is not changed.
    """
    with _engine(url).connect() as connection:
        _lock(connection, tables)
        # Only a write shows that a SQLite database is read-only.
        connection.exec_driver_sql("CREATE TABLE _elspeth_probe (probe INTEGER)")
        connection.rollback()


@contextmanager
def _exclusive(url: URL, tables: Iterable[str]) -> Iterator[Connection]:
    """Open a transaction with exclusive access to the tables.

    It is committed at the end of the block, and rolled back after an exception. Raises DBAPIError if other processes do
    not release the tables in time, and CommitFailedError if the commit failed.
    """
    with _engine(url).connect() as connection:
        _lock(connection, tables)
        yield connection
        try:
            # A crash before this line leaves the old database; after it, the new one.
            connection.commit()
        except DBAPIError as error:
            raise CommitFailedError(describe_error(error, url)) from error


def _engine(url: URL) -> Engine:
    engine = create_engine(url, poolclass=NullPool)
    if url.get_backend_name() == "sqlite":
        prepare_connections(engine, _prepare_sqlite)
        event.listen(engine, "begin", _begin_exclusive)
    else:
        prepare_connections(engine, set_utc)
    return engine


def _prepare_sqlite(connection: DBAPIConnection) -> None:
    connection.isolation_level = None  # BEGIN is sent explicitly
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {_LOCK_TIMEOUT_MS}")
    cursor.execute("PRAGMA synchronous = FULL")
    # With foreign keys on, dropping an old table would delete the rows that refer to it. The setting has no effect
    # inside a transaction, so it is made here.
    cursor.execute("PRAGMA foreign_keys = OFF")


def _begin_exclusive(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN EXCLUSIVE")


def _lock(connection: Connection, tables: Iterable[str]) -> None:
    """Begin once other processes have released the tables.

    It waits for the end of another migration, then a short time for all other processes.
    """
    if connection.dialect.name == "sqlite":
        connection.begin()  # this locks the whole file
        return
    lock_tables(connection)
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {_LOCK_TIMEOUT_MS}")
    connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
    connection.exec_driver_sql(f"LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE")


# -- the backup --------------------------------------------------------------------------------------------------------


def _backup_path(database: Path, epoch: int) -> Path:
    """Return the default path of a backup.

    It is in the directory of the database, and named after epoch and time.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    return database.with_name(f"{database.name}.epoch{epoch}-{stamp}.bak")


def _back_up(database: Path, target: Path) -> None:
    """Write a backup of one consistent state of the database.

    A crash leaves the original and a partial file. Raises LandscapeError if the target exists or cannot be written.
    """
    if target.exists():
        raise LandscapeError(f"backup {target}: the file exists already, give another path (--backup PATH)")
    partial = target.with_name(f"{target.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        create_file(partial, like=database).close()  # the permissions are set before there is content
        copy_database(database, partial)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(target)
        sync_directory(target.parent)
    except (OSError, sqlite3.Error) as error:
        partial.unlink(missing_ok=True)
        raise LandscapeError(f"backup {target} cannot be written: {error}") from error


def copy_database(database: Path, target: Path) -> None:
    """Copy a database, without unused pages, into an empty file.

    Raises sqlite3.Error if that fails.
    """
    source = f"{database.absolute().as_uri()}?{urlencode(read_only_parameters(database))}"
    with closing(sqlite3.connect(source, uri=True)) as connection:
        connection.execute("VACUUM INTO ?", (str(target),))


def _verify_backup(target: Path, tables: tuple[TableMap, ...], original: dict[str, TableContent], meter: Meter) -> None:
    """Compare the backup with the content of the original.

    Raises LandscapeError if it differs.
    """
    with read_only_connection(URL.create("sqlite", database=str(target))) as connection:
        (verdict,) = connection.exec_driver_sql("PRAGMA integrity_check(1)").one()
        found = read_contents_before(connection, tables, meter)
    wrong = [name for name, content in original.items() if found[name] != content]
    if verdict != "ok" or wrong:
        raise LandscapeError(
            f"backup {target} does not hold what the database holds (integrity check: {verdict}; "
            f"tables that differ: {', '.join(wrong) or 'none'}); another process may have written meanwhile"
        )

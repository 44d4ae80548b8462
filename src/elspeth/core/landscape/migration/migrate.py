"""Makes an older audit database one of today's epoch: backup, one transaction, proof, record.

On any failure, a kill at any statement included, the database is what it was: everything happens in one transaction,
and the backup was written before it began.
"""

from __future__ import annotations

import json
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, Connection, func, select, table
from sqlalchemy.exc import DBAPIError

from elspeth.contracts.databases import mask_url
from elspeth.core.landscape.database.connections import describe_error, parse_url, read_only_connection, sqlite_path
from elspeth.core.landscape.database.errors import LandscapeError
from elspeth.core.landscape.database.state import StateKind, detect_state, read_state, require_current
from elspeth.core.landscape.database.tables import epoch_tables, read_migrations
from elspeth.core.landscape.migration.backup import back_up, backup_path, verify_backup
from elspeth.core.landscape.migration.exclusive import CommitFailedError, exclusive, probe
from elspeth.core.landscape.records.digest import TableMap, contents_before, table_maps
from elspeth.core.landscape.records.progress import Meter, Report
from elspeth.core.landscape.sealing.check import SealReport, check_seals
from elspeth_schema import EPOCH

__all__ = ["MigrationReport", "migrate", "migrate_exclusively", "migrate_if_older"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationReport:
    """What a migration did; `rows` by today's tables. Nothing if the database was of today's epoch already.

    `seals` is what the seals of its runs tell after it. A run that is not what was sealed was changed before: that the
    migration changed no value is proved on its own.
    """

    from_epoch: int
    backup: Path | None = None
    rows: dict[str, int]
    seals: SealReport | None = None

    @property
    def migrated(self) -> bool:
        """Whether there was anything to do."""
        return self.from_epoch != EPOCH


_ROOM = 3
"""The database's sizes that are free beside it: every table is written anew, and the journal keeps the old pages."""

_NOTHING_TO_DO = MigrationReport(from_epoch=EPOCH, rows={})


def migrate_if_older(url: str, report: Report | None = None) -> MigrationReport:
    """Migrate the database, with a backup, if that is what it needs; any other state is for whoever opens it."""
    is_older = read_state(parse_url(url)).kind is StateKind.OLDER
    return migrate(url, report=report) if is_older else _NOTHING_TO_DO


def migrate(
    url: str, *, backup: Path | None = None, no_backup: bool = False, report: Report | None = None
) -> MigrationReport:
    """Migrate the database to today's epoch.

    SQLite gets a verified backup first (beside the database, unless `backup` says where). On PostgreSQL the backup is
    the user's: `no_backup` says that there is one. Raises the error of the database's state if it is not an older one,
    LandscapeError for anything that stops the migration; then nothing was changed.
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
        probe(parsed, epoch_tables(state.epoch).tables)  # so that no backup is made in vain
        if parsed.get_backend_name() == "sqlite":
            path = sqlite_path(parsed)
            target = None if no_backup else backup or backup_path(path, state.epoch)
            _expect_space(path, target)
            if target is not None:
                back_up(path, target)
                saved = target
        return migrate_exclusively(parsed, state.epoch, saved, Meter(report))
    except CommitFailedError as error:
        return _what_became_of(parsed, state.epoch, saved, error)
    except (DBAPIError, LandscapeError) as error:
        raise LandscapeError(_failure(parsed, error, saved)) from error


def migrate_exclusively(url: URL, epoch: int, saved: Path | None, meter: Meter) -> MigrationReport:
    """The migration itself, of a database of that epoch.

    DBAPIError, LandscapeError: nothing was changed. CommitFailedError: that is not known.
    """
    # Alembic takes a third of a second to load, which is not for those who only read a database of today.
    from elspeth.core.landscape.migration.upgrade import upgrade  # noqa: PLC0415

    with exclusive(url, epoch_tables(epoch).tables) as connection:
        state = detect_state(connection)
        if state.kind is StateKind.CURRENT:
            return _NOTHING_TO_DO  # another process was faster
        if state.epoch != epoch or state.kind is not StateKind.OLDER:
            raise LandscapeError("another process changed its tables meanwhile")
        tables = table_maps(epoch, EPOCH)
        meter.expect(_rows_to_come(connection, tables, readings=2 if saved is None else 3))
        before = contents_before(connection, tables, meter)
        if saved is not None:
            verify_backup(saved, tables, before, meter)
        upgrade(connection, epoch, tables, before, meter)
        seals = check_seals(connection)
    rows = {each.after: before[each.before].rows for each in tables}
    return MigrationReport(from_epoch=epoch, backup=saved, rows=rows, seals=seals)


def _rows_to_come(connection: Connection, tables: tuple[TableMap, ...], *, readings: int) -> int:
    """How many rows will be read to know what they hold, and copied."""
    return sum(
        (readings + each.copies) * connection.execute(select(func.count()).select_from(table(each.before))).scalar_one()
        for each in tables
    )


def _what_became_of(url: URL, epoch: int, saved: Path | None, error: CommitFailedError) -> MigrationReport:
    """What the database says about a migration of which it is not known whether it was committed."""
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


def _expect_space(database: Path, backup: Path | None) -> None:
    """LandscapeError unless there is room for the backup, and beside the database for what a migration needs."""
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

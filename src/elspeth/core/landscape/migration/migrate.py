"""Makes an older audit database one of today's epoch: backup, one transaction, proof, record.

On any failure, a kill at any statement included, the database is what it was: everything happens in one transaction,
and the backup was written before it began.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from alembic import op
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import URL, Connection, NullPool, create_engine, text
from sqlalchemy.exc import DatabaseError
from sqlalchemy.schema import CreateTable

from elspeth.core.landscape.engines import parsed_url, sqlite_path
from elspeth.core.landscape.errors import LandscapeError
from elspeth.core.landscape.migration.backup import back_up, backup_path, contents, verify_backup
from elspeth.core.landscape.migration.bookkeeping import FIRST_VERSIONED, schema_migrations_table, step_record
from elspeth.core.landscape.migration.digest import Content, TableMap, content_of, kept_columns
from elspeth.core.landscape.migration.state import Condition, State, look, recognise, refuse_unless_current
from elspeth_schema import EPOCH, triggers
from elspeth_schema.migrations import revision

__all__ = ["MigrationReport", "migrate", "migration_sql", "upgrade_in_transaction"]

_ADVISORY_LOCK = 5_035_571_984_264_114_003
"""One migration at a time on a PostgreSQL server; the number only has to be ours."""

_BUSY_TIMEOUT_MS = 2_000
"""A migration does not wait long for a writer: it has to be stopped first."""

TableDone = Callable[[str, int], None]
"""Called with a table's name and its number of rows when it was dealt with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationReport:
    """What a migration did; `rows` by table. Nothing if the database was of today's epoch already."""

    from_epoch: int
    to_epoch: int
    backup: Path | None
    rows: dict[str, int]


def migrate(
    url: str, *, backup: Path | None = None, no_backup: bool = False, table_done: TableDone | None = None
) -> MigrationReport:
    """Migrate the database to today's epoch.

    SQLite gets a verified backup first (beside the database, unless `backup` says where). On PostgreSQL the backup is
    the user's: `no_backup` says that there is one. Raises the error of the database's state if it is not an older one,
    LandscapeError for anything that stops the migration; then nothing was changed.
    """
    parsed = parsed_url(url)
    shown = parsed.render_as_string(hide_password=True)
    try:
        state = look(parsed)
        if state.kind is Condition.CURRENT:
            return MigrationReport(from_epoch=EPOCH, to_epoch=EPOCH, backup=None, rows={})
        if state.kind is not Condition.OLDER or state.epoch is None:
            refuse_unless_current(state, shown)
            raise AssertionError
        tables = kept_columns(state.epoch, EPOCH)
        saved = _prepare(parsed, state, backup, no_backup=no_backup)
        with _transaction(parsed) as connection:
            before = contents(connection, tables)
            if saved is not None:
                verify_backup(saved, tables, before)
            upgrade_in_transaction(connection, state.epoch, before, tables, table_done)
    except DatabaseError as error:
        message = f"audit database {shown} was not migrated and not changed: {error.orig}{_advice(error)}"
        raise LandscapeError(message) from error
    rows = {name: content.rows for name, content in before.items()}
    return MigrationReport(from_epoch=state.epoch, to_epoch=EPOCH, backup=saved, rows=rows)


def upgrade_in_transaction(
    connection: Connection,
    epoch: int,
    before: dict[str, Content],
    tables: tuple[TableMap, ...],
    table_done: TableDone | None = None,
) -> None:
    """Bring the tables from the epoch to today's, prove that every value is still there, and record the step.

    LandscapeError if a value changed, a reference leads nowhere or the result is not what a new database is; the
    caller's transaction is to be rolled back then.
    """
    _run_steps(MigrationContext.configure(connection), epoch)
    after = {}
    for table in tables:
        after[table.before] = content_of(connection, table.after, tuple(new for _, new in table.columns))
        if table_done is not None:
            table_done(table.after, after[table.before].rows)
    changed = [name for name, content in before.items() if after[name] != content]
    if changed:
        message = f"migration would change the content of {', '.join(changed)}; it was undone"
        raise LandscapeError(message)
    _check_references(connection)
    record = step_record(
        from_epoch=epoch,
        tables={
            table.after: {
                "rows_before": before[table.before].rows,
                "rows_after": after[table.before].rows,
                "digest_before": before[table.before].digest,
                "digest_after": after[table.before].digest,
            }
            for table in tables
        },
    )
    connection.execute(record)
    state = recognise(connection)
    if state.kind is not Condition.CURRENT:
        message = f"migration did not end in epoch {EPOCH} ({'; '.join(state.differences)}); it was undone"
        raise LandscapeError(message)


def migration_sql(url: str) -> list[str]:
    """The statements that would migrate the database, in order, for someone who runs them by hand after a backup."""
    parsed = parsed_url(url)
    state = look(parsed)
    if state.kind is not Condition.OLDER or state.epoch is None:
        refuse_unless_current(state, parsed.render_as_string(hide_password=True))
        return []
    lines = _Lines()
    context = MigrationContext.configure(
        dialect_name=parsed.get_backend_name(), opts={"as_sql": True, "output_buffer": lines, "literal_binds": True}
    )
    _run_steps(context, state.epoch)
    with Operations.context(context):
        op.execute(step_record(from_epoch=state.epoch, tables={}))
    sqlite = parsed.get_backend_name() == "sqlite"
    before = ["PRAGMA foreign_keys = OFF;", "BEGIN EXCLUSIVE;"] if sqlite else ["BEGIN;"]
    return [*before, *lines.written, "COMMIT;"]


class _Lines:
    """Collects what Alembic would send, one statement per item."""

    def __init__(self) -> None:
        self.written: list[str] = []

    def write(self, text: str) -> None:
        """Take one piece of Alembic's output."""
        if text.strip():
            self.written.append(text.strip())

    def flush(self) -> None:
        """Nothing is held back."""


def _run_steps(context: MigrationContext, epoch: int) -> None:
    """Every step from the epoch on, then what only today's database has: its own history, and the triggers."""
    with Operations.context(context):
        for step in range(epoch + 1, EPOCH + 1):
            revision(step).upgrade()
        if epoch < FIRST_VERSIONED:
            op.execute(CreateTable(schema_migrations_table))
        for statement in triggers.STATEMENTS[context.dialect.name]:
            op.execute(text(statement.replace(":", "\\:")))


def _prepare(url: URL, state: State, backup: Path | None, *, no_backup: bool) -> Path | None:
    """Everything that has to be in order before the transaction; returns the backup that was written, if any."""
    if url.get_backend_name() != "sqlite":
        if not no_backup:
            database = url.render_as_string(hide_password=True)
            message = (
                f"audit database {database} must be backed up first, for example with: "
                f"pg_dump --format=custom --file=audit.dump {url.database}. Then migrate with --no-backup."
            )
            raise LandscapeError(message)
        return None
    path = sqlite_path(url)
    size = path.stat().st_size
    target = None if no_backup else backup or backup_path(path, state.epoch or 0)
    # The migration writes every table anew, beside the old one, and keeps the old pages until it commits.
    needed = 2 * size + (size if target is not None else 0)
    free = shutil.disk_usage(path.parent).free
    if free < needed:
        message = (
            f"audit database {path} was not changed: migrating needs about {needed / 1e6:.0f} MB in {path.parent}, "
            f"{free / 1e6:.0f} MB are free"
        )
        raise LandscapeError(message)
    if target is not None:
        back_up(path, target)
    return target


@contextmanager
def _transaction(url: URL) -> Iterator[Connection]:
    """The one transaction, in which nobody else can write."""
    engine = create_engine(url, poolclass=NullPool)
    sqlite = url.get_backend_name() == "sqlite"
    with engine.connect() as connection:
        if sqlite:
            driver = connection.connection.driver_connection
            if driver is not None:
                driver.isolation_level = None  # we say BEGIN ourselves
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
            connection.exec_driver_sql("PRAGMA synchronous = FULL")
            # Inside a transaction this has no effect, and dropping an old table would delete what refers to it.
            connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
            connection.exec_driver_sql("BEGIN EXCLUSIVE")
        else:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")
            connection.exec_driver_sql("LOCK TABLE runs IN ACCESS EXCLUSIVE MODE")
        try:
            yield connection
        except BaseException:
            connection.exec_driver_sql("ROLLBACK") if sqlite else connection.rollback()
            raise
        # A crash before this line leaves the old database, after it the new one.
        connection.exec_driver_sql("COMMIT") if sqlite else connection.commit()


def _check_references(connection: Connection) -> None:
    """PostgreSQL checked every reference when it was copied; SQLite is asked now."""
    if connection.dialect.name != "sqlite":
        return
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchmany(5)
    if broken:
        where = "; ".join(
            f"{table} row {row} refers to a missing record of {target}" for table, row, target, _ in broken
        )
        message = f"migration found references that lead nowhere ({where}); it was undone"
        raise LandscapeError(message)
    (verdict,) = connection.exec_driver_sql("PRAGMA quick_check(1)").one()
    if verdict != "ok":
        message = f"migration left a damaged database ({verdict}); it was undone"
        raise LandscapeError(message)


def _advice(error: DatabaseError) -> str:
    if "locked" in str(error.orig):
        return ". Another process is using it: stop that process, then migrate again"
    return ""

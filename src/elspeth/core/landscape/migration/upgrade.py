"""The steps from an older epoch to today's, and the proof that they lost nothing."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain, islice

from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Connection, text

from elspeth.core.landscape.database.errors import LandscapeError
from elspeth.core.landscape.database.shapes import TRIGGER_PREFIX, read_triggers
from elspeth.core.landscape.database.state import StateKind, detect_state
from elspeth.core.landscape.database.tables import epoch_tables, load_step, migration_insert
from elspeth.core.landscape.migration.filled import check_filled
from elspeth.core.landscape.migration.rebuild import rebuild
from elspeth.core.landscape.records.digest import Content, TableMap, contents_after
from elspeth.core.landscape.records.progress import Meter
from elspeth_schema import EPOCH, triggers

__all__ = ["run_steps", "upgrade"]

_LISTED = 5
"""How many broken references a message lists."""


def upgrade(
    connection: Connection,
    from_epoch: int,
    tables: tuple[TableMap, ...],
    before: Mapping[str, Content],
    meter: Meter,
) -> None:
    """Bring the tables from the epoch to today's, prove that every value is still there, and record the step.

    Runs in the caller's transaction, which is to be rolled back if this raises LandscapeError: a value changed, one was
    filled in that its column may not have, a reference leads nowhere, or the result is not what a new database is.
    """
    _refuse_other_triggers(connection, tables)

    def table_filled(name: str) -> None:
        meter.advance(name, before[name].rows if name in before else 0)

    run_steps(MigrationContext.configure(connection, opts={"table_filled": table_filled}), from_epoch)
    after = contents_after(connection, tables, meter)
    changed = [name for name, content in before.items() if after[name] != content]
    if changed:
        raise LandscapeError(f"the migration would change what {', '.join(changed)} held")
    check_filled(connection, from_epoch, EPOCH)
    _check_references(connection)
    record = migration_insert(
        from_epoch=from_epoch,
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
    state = detect_state(connection)
    if state.kind is not StateKind.CURRENT:
        raise LandscapeError(f"the migration would not end in epoch {EPOCH}: {'; '.join(state.differences)}")


def run_steps(context: MigrationContext, from_epoch: int) -> None:
    """Run every step from the epoch on, then create the triggers, which only today's database has."""
    operations = Operations(context)
    for epoch in range(from_epoch + 1, EPOCH + 1):
        rebuild(operations, epoch_tables(epoch), load_step(epoch))
    for statement in triggers.STATEMENTS[context.dialect.name]:
        operations.execute(text(statement.replace(":", "\\:")))


def _refuse_other_triggers(connection: Connection, tables: tuple[TableMap, ...]) -> None:
    """Triggers of other people would vanish with the old tables."""
    ours = {table.before for table in tables}
    others = [
        f"{trigger.name} on {trigger.table}"
        for trigger in read_triggers(connection)
        if trigger.table in ours and not trigger.name.startswith(TRIGGER_PREFIX)
    ]
    if others:
        raise LandscapeError(
            f"the migration would drop triggers that are not elspeth's ({', '.join(others)}): "
            "drop them, migrate, and create them again"
        )


def _check_references(connection: Connection) -> None:
    """PostgreSQL checked every reference when it was copied; SQLite is asked now."""
    if connection.dialect.name != "sqlite":
        return
    # Table by table: those of other people are not ours to judge.
    checks = (connection.exec_driver_sql(f"PRAGMA foreign_key_check({name})") for name in epoch_tables(EPOCH).tables)
    broken = list(islice(chain.from_iterable(checks), _LISTED))
    if broken:
        where = "; ".join(f"row {row} of {table} to {target}" for table, row, target, _ in broken)
        raise LandscapeError(f"the database holds references to records that it does not hold: {where}")
    (verdict,) = connection.exec_driver_sql("PRAGMA quick_check(1)").one()
    if verdict != "ok":
        raise LandscapeError(f"the migration would leave a damaged database: {verdict}")

"""The steps between epochs, and the proof of their result.

A step creates new tables beside the old ones, fills them, and replaces the old ones by them. Filled values are read
again and checked: SQLite stores text even in a column of integers, and no database checks patterns or JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from itertools import chain, islice

from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Connection, MetaData, Table, text
from sqlalchemy.schema import CreateIndex, CreateTable

from elspeth.core.landscape.database.errors import LandscapeError
from elspeth.core.landscape.database.run_log import log_migration
from elspeth.core.landscape.database.state import StateKind, detect_state
from elspeth.core.landscape.database.tables import TableMap, epoch_tables, load_snapshot, load_step, migration_insert
from elspeth.core.landscape.database.triggers import TRIGGER_PREFIX, read_triggers
from elspeth.core.landscape.migration.contents import Meter, TableContent, read_contents_after
from elspeth.schema import checks
from elspeth.schema.checks import Acceptor
from elspeth.schema.snapshots import ColumnSnapshot, Kind
from elspeth.schema.steps import Copy, Step
from elspeth_schema import EPOCH, triggers

__all__ = ["filled_columns", "rebuild", "run_steps", "upgrade"]

_PREFIX = "_new_"
"""The prefix of new tables on SQLite, where constraint names need not be unique."""

_SCHEMA = "landscape_new"
"""The schema of new tables on PostgreSQL, where constraint names are unique within a schema."""

_LISTED = 5
"""How many broken references a message lists."""

_FETCH = 1000
"""The number of values fetched at a time, which limits memory."""

_SHOWN = 80
"""The largest number of characters of a value in a message."""


def upgrade(
    connection: Connection,
    from_epoch: int,
    tables: tuple[TableMap, ...],
    before: Mapping[str, TableContent],
    meter: Meter,
) -> None:
    """Migrate the tables to today's epoch, check and record it.

    It runs in the caller's transaction, which must be rolled back after an error. Raises LandscapeError if a value
    changed, if a filled value is not allowed in its column, if a reference leads nowhere, or if the result differs from
    a new database.
    """
    _refuse_other_triggers(connection, tables)

    def table_filled(name: str) -> None:
        meter.advance(name, before[name].rows if name in before else 0)

    run_steps(MigrationContext.configure(connection, opts={"table_filled": table_filled}), from_epoch)
    after = read_contents_after(connection, tables, meter)
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
    log_migration(connection, from_epoch)
    state = detect_state(connection)
    if state.kind is not StateKind.CURRENT:
        raise LandscapeError(f"the migration would not end in epoch {EPOCH}: {'; '.join(state.differences)}")


def run_steps(context: MigrationContext, from_epoch: int) -> None:
    """Run every later step, then create the triggers.

    Only today's database has triggers.
    """
    operations = Operations(context)
    for epoch in range(from_epoch + 1, EPOCH + 1):
        rebuild(operations, epoch_tables(epoch), load_step(epoch))
    for statement in triggers.STATEMENTS[context.dialect.name]:
        operations.execute(text(statement.replace(":", "\\:")))


def _refuse_other_triggers(connection: Connection, tables: tuple[TableMap, ...]) -> None:
    """Raise LandscapeError for triggers that are not elspeth's.

    They would be dropped with the old tables.
    """
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
    """Raise LandscapeError for references that lead nowhere.

    PostgreSQL checked every reference when it was copied; SQLite checks them now.
    """
    if connection.dialect.name != "sqlite":
        return
    # Only elspeth's tables are checked, as tables of other programs may have broken references.
    checks = (connection.exec_driver_sql(f"PRAGMA foreign_key_check({name})") for name in epoch_tables(EPOCH).tables)
    broken = list(islice(chain.from_iterable(checks), _LISTED))
    if broken:
        where = "; ".join(f"row {row} of {table} to {target}" for table, row, target, _ in broken)
        raise LandscapeError(f"the database holds references to records that it does not hold: {where}")
    (verdict,) = connection.exec_driver_sql("PRAGMA quick_check(1)").one()
    if verdict != "ok":
        raise LandscapeError(f"the migration would leave a damaged database: {verdict}")


def rebuild(operations: Operations, metadata: MetaData, step: Step) -> None:
    """Create new tables, and replace changed ones by filled copies.

    It runs in the caller's transaction. On SQLite foreign keys must be off, because old tables are dropped one by one.
    A crash at any point leaves the database unchanged.
    """
    new = {*step.created, *(copy.table for copy in step.copies)}
    names = [name for name in metadata.tables if name in new]
    if operations.get_context().dialect.name == "sqlite":
        _rebuild_sqlite(operations, metadata, names, step.copies)
    else:
        _rebuild_postgresql(operations, metadata, names, step.copies)
    for name in names:
        for index in sorted(metadata.tables[name].indexes, key=lambda each: str(each.name)):
            operations.execute(CreateIndex(index))


def _rebuild_sqlite(operations: Operations, metadata: MetaData, names: list[str], copies: tuple[Copy, ...]) -> None:
    for copy in copies:
        # References name the final tables. With foreign keys off, SQLite does not resolve them yet.
        _create(operations, metadata.tables[copy.table], f"{_PREFIX}{copy.table}", moved={})
    for copy in copies:
        _fill(operations, copy, f"{_PREFIX}{copy.table}")
    for copy in reversed(copies):
        operations.execute(f"DROP TABLE {copy.source}")
    filled = [copy.table for copy in copies]
    for name in filled:
        operations.execute(f"ALTER TABLE {_PREFIX}{name} RENAME TO {name}")
    for name in names:
        if name not in filled:
            _create(operations, metadata.tables[name], name, moved={})


def _rebuild_postgresql(operations: Operations, metadata: MetaData, names: list[str], copies: tuple[Copy, ...]) -> None:
    operations.execute(f"CREATE SCHEMA {_SCHEMA}")
    moved = {name: f"{_SCHEMA}.{name}" for name in names}
    for name in names:
        _create(operations, metadata.tables[name], moved[name], moved)
    for copy in copies:
        _fill(operations, copy, f"{_SCHEMA}.{copy.table}")
    sources = {copy.table: copy.source for copy in copies}
    known = [*sources.values(), *(name for name in metadata.tables if name not in names)]
    for name in names if known else ():
        # A new table gets the rights of one that existed.
        _give_same_rights(operations, sources.get(name, known[0]), f"{_SCHEMA}.{name}")
    if copies:
        # All in one statement, because they refer to each other. It fails if another program's view reads one of them.
        operations.execute(f"DROP TABLE {', '.join(copy.source for copy in copies)}")
    for name in names:
        # Constraints, indexes and references move with their table.
        move = f"'ALTER TABLE {_SCHEMA}.{name} SET SCHEMA ' || quote_ident(current_schema())"
        operations.execute(f"DO $$ BEGIN EXECUTE {move}; END $$")
    operations.execute(f"DROP SCHEMA {_SCHEMA}")


def _create(operations: Operations, table: Table, name: str, moved: Mapping[str, str]) -> None:
    """Create the table under another name.

    Its references use the names in `moved`. The table is compiled as it is, because a copy of it would have its
    constraints in arbitrary order.
    """
    statement = str(CreateTable(table).compile(dialect=operations.get_context().dialect)).strip()
    statement = statement.replace(f"CREATE TABLE {table.name} ", f"CREATE TABLE {name} ")
    for target, place in moved.items():
        statement = statement.replace(f" REFERENCES {target} ", f" REFERENCES {place} ")
    operations.execute(text(statement.replace(":", "\\:")))


def _fill(operations: Operations, copy: Copy, target: str) -> None:
    columns = ", ".join(column for column, _ in copy.expressions)
    values = ", ".join(expression for _, expression in copy.expressions)
    operations.execute(f"INSERT INTO {target} ({columns}) SELECT {values} FROM {copy.source} AS old")  # noqa: S608 - our own snapshots
    report = operations.get_context().opts.get("table_filled")
    if report is not None:
        report(copy.source)


def _give_same_rights(operations: Operations, source: str, target: str) -> None:
    """Give a table the owner and grants of another (PostgreSQL)."""
    operations.execute(_SAME_RIGHTS.replace("SOURCE", source).replace("TARGET", target).replace("\n", " "))


_SAME_RIGHTS = """\
DO $$ DECLARE old pg_class; owner text; entry record; BEGIN
SELECT * INTO old FROM pg_class WHERE oid = 'SOURCE'::regclass;
owner := quote_ident(pg_get_userbyid(old.relowner));
IF old.relowner <> (SELECT relowner FROM pg_class WHERE oid = 'TARGET'::regclass) THEN
EXECUTE 'ALTER TABLE TARGET OWNER TO ' || owner;
END IF;
IF old.relacl IS NOT NULL THEN
EXECUTE 'REVOKE ALL ON TARGET FROM ' || owner;
FOR entry IN SELECT * FROM aclexplode(old.relacl) LOOP
EXECUTE 'GRANT ' || entry.privilege_type || ' ON TARGET TO '
|| CASE WHEN entry.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(entry.grantee)) END
|| CASE WHEN entry.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END;
END LOOP;
END IF;
END $$"""


def check_filled(connection: Connection, from_epoch: int, to_epoch: int) -> None:
    """Check every value that the steps filled in.

    Raises LandscapeError for the first value that is not allowed in its column.
    """
    filled = filled_columns(from_epoch, to_epoch)
    for table in load_snapshot(to_epoch).tables:
        for column in table.columns:
            if column.name in filled.get(table.name, ()):
                _check_values(connection, table.name, column)


def filled_columns(from_epoch: int, to_epoch: int) -> Mapping[str, frozenset[str]]:
    """Return the columns that steps backfill, by table.

    The names are those of the last epoch.
    """
    filled: dict[str, frozenset[str]] = {}
    for epoch in range(from_epoch + 1, to_epoch + 1):
        copies = load_step(epoch).copies
        sources = {copy.source for copy in copies}
        after = {table: columns for table, columns in filled.items() if table not in sources}
        now = {
            table.name: [column for column in table.columns if column.backfill] for table in load_snapshot(epoch).tables
        }
        for copy in copies:
            earlier = filled.get(copy.source, frozenset())
            moved = [new for old, new in copy.kept if old in earlier]
            after[copy.table] = frozenset([*moved, *(column.name for column in now[copy.table])])
        filled = after
    return filled


def _check_values(connection: Connection, table: str, column: ColumnSnapshot) -> None:
    acceptor = _acceptor(column)
    statement = f'SELECT DISTINCT "{column.name}" FROM "{table}" WHERE "{column.name}" IS NOT NULL'  # noqa: S608 - names of our own snapshots
    with connection.exec_driver_sql(statement, execution_options={"yield_per": _FETCH}) as found:
        wrong = next((value for (value,) in found if not acceptor.accepts(value)), None)
    if wrong is not None:
        shown = repr(wrong)
        shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}... ({len(shown)} characters)"
        raise LandscapeError(
            f"the migration would fill {table}.{column.name} with {shown}, expected {acceptor.expected}"
        )


def _acceptor(column: ColumnSnapshot) -> Acceptor:
    """Return the check for the values of a column."""
    if column.values:
        return Acceptor(f"one of {', '.join(column.values)}", lambda value: value in column.values)
    match column.kind:
        case Kind.TEXT:
            _, _, length = column.type.rstrip(")").partition("(")
            return checks.text(max_length=int(length) if length else None, pattern=column.pattern)
        case Kind.JSON:
            return checks.JSON
        case Kind.INTEGER:
            return checks.integer(**_bounds(column))
        case Kind.REAL:
            return checks.real(**_bounds(column))
        case Kind.BOOLEAN:
            return Acceptor("0 or 1", lambda value: type(value) is int and value in (0, 1))
        case Kind.TIMESTAMP:
            return Acceptor("a time", _is_time)


def _bounds(column: ColumnSnapshot) -> dict[str, int]:
    bounds = {"minimum": column.minimum, "maximum": column.maximum}
    return {name: bound for name, bound in bounds.items() if bound is not None}


def _is_time(value: object) -> bool:
    """Return whether the value is a driver's time.

    PostgreSQL returns a time, SQLite its text.
    """
    if isinstance(value, str):
        try:
            datetime.fromisoformat(value)
        except ValueError:
            return False
        return True
    return isinstance(value, datetime)

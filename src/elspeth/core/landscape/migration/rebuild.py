"""Running one step: build tables beside the old ones, fill them, let them take their place."""

from __future__ import annotations

from collections.abc import Mapping

from alembic.operations import Operations
from sqlalchemy import MetaData, Table, text
from sqlalchemy.schema import CreateIndex, CreateTable

from elspeth.schema.steps import Copy, Step

__all__ = ["give_same_rights", "rebuild"]

_PREFIX = "_new_"
"""Beside the old tables on SQLite, where constraint names need not be unique."""

_SCHEMA = "landscape_new"
"""Beside them on PostgreSQL, where they must be unique within a schema."""


def rebuild(operations: Operations, metadata: MetaData, step: Step) -> None:
    """Create the new tables, and let a filled new table take the place of each changed one.

    Runs inside the caller's transaction; on SQLite foreign keys must be off, as old tables are dropped one by one.
    A crash anywhere leaves the database as it was.
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
        # References name the final tables: with foreign keys off, SQLite does not look for them yet.
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
        # A new table gets the rights of some table that is not.
        give_same_rights(operations, sources.get(name, known[0]), f"{_SCHEMA}.{name}")
    if copies:
        # All at once, for they refer to each other; a view of somebody else's that reads one of them is an error.
        operations.execute(f"DROP TABLE {', '.join(copy.source for copy in copies)}")
    for name in names:
        # Constraints, indexes and references go with a table.
        move = f"'ALTER TABLE {_SCHEMA}.{name} SET SCHEMA ' || quote_ident(current_schema())"
        operations.execute(f"DO $$ BEGIN EXECUTE {move}; END $$")
    operations.execute(f"DROP SCHEMA {_SCHEMA}")


def _create(operations: Operations, table: Table, name: str, moved: Mapping[str, str]) -> None:
    """Create the table under another name, with references to other names of the tables that `moved`.

    It is the table's own statement: a copy of the table would have its constraints in any order.
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


def give_same_rights(operations: Operations, source: str, target: str) -> None:
    """On PostgreSQL, let the target table have the owner and the grants of the source table."""
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

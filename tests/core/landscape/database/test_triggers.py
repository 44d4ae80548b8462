"""The triggers refuse exactly what the lifecycles forbid.

Each table is filled, and each column of each record tried: no table and no column is known here by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import ColumnElement, Connection, Table, and_, delete, insert, select, text, update
from sqlalchemy.exc import DBAPIError

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.pruned_runs import PrunedRun, add_pruned_run
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.landscape.records.integrity import is_open
from elspeth.core.landscape.records.mapping import mapper
from elspeth_schema.contracts import AuditRecord
from elspeth_schema.records import RECORD_TYPES, Kind, RecordType
from elspeth_schema.tables import (
    adoptions_table,
    held_items_table,
    log_places_table,
    metadata,
    pruned_runs_table,
    run_secrets_table,
    schema_migrations_table,
    seal_leaves_table,
    seals_table,
)
from elspeth_strategies import SHAPES, records
from tests.fixtures.effort import some_of
from tests.fixtures.every_type import record_missing_types
from tests.fixtures.landscapes import NewLandscape, in_memory
from tests.fixtures.records import record_everything

Row = Mapping[str, object]

EVERY_TYPE = pytest.mark.parametrize("record_type", RECORD_TYPES.values(), ids=RECORD_TYPES)
LASTING = (
    adoptions_table,
    pruned_runs_table,
    run_secrets_table,
    schema_migrations_table,
    seal_leaves_table,
    seals_table,
)
"""What a database keeps beside the records for good."""

RELEASED = (
    run_secrets_table,
    seal_leaves_table,
    *reversed([record_type.table for record_type in RECORD_TYPES.values()]),
)
"""What a pruned run leaves, so that no reference is broken on the way."""

EVERY_TABLE = [table for table in metadata.tables.values() if table not in {held_items_table, log_places_table}]
"""What waits in a run changes until it ends, and is gone then; places of checkpoints remind, and prove nothing."""


def fill(database: LandscapeDB) -> None:
    """Record every type and shape, in two runs.

    One run is finished, the other is open.
    """
    for run_id in ("finished", "open"):
        record_everything(LandscapeRecorder(database), run_id)
        record_missing_types(database, run_id)
    LandscapeRecorder(database).finalize_run("finished", "completed")
    with database.connection() as connection:
        adoption = {column.name: "[]" for column in adoptions_table.columns}
        connection.execute(insert(adoptions_table), {**adoption, "adopted_at": datetime.now(UTC)})
        add_pruned_run(connection, pruned("gone"))


def pruned(run_id: str) -> PrunedRun:
    texts = dict.fromkeys(("outputs_json", "bag_path", "tool"), "[]")
    times = dict.fromkeys(("started_at", "completed_at", "pruned_at"), "2026-01-01T00:00:00.000000Z")
    hashes = dict.fromkeys(("bag_hash", "bag_root"), "0" * 64)
    return PrunedRun(run_id=run_id, status="completed", row_count=1, record_count=1, **texts, **times, **hashes)


@pytest.fixture(scope="module")
def full_on_sqlite() -> Iterator[LandscapeDB]:
    """Fill every table of a SQLite database."""
    with in_memory() as database:
        fill(database)
        yield database


@pytest.fixture(scope="module")
def full_on_postgresql(on_postgresql: NewLandscape) -> Iterator[LandscapeDB]:
    """Fill every table of a PostgreSQL database."""
    with on_postgresql() as database:
        fill(database)
        yield database


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def full(request: pytest.FixtureRequest) -> LandscapeDB:
    """Return that database on each engine."""
    database: LandscapeDB = request.getfixturevalue(f"full_on_{request.param}")
    return database


@contextmanager
def rolled_back(database: LandscapeDB) -> Iterator[Connection]:
    """Open a connection whose changes are rolled back."""
    with database.engine.connect() as connection:
        yield connection


@contextmanager
def refused(connection: Connection, message: str) -> Iterator[None]:
    """Check that the block fails with a message."""
    savepoint = connection.begin_nested()
    with pytest.raises(DBAPIError) as caught:
        yield
    savepoint.rollback()
    assert str(caught.value.orig).splitlines()[0] == message


def rows_of(connection: Connection, table: Table) -> list[Row]:
    found: list[Row] = [dict(row) for row in connection.execute(select(table)).mappings()]
    assert found
    return found


def this_row(table: Table, row: Row) -> ColumnElement[bool]:
    return and_(*(table.c[column.name] == row[column.name] for column in table.primary_key))


def may_change(record_type: RecordType[AuditRecord], row: Row) -> frozenset[str]:
    lifecycle = record_type.lifecycle
    return lifecycle.afterwards | (lifecycle.while_open if is_open(record_type, row) else frozenset())


def other(record_type: RecordType[AuditRecord], name: str, value: object) -> object:
    """Return another value for a column.

    It need not satisfy the column's constraints.
    """
    column = next(column for column in record_type.columns if column.name == name)
    if value is None:
        return {Kind.TIMESTAMP: text("CURRENT_TIMESTAMP"), Kind.INTEGER: 7, Kind.REAL: 7.5}.get(column.kind, "7")
    return None


@pytest.mark.parametrize("record_type", some_of(list(RECORD_TYPES.values()), 2), ids=lambda each: each.name)
def test_immutable_columns_cannot_be_changed(full: LandscapeDB, record_type: RecordType[AuditRecord]) -> None:
    table = record_type.table
    with rolled_back(full) as connection:
        for row in rows_of(connection, table):
            for name in row.keys() - may_change(record_type, row):
                with refused(connection, f"{table.name}: a recorded value cannot be changed"):
                    value = other(record_type, name, row[name])
                    connection.execute(update(table).where(this_row(table, row)).values({name: value}))


@given(data=st.data())
@settings(max_examples=5)
@EVERY_TYPE
def test_mutable_columns_can_be_changed(
    full: LandscapeDB, record_type: RecordType[AuditRecord], data: st.DataObject
) -> None:
    table = record_type.table
    shape = data.draw(st.sampled_from([shape for shape in SHAPES if shape.record_type == record_type.name]))
    wanted = mapper(record_type).to_row(data.draw(records(shape)))
    references = {name for reference in record_type.references for name in reference.columns}
    with rolled_back(full) as connection:
        for row in rows_of(connection, table):
            changes = {name: wanted[name] for name in may_change(record_type, row) - references}
            if not is_open(record_type, row):
                changes.pop(record_type.lifecycle.status or "", None)
            if changes:
                connection.execute(update(table).where(this_row(table, row)).values(changes))
                (changed,) = connection.execute(mapper(record_type).select().where(this_row(table, row)))
                now = mapper(record_type).to_row(mapper(record_type).from_row(changed))
                assert {name: now[name] for name in changes} == changes


def test_every_kind_of_lifecycle_is_tested(full: LandscapeDB) -> None:
    seen = set()
    with rolled_back(full) as connection:
        for record_type in RECORD_TYPES.values():
            lifecycle = record_type.lifecycle
            seen |= {
                (lifecycle.status is not None, is_open(record_type, row), bool(lifecycle.afterwards))
                for row in rows_of(connection, record_type.table)
            }
    assert seen == {
        (True, True, True),
        (True, False, True),
        (True, True, False),
        (True, False, False),
        (False, False, True),
        (False, False, False),
    }


@pytest.mark.parametrize("table", EVERY_TABLE, ids=str)
def test_no_record_can_be_deleted(full: LandscapeDB, table: Table) -> None:
    with rolled_back(full) as connection:
        for row in rows_of(connection, table):
            with refused(connection, f"{table.name}: a record cannot be deleted"):
                connection.execute(delete(table).where(this_row(table, row)))


@pytest.mark.parametrize("run_id", ["finished", "open"])
def test_only_records_of_a_pruned_run_can_be_deleted(full: LandscapeDB, run_id: str) -> None:
    kept = [table for table in EVERY_TABLE if table not in RELEASED]
    with rolled_back(full) as connection:
        add_pruned_run(connection, pruned(run_id))
        others = [table for table in RELEASED if rows_of_run(connection, table, run_id)]
        for table in others:
            other = "open" if run_id == "finished" else "finished"
            for row in rows_of_run(connection, table, other):
                with refused(connection, f"{table.name}: a record cannot be deleted"):
                    connection.execute(delete(table).where(this_row(table, row)))
        for table in others:
            connection.execute(delete(table).where(table.c.run_id == run_id))
        assert [table.name for table in RELEASED if rows_of_run(connection, table, run_id)] == []
        for table in kept:
            with refused(connection, f"{table.name}: a record cannot be deleted"):
                connection.execute(delete(table))


def rows_of_run(connection: Connection, table: Table, run_id: str) -> list[Row]:
    return [dict(row) for row in connection.execute(select(table).where(table.c.run_id == run_id)).mappings()]


@pytest.mark.parametrize("table", LASTING, ids=str)
def test_bookkeeping_tables_cannot_be_changed(full: LandscapeDB, table: Table) -> None:
    with rolled_back(full) as connection:
        for row in rows_of(connection, table):
            with refused(connection, f"{table.name}: a recorded value cannot be changed"):
                connection.execute(update(table).where(this_row(table, row)).values(row))


@pytest.mark.parametrize("table", EVERY_TABLE, ids=str)
def test_insert_or_replace_cannot_replace_on_sqlite(full_on_sqlite: LandscapeDB, table: Table) -> None:
    with rolled_back(full_on_sqlite) as connection:
        for row in rows_of(connection, table):
            with refused(connection, f"{table.name}: a record cannot be deleted"):
                connection.execute(insert(table).prefix_with("OR REPLACE").values(row))


@pytest.mark.postgres
@pytest.mark.parametrize("role", ["origin", "replica", "local"])
@pytest.mark.parametrize("table", EVERY_TABLE, ids=str)
def test_no_session_role_bypasses_the_triggers_on_postgresql(
    full_on_postgresql: LandscapeDB, table: Table, role: str
) -> None:
    with rolled_back(full_on_postgresql) as connection:
        connection.exec_driver_sql(f"SET LOCAL session_replication_role = {role}")
        key = next(iter(table.primary_key))
        with refused(connection, f"{table.name}: a record cannot be deleted"):
            connection.exec_driver_sql(f"TRUNCATE {table.name} CASCADE")
        with refused(connection, f"{table.name}: a record cannot be deleted"):
            connection.execute(delete(table))
        with refused(connection, f"{table.name}: a recorded value cannot be changed"):
            connection.execute(update(table).values({key: None}))

"""Exports hold every value of historical databases, and nothing else."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.exporting.exporter import LandscapeExporter
from elspeth.core.landscape.migration.private_copy import open_for_reading
from elspeth_schema.contracts import AuditRecord
from elspeth_schema.records import RECORD_TYPES, Column, Kind, RecordType
from tests.core.landscape.migration.conftest import Migrated
from tests.fixtures.legacy import OldDatabase, Values, record_rows_of, rows_of

RUN_OF_ROW = {
    "tokens": "SELECT token_id, run_id FROM tokens JOIN rows USING (row_id)",
    "token_parents": "SELECT token_id, run_id FROM token_parents JOIN tokens USING (token_id) JOIN rows USING (row_id)",
    "node_states": "SELECT state_id, rows.run_id FROM node_states JOIN tokens USING (token_id)"
    " JOIN rows USING (row_id)",
    "calls": "SELECT call_id, rows.run_id FROM calls JOIN node_states USING (state_id) JOIN tokens USING (token_id)"
    " JOIN rows USING (row_id)",
    "calls of operations": "SELECT call_id, operations.run_id FROM calls JOIN operations USING (operation_id)",
    "routing_events": "SELECT event_id, rows.run_id FROM routing_events JOIN node_states USING (state_id)"
    " JOIN tokens USING (token_id) JOIN rows USING (row_id)",
    "batch_members": "SELECT batch_id, run_id FROM batch_members JOIN batches USING (batch_id)",
    "batch_outputs": "SELECT batch_output_id, run_id FROM batch_outputs JOIN batches USING (batch_id)",
}
"""For tables without a run up to epoch 4: the first column of the key, and the run that the row belongs to."""

Records = dict[tuple[str, str, tuple[object, ...]], Values]
"""Exported records by run, type and key."""


def test_the_export_after_a_migration_holds_the_values_of_the_database(migrated: Migrated) -> None:
    with LandscapeDB(migrated.database.url, create_tables=False) as database:
        assert exported(database, migrated.database) == expected(migrated.database)


def test_the_export_through_a_private_copy_holds_the_same_values(old_database: OldDatabase) -> None:
    with open_for_reading(old_database.url) as database:
        assert exported(database, old_database) == expected(old_database)


def exported(database: LandscapeDB, old: OldDatabase) -> Records:
    """Return the records that the old runs export, withheld included."""
    found: Records = {}
    for run in rows_of(old.source)["runs"]:
        run_id = str(run["run_id"])
        for record in LandscapeExporter(database, include_payloads=True).export_run(run_id):
            name = record.pop("record_type")
            key = (run_id, name, tuple(record[column] for column in RECORD_TYPES[name].key))
            assert key not in found
            found[key] = record
    return found


def expected(old: OldDatabase) -> Records:
    """Return the records that the file's rows become.

    They hold the values that were there, and the runs that follow from references.
    """
    runs, rows = runs_of_rows(old), record_rows_of(old)
    found = {
        (str(record["run_id"]), record_type.name, tuple(record[column] for column in record_type.key)): record
        for record_type in RECORD_TYPES.values()
        for record in records_of(record_type, rows.get(record_type.table.name, []), runs)
    }
    assert len(found) == sum(map(len, rows.values()))
    return found


def records_of(
    record_type: RecordType[AuditRecord], rows: list[Values], runs: Mapping[tuple[str, object], str]
) -> Iterator[Values]:
    names = [column.name for column in record_type.columns]
    for row in rows:
        assert row.keys() <= set(names)
        record: Values = {column.name: exported_value(column, row.get(column.name)) for column in record_type.columns}
        if "run_id" not in row:
            record["run_id"] = runs[record_type.table.name, next(iter(row.values()))]
        yield record


def exported_value(column: Column, value: object) -> object:
    if value is None:
        return None
    if column.kind is Kind.TIMESTAMP:
        return f"{str(value).replace(' ', 'T')}Z"
    return bool(value) if column.kind is Kind.BOOLEAN else value


def runs_of_rows(old: OldDatabase) -> dict[tuple[str, object], str]:
    """Return the run of each row that names none.

    References lead to it.
    """
    found: dict[tuple[str, object], str] = {}
    with closing(sqlite3.connect(f"{old.source.as_uri()}?mode=ro", uri=True)) as connection:
        for what, statement in RUN_OF_ROW.items():
            if old.epoch == 4 or (what != "calls of operations" and old.epoch < 4):
                table, *_ = what.split()
                found |= {(table, key): run_id for key, run_id in connection.execute(statement)}
    return found

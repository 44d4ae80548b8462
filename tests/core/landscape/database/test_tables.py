"""The installed snapshots, compared with schema and old databases."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import inspect

from elspeth.contracts.enums import NodeType
from elspeth.contracts.schema import SchemaConfig
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.errors import LandscapeError
from elspeth.core.landscape.database.tables import FIRST_VERSIONED, load_snapshot
from elspeth.core.landscape.exporting.files import write_export
from elspeth.core.landscape.exporting.format import ExportFormat
from elspeth.core.landscape.exporting.importer import import_export
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.schema.snapshots import Kind
from elspeth_schema import EPOCH
from elspeth_schema.records import RECORD_TYPES
from tests.fixtures.legacy import EPOCHS, LEGACY


@pytest.mark.smoke
def test_every_epoch_has_a_snapshot() -> None:
    assert [load_snapshot(epoch).epoch for epoch in range(1, EPOCH + 1)] == list(range(1, EPOCH + 1))


@pytest.mark.parametrize("epoch", [0, EPOCH + 1])
def test_an_unknown_epoch_is_refused(epoch: int) -> None:
    with pytest.raises(LandscapeError, match=rf"^epoch {epoch} is not known: expected one from 1 to {EPOCH}$"):
        load_snapshot(epoch)


def test_todays_snapshot_lists_the_columns_of_exports() -> None:
    described = {
        table.record_type: (
            table.name,
            [(column.name, column.kind.value, column.withheld) for column in table.columns],
            table.primary_key and table.primary_key.columns,
            table.export_order,
        )
        for table in load_snapshot(EPOCH).tables
        if table.record_type is not None
    }
    assert list(described.items()) == [
        (
            name,
            (
                record_type.table.name,
                [(column.name, column.kind.value, column.withheld is not None) for column in record_type.columns],
                record_type.key,
                record_type.order,
            ),
        )
        for name, record_type in RECORD_TYPES.items()
    ]


def test_the_predecessors_epochs_have_tables_and_no_exports() -> None:
    tables = [table for epoch in range(1, 5) for table in load_snapshot(epoch).tables]
    assert {table.record_type for table in tables} == {None}
    kinds = {column.kind for table in tables for column in table.columns}
    assert kinds == {Kind.TEXT, Kind.INTEGER, Kind.REAL, Kind.TIMESTAMP}


@pytest.mark.parametrize("name", EPOCHS)
def test_a_snapshot_has_the_columns_of_a_database_of_its_epoch(name: str) -> None:
    with closing(sqlite3.connect(f"{(LEGACY / name).as_uri()}.db?mode=ro", uri=True)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = {name: [row[1] for row in connection.execute(f"PRAGMA table_info({name})")] for name in names}
    described = {table.name: [column.name for column in table.columns] for table in load_snapshot(EPOCHS[name]).tables}
    assert described == {table: found[table] for table in described}
    assert EPOCHS[name] >= FIRST_VERSIONED or described == found


# -- statistics of PostgreSQL -----------------------------------------------------------------------------------------

ROWS = 1_200


def known_rows(db: LandscapeDB) -> int:
    """Return the server's estimate of rows, or -1."""
    with db.connection() as connection:
        found: int = connection.exec_driver_sql("SELECT reltuples FROM pg_class WHERE relname = 'rows'").scalar_one()
    return found


def record(db: LandscapeDB) -> str:
    recorder = LandscapeRecorder(db)
    run_id = recorder.begin_run({}, "v1").run_id
    schema = SchemaConfig.from_dict({"fields": "dynamic"})
    recorder.register_node(run_id, "given", NodeType.SOURCE, "1", {}, node_id="source", schema_config=schema)
    with recorder.unit_of_work():
        for number in range(ROWS):
            recorder.create_row(run_id, "source", number, {"id": number})
    return run_id


@pytest.mark.postgres
def test_the_server_analyses_tables_that_have_grown(postgresql_url: str) -> None:
    with LandscapeDB.from_url(postgresql_url) as db:
        record(db)
        assert known_rows(db) == ROWS


@pytest.mark.postgres
def test_the_server_analyses_imported_tables(postgresql_url: str, sqlite_url: str, tmp_path: Path) -> None:
    with LandscapeDB.from_url(sqlite_url) as origin:
        write_export(origin, record(origin), tmp_path / "run.jsonl", format=ExportFormat.JSONL)
    with LandscapeDB.from_url(postgresql_url) as db:
        import_export(db, tmp_path / "run.jsonl")
        assert known_rows(db) == ROWS


DICTIONARY = Path(__file__).parents[4] / "generated" / "elspeth_schema" / "data-dictionary.md"


def test_every_table_of_a_new_database_is_described(landscape: LandscapeDB) -> None:
    text = DICTIONARY.read_text(encoding="utf-8")
    overview = re.findall(r"^\| \[`\w+`\]\(#\w+\) \| `(\w+)` \|", text, re.MULTILINE)
    beside = re.findall(r"^\| \[`(\w+)`\]\(#\1\) \| (?!`)", text, re.MULTILINE)
    assert sorted([*overview, *beside]) == sorted(inspect(landscape.engine).get_table_names())
    said = f"{len(overview) + len(beside)} tables, all from this schema: {len(overview)} of records"
    assert f"{said}, which are exported, and {len(beside)} [beside them](#bookkeeping)." in text

"""PostgreSQL knows how large tables are as soon as that matters: references are checked by their keys."""

from pathlib import Path

import pytest

from elspeth.contracts.enums import NodeType
from elspeth.contracts.schema import SchemaConfig
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.exporting.files import write_export
from elspeth.core.landscape.exporting.format import ExportFormat
from elspeth.core.landscape.exporting.importer import import_export
from elspeth.core.landscape.recording.recorder import LandscapeRecorder

ROWS = 1_200


def known_rows(db: LandscapeDB) -> int:
    """How many rows the server takes the table for, -1 when it has never looked."""
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
def test_the_server_looks_at_tables_that_have_grown(postgresql_url: str) -> None:
    with LandscapeDB.from_url(postgresql_url) as db:
        record(db)
        assert known_rows(db) == ROWS


@pytest.mark.postgres
def test_the_server_looks_at_tables_that_were_imported(postgresql_url: str, sqlite_url: str, tmp_path: Path) -> None:
    with LandscapeDB.from_url(sqlite_url) as origin:
        write_export(origin, record(origin), tmp_path / "run.jsonl", format=ExportFormat.JSONL)
    with LandscapeDB.from_url(postgresql_url) as db:
        import_export(db, tmp_path / "run.jsonl")
        assert known_rows(db) == ROWS

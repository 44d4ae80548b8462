"""`elspeth landscape check`: the seals of all runs, computed anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from elspeth.cli import main
from elspeth.contracts.schema import SchemaConfig
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.recorder import LandscapeRecorder
from elspeth_schema.contracts import NodeType, RunStatus
from tests.core.landscape.test_seal import drop_guards


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Two finished runs with a row each."""
    path = tmp_path / "audit.db"
    with LandscapeDB(f"sqlite:///{path}") as landscape:
        recorder = LandscapeRecorder(landscape)
        for run_id in ("first", "second"):
            recorder.begin_run({}, "v1", run_id=run_id)
            schema = SchemaConfig.from_dict({"fields": "dynamic"})
            recorder.register_node(run_id, "csv", NodeType.SOURCE, "1", {}, node_id="source", schema_config=schema)
            recorder.create_row(run_id, "source", 0, {"a": 1}, row_id="row")
            recorder.complete_run(run_id, RunStatus.COMPLETED)
    return path


def check(database: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, list[str]]:
    capsys.readouterr()
    code = main(["landscape", "check", "-d", str(database), *options])
    out, err = capsys.readouterr()
    assert out == ""
    return code, err.splitlines()


def test_sealed_runs_that_are_unchanged(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, (state, verdict) = check(database, capsys)
    assert code == 0
    assert state == f"audit database sqlite:///{database} is of epoch 5, as this version expects."
    assert verdict == "2 of 2 sealed runs unchanged"


def test_an_edit_is_found_by_run_table_and_key(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with LandscapeDB(f"sqlite:///{database}") as landscape, landscape.writing() as connection:
        drop_guards(connection)
        connection.exec_driver_sql("UPDATE rows SET row_index = 7 WHERE run_id = 'second'")
    code, (state, fault, verdict) = check(database, capsys)
    assert code == 1
    assert "trigger guard_runs_update is missing" in state
    assert fault == (
        "run second was changed after it was sealed: "
        "rows run_id='second' row_id='row': is not the record that was sealed here"
    )
    assert verdict == "1 of 2 sealed runs unchanged"


def test_only_the_epoch_is_looked_at_if_wanted(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = check(database, capsys, "--no-seals")
    assert (code, len(lines)) == (0, 1)

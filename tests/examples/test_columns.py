"""Every column of the dictionary is recorded, or has ended."""

from __future__ import annotations

import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from elspeth.cli import main
from elspeth.contracts.environment import FINGERPRINT_KEY
from elspeth.contracts.plugins import PluginError
from elspeth.core.landscape.database.known_shapes import known_shapes
from elspeth.core.landscape.migration.adoption import adopt
from elspeth.engine.reporting import ExportFailedError, Observer
from elspeth_schema.records import ADOPTED_VALUE, RECORD_TYPES
from tests.engine.pipelines import build, csv_settings, execute, graph_settings, run_graph
from tests.engine.test_export import exporting
from tests.engine.test_failures import FaultySink, faulty
from tests.engine.test_forks import slow
from tests.examples.running import names, run_example
from tests.fixtures.object_store import Bucket
from tests.fixtures.predecessor import create_filled

Columns = set[tuple[str, str]]

EVERY = {(record_type.name, column.name) for record_type in RECORD_TYPES.values() for column in record_type.columns}
MARKED = {
    (record_type.name, column.name)
    for record_type in RECORD_TYPES.values()
    for column in record_type.columns
    if column.until is not None
}


def filled(database: Path) -> Columns:
    """Return the columns in which some record has a value."""
    with closing(sqlite3.connect(database)) as connection:
        return {
            (record_type.name, column.name)
            for record_type in RECORD_TYPES.values()
            for column in record_type.columns
            if connection.execute(
                f'SELECT 1 FROM {record_type.table.name} WHERE "{column.name}" IS NOT NULL LIMIT 1'  # noqa: S608 - ours
            ).fetchone()
        }


def of_examples(directory: Path) -> Columns:
    found: Columns = set()
    for name in names():
        run_example(name, directory)
        found |= filled(directory / "examples" / name / "runs" / "audit.db")
    return found


def of_a_run_with_a_secret_whose_export_fails(directory: Path) -> Columns:
    settings = exporting(directory)
    settings["labels"] = {"password": "${PASSWORD}"}
    environ = {FINGERPRINT_KEY: "operator of the run", "PASSWORD": "hunter2"}
    path = directory / "out" / "trail.json"
    with pytest.raises(ExportFailedError):
        execute(build(directory, settings, environ=environ), Observer(on_rows=lambda _: path.mkdir()), environ=environ)
    return filled(directory / "audit.db")


def of_a_run_that_fails(directory: Path) -> Columns:
    FaultySink.method = "finish"
    (directory / "in.csv").write_text("id,kind\n1,x\n")
    with pytest.raises(PluginError):
        execute(build(directory, faulty(directory), FaultySink))
    return filled(directory / "audit.db")


def of_a_run_in_which_a_branch_is_late(directory: Path) -> Columns:
    settings = slow(directory, [{"id": 1}], {"policy": "first"})
    run_graph(directory, settings)
    return filled(directory / "audit.db")


def of_a_query_in_a_repository(directory: Path) -> Columns:
    """Return the columns that the origins of runs fill."""
    query = {"url": f"sqlite:///{directory / 'in.db'}", "query": "SELECT 1 AS id"}
    sqlite3.connect(directory / "in.db").close()
    settings = graph_settings(directory, [], datasource={"plugin": "sql", "options": query}, labels={"ticket": "A-1"})
    (directory / "settings.yaml").write_text(yaml.safe_dump(settings))
    for arguments in ("init -q", "add settings.yaml", "-c user.name=x -c user.email=x commit -q -m x"):
        subprocess.run(["git", *arguments.split()], cwd=directory, check=True)
    assert main(["run", "-s", "settings.yaml", "--execute", "--no-dotenv"]) == 0
    return filled(directory / "audit.db")


def of_an_adopted_run(directory: Path) -> Columns:
    """Return the columns that only adopted runs fill."""
    old, new = f"sqlite:///{directory / 'old.db'}", f"sqlite:///{directory / 'new.db'}"
    create_filled(old, known_shapes()[-1])
    adopt(old, new)
    return {(name, column) for name, column in filled(directory / "new.db") if name == ADOPTED_VALUE.name}


RUNS = (
    of_an_adopted_run,
    of_examples,
    of_a_run_with_a_secret_whose_export_fails,
    of_a_run_that_fails,
    of_a_run_in_which_a_branch_is_late,
    of_a_query_in_a_repository,
)


def of_a_run_over_objects(directory: Path, bucket: Bucket) -> Columns:
    bucket.put("in.csv", "id,kind\n1,x\n")
    settings = csv_settings(directory)
    settings["datasource"]["options"]["path"] = bucket.url("in.csv")
    settings["sinks"]["x"]["options"]["path"] = bucket.url("x.csv")
    execute(build(directory, settings))
    return filled(directory / "audit.db")


def test_every_column_is_recorded_by_some_example_or_marked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bucket: Bucket
) -> None:
    monkeypatch.chdir(tmp_path)
    found = of_a_run_over_objects(tmp_path, bucket)
    for runs in RUNS:
        directory = tmp_path / runs.__name__
        directory.mkdir()
        monkeypatch.chdir(directory)
        found |= runs(directory)
    assert sorted(EVERY - found) == sorted(MARKED)

"""Events of recorded runs."""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from elspeth.core.landscape.database import LandscapeDB
from elspeth.engine.errors import RunInterruptedError
from elspeth.engine.keys import load_run_keys
from elspeth.engine.orchestrator import Orchestrator
from elspeth.engine.reporting import Observer
from elspeth.openlineage.events import run_events, run_uuid
from elspeth.openlineage.files import database_records
from tests.engine.pipelines import build, csv_settings, execute
from tests.examples.running import names
from tests.fixtures.example_runs import ExampleRun
from tests.openlineage.specification import assert_valid, facets_of

Json = dict[str, Any]


def events_in(database: str, run_id: str | None = None) -> list[Json]:
    """Return the events of a run, by default the newest."""
    with LandscapeDB.from_url(database, create_tables=False) as db:
        found = run_id or _newest(db)
        return [json.loads(json.dumps(each)) for each in run_events(database_records(db, found))]


def _newest(db: LandscapeDB) -> str:
    with db.connection() as connection:
        row = connection.exec_driver_sql("SELECT run_id FROM runs ORDER BY started_at DESC LIMIT 1").one()
    return str(row[0])


def _run(directory: Path, **sections: object) -> list[Json]:
    (directory / "in.csv").write_text("id,kind\n1,x\n2,y\n3,y\n")
    execute(build(directory, {**csv_settings(directory), **sections}))
    return events_in(f"sqlite:///{directory / 'audit.db'}")


def _kinds(event: Json) -> set[str]:
    return {place.rpartition(".")[2] for place, _ in facets_of(event)}


@pytest.mark.parametrize("name", names())
def test_every_event_of_every_example_follows_the_specification(name: str, example_run: ExampleRun) -> None:
    events = events_in(f"sqlite:///{example_run(name).database}")
    assert [each["eventType"] for each in events] == ["START", "COMPLETE"]
    for event in events:
        assert_valid(event)
        assert event["run"]["runId"] == events[0]["run"]["runId"]
        assert event["inputs"]
        assert event["outputs"]


def test_a_facet_that_breaks_its_own_schema_is_found(tmp_path: Path) -> None:
    event = _run(tmp_path)[-1]
    assert_valid(event)
    for place, name, member in (
        ("run", "processing_engine", "version"),
        ("job", "jobType", "integration"),
        ("run", "elspeth_evidence", "run_id"),
    ):
        broken = copy.deepcopy(event)
        del broken[place]["facets"][name][member]
        with pytest.raises(AssertionError, match=member):
            assert_valid(broken)
        broken[place]["facets"][name] = {**event[place]["facets"][name], "mispelt": 1}
        with pytest.raises(AssertionError):
            assert_valid(broken)


def test_the_beginning_says_what_is_known_then_and_the_end_what_came_of_it(tmp_path: Path) -> None:
    start, end = _run(tmp_path)
    assert [each["name"] for each in start["inputs"]] == [f"{tmp_path}/in.csv"]
    assert sorted(each["name"] for each in start["outputs"]) == [f"{tmp_path}/out/rest.csv", f"{tmp_path}/out/x.csv"]
    assert not {"inputStatistics", "outputStatistics", "version"} & _kinds(start)
    assert "seal" not in start["run"]["facets"]["elspeth_evidence"]
    assert {"inputStatistics", "outputStatistics", "version"} <= _kinds(end)
    (read,) = end["inputs"]
    statistics = read["inputFacets"]["inputStatistics"]
    assert (statistics["rowCount"], statistics["size"], statistics["fileCount"]) == (3, 20, 1)
    rows = {Path(each["name"]).name: each["outputFacets"]["outputStatistics"]["rowCount"] for each in end["outputs"]}
    assert rows == {"rest.csv": 2, "x.csv": 1}


def test_versions_are_the_hashes_of_the_trail_and_the_seal_is_that_of_the_run(tmp_path: Path) -> None:
    (_, end) = _run(tmp_path)
    with LandscapeDB.from_url(f"sqlite:///{tmp_path / 'audit.db'}", create_tables=False) as db:
        records = database_records(db, _newest(db))
    assert records.seal is not None
    facet = end["run"]["facets"]["elspeth_evidence"]
    assert facet["seal"] == {"root": records.seal.root, "record_count": records.seal.record_count, "epoch": 6}
    assert (facet["run_id"], facet["config_hash"]) == (records.run.run_id, records.run.config_hash)
    assert end["run"]["runId"] == str(run_uuid(records.run.run_id))
    versions = {each["name"]: each["facets"]["version"]["datasetVersion"] for each in end["outputs"]}
    assert versions == {str(tmp_path / each.path_or_uri): f"sha256:{each.content_hash}" for each in records.artifacts}
    assert end["inputs"][0]["facets"]["version"]["datasetVersion"] == f"sha256:{records.inputs[0].content_hash}"


def test_a_run_that_failed_says_why(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("id,kind\n1,x\n2,y\n3,\xff\n", encoding="latin-1")
    settings = csv_settings(tmp_path, fail_if={"quarantined": 0})
    with pytest.raises(Exception, match="quarantined"):
        execute(build(tmp_path, settings))
    start, end = events_in(f"sqlite:///{tmp_path / 'audit.db'}")
    assert (start["eventType"], end["eventType"]) == ("START", "FAIL")
    assert_valid(end)
    message = end["run"]["facets"]["errorMessage"]
    assert message["message"].startswith("TooManyFailuresError: ")
    assert message["programmingLanguage"] == "PYTHON"
    assert "outputFacets" not in end["outputs"][0], "nothing was published"


def test_a_stopped_run_that_went_on_says_both(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("id,kind\n" + "".join(f"{number},x\n" for number in range(20)))
    settings = csv_settings(tmp_path, checkpoint={"frequency": "every_row"})
    stops = iter([False] * 5)
    pipeline = build(tmp_path, settings)
    with pytest.raises(RunInterruptedError):
        execute(pipeline, Observer(is_stopped=lambda: next(stops, True)))
    url = f"sqlite:///{tmp_path / 'audit.db'}"
    stopped = events_in(url)
    assert [each["eventType"] for each in stopped] == ["START", "ABORT"]
    assert "interrupted" in stopped[-1]["run"]["facets"]["errorMessage"]["message"].lower()
    with LandscapeDB.from_url(url) as db:
        run_id = _newest(db)
        keys = load_run_keys(pipeline.settings, {}, source="settings.yaml")
        Orchestrator(db, build(tmp_path, settings), keys).resume(run_id)
    events = events_in(url)
    assert [each["eventType"] for each in events] == ["START", "ABORT", "RUNNING", "COMPLETE"]
    assert events[:2] == stopped, "what was sent stays what is recorded"
    assert [each["eventTime"] for each in events] == sorted(each["eventTime"] for each in events)
    for event in events:
        assert_valid(event)


def test_labels_the_commit_and_the_parent_are_named(tmp_path: Path) -> None:
    parent = "airflow/orders.daily/0193c8f2-0f1e-7e6a-9a53-1d7f0d1b2c3d"
    section = {"transport": {"type": "console"}, "namespace": "shop", "job": "orders", "parent": parent}
    (tmp_path / "in.csv").write_text("id,kind\n1,x\n")
    execute(build(tmp_path, csv_settings(tmp_path, labels={"ticket": "T-7"}, openlineage=section)))
    with LandscapeDB.from_url(f"sqlite:///{tmp_path / 'audit.db'}", create_tables=False) as db:
        records = database_records(db, _newest(db))
    process = dataclasses.replace(records.processes[0], repository_commit="a" * 40)
    (start, _) = run_events(dataclasses.replace(records, processes=[process]))
    event = json.loads(json.dumps(start))
    assert_valid(event)
    assert (event["job"]["namespace"], event["job"]["name"]) == ("shop", "orders")
    assert event["job"]["facets"]["sourceCodeLocation"]["url"] == f"swh:1:rev:{'a' * 40}"
    tag = {"key": "ticket", "value": "T-7", "source": "ELSPETH"}
    assert event["run"]["facets"]["tags"]["tags"] == [tag]
    assert event["run"]["facets"]["parent"]["job"] == {"namespace": "airflow", "name": "orders.daily"}
    assert event["run"]["facets"]["parent"]["run"] == {"runId": parent.rpartition("/")[2]}


def test_a_job_without_a_name_has_that_of_its_settings(tmp_path: Path) -> None:
    (start, _) = _run(tmp_path)
    assert start["job"]["namespace"] == "elspeth"
    assert start["job"]["name"] == f"pipeline-{start['run']['facets']['elspeth_evidence']['config_hash'][:12]}"

"""Events of recorded runs."""

from __future__ import annotations

import copy
import dataclasses
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from elspeth.core.canonical import timestamp_text
from elspeth.core.landscape.database import LandscapeDB
from elspeth.openlineage.events import run_events, run_uuid
from elspeth.openlineage.files import database_records
from elspeth.openlineage.records import LineageRecords
from elspeth_schema import EPOCH
from elspeth_schema.contracts import NodeType, OperationStatus, RunStatus
from tests.engine.pipelines import build, csv_settings, execute
from tests.examples.running import names
from tests.fixtures.example_runs import ExampleRun
from tests.openlineage.specification import assert_valid, facets_of

Json = dict[str, Any]


def records_in(database: str, run_id: str | None = None) -> LineageRecords:
    """Return the records of a run, by default the newest."""
    with LandscapeDB.from_url(database, create_tables=False) as db:
        return database_records(db, run_id or _newest(db))


def events_in(database: str, run_id: str | None = None) -> list[Json]:
    """Return the events of a run, by default the newest."""
    return events_of(records_in(database, run_id))


def events_of(records: LineageRecords) -> list[Json]:
    """Return events as they are sent."""
    return [json.loads(json.dumps(each)) for each in run_events(records)]


def _newest(db: LandscapeDB) -> str:
    with db.connection() as connection:
        row = connection.exec_driver_sql("SELECT run_id FROM runs ORDER BY started_at DESC LIMIT 1").one()
    return str(row[0])


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of the run that the tests read."""
    place = tmp_path_factory.mktemp("events")
    (place / "in.csv").write_text("id,kind\n1,x\n2,y\n3,y\n")
    settings = csv_settings(place)
    settings["sinks"] = dict(reversed(settings["sinks"].items()))
    for _ in range(2):  # an earlier run is in the same database
        execute(build(place, settings))
    return place


@pytest.fixture(scope="module")
def records(directory: Path) -> LineageRecords:
    return records_in(f"sqlite:///{directory / 'audit.db'}")


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


def test_a_facet_that_breaks_its_own_schema_is_found(records: LineageRecords) -> None:
    event = events_of(records)[-1]
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
        with pytest.raises(AssertionError, match=name):
            assert_valid(broken)


def test_the_start_event_has_what_is_known_and_the_end_event_the_results(
    directory: Path, records: LineageRecords
) -> None:
    start, end = events_of(records)
    assert [each["name"] for each in start["inputs"]] == [f"{directory}/in.csv"]
    assert sorted(each["name"] for each in start["outputs"]) == [f"{directory}/out/rest.csv", f"{directory}/out/x.csv"]
    assert not {"inputStatistics", "outputStatistics", "version"} & _kinds(start)
    assert "seal" not in start["run"]["facets"]["elspeth_evidence"]
    (read,) = end["inputs"]
    statistics = read["inputFacets"]["inputStatistics"]
    assert (statistics["rowCount"], statistics["size"], statistics["fileCount"]) == (3, 20, 1)
    rows = {Path(each["name"]).name: each["outputFacets"]["outputStatistics"]["rowCount"] for each in end["outputs"]}
    assert list(rows.items()) == [("x.csv", 1), ("rest.csv", 2)], "in the order of the settings"


def test_versions_are_the_hashes_of_the_trail_and_the_seal_is_that_of_the_run(
    directory: Path, records: LineageRecords
) -> None:
    (_, end) = events_of(records)
    assert records.seal is not None
    facet = end["run"]["facets"]["elspeth_evidence"]
    assert facet["seal"] == {"root": records.seal.root, "record_count": records.seal.record_count, "epoch": EPOCH}
    assert (facet["run_id"], facet["config_hash"]) == (records.run.run_id, records.run.config_hash)
    assert end["run"]["runId"] == str(run_uuid(records.run.run_id))
    versions = {each["name"]: each["facets"]["version"]["datasetVersion"] for each in end["outputs"]}
    assert versions == {str(directory / each.path_or_uri): f"sha256:{each.content_hash}" for each in records.artifacts}
    assert end["inputs"][0]["facets"]["version"]["datasetVersion"] == f"sha256:{records.inputs[0].content_hash}"


def test_labels_the_commit_and_the_parent_are_named(records: LineageRecords) -> None:
    parent = "airflow/orders.daily/0193c8f2-0f1e-7e6a-9a53-1d7f0d1b2c3d"
    section = {"namespace": "shop", "job": "orders", "parent": parent}
    settings = json.dumps({**records.settings, "openlineage": section})
    process = dataclasses.replace(records.processes[0], repository_commit="a" * 40, labels_json='{"ticket":"T-7"}')
    run = dataclasses.replace(records.run, settings_json=settings)
    (event, end) = events_of(dataclasses.replace(records, run=run, processes=[process]))
    assert_valid(event)
    assert event["job"] == end["job"]
    assert (event["job"]["namespace"], event["job"]["name"]) == ("shop", "orders")
    assert event["job"]["facets"]["sourceCodeLocation"]["url"] == f"swh:1:rev:{'a' * 40}"
    assert event["run"]["facets"]["tags"]["tags"] == [{"key": "ticket", "value": "T-7", "source": "ELSPETH"}]
    assert event["run"]["facets"]["parent"]["job"] == {"namespace": "airflow", "name": "orders.daily"}
    assert event["run"]["facets"]["parent"]["run"] == {"runId": parent.rpartition("/")[2]}


def test_a_job_without_a_name_is_named_after_its_settings_file(records: LineageRecords) -> None:
    (start, _) = events_of(records)
    assert start["job"]["namespace"] == "elspeth"
    assert start["job"]["name"] == f"pipeline-{records.run.config_hash[:12]}"


PARENT = "airflow/orders.daily/0193c8f2-0f1e-7e6a-9a53-1d7f0d1b2c3d"


@pytest.mark.parametrize(
    ("section", "namespace", "job", "facets"),
    [
        ({}, "elspeth", None, set()),
        ({"namespace": None, "job": None, "parent": None}, "elspeth", None, set()),
        ({"namespace": "shop"}, "shop", None, set()),
        ({"job": "orders"}, "elspeth", "orders", set()),
        ({"parent": PARENT}, "elspeth", None, {"parent"}),
    ],
)
def test_each_key_of_the_section_is_used_without_the_others(
    records: LineageRecords, section: Json, namespace: str, job: str | None, facets: set[str]
) -> None:
    settings = json.dumps({**records.settings, "openlineage": section})
    process = dataclasses.replace(records.processes[0], repository_commit=None, labels_json=None)
    for processes in ([process], []):
        changed = dataclasses.replace(records, run=dataclasses.replace(records.run, settings_json=settings))
        for event in events_of(dataclasses.replace(changed, processes=processes)):
            assert_valid(event)
            name = job or f"pipeline-{records.run.config_hash[:12]}"
            assert (event["job"]["namespace"], event["job"]["name"]) == (namespace, name)
            assert set(event["job"]["facets"]) == {"jobType"}
            engine = {"processing_engine"} if processes else set()
            assert set(event["run"]["facets"]) == {"elspeth_evidence", *facets, *engine}


def test_an_output_that_was_not_published_has_neither_statistics_nor_a_version(records: LineageRecords) -> None:
    (first, _) = records.nodes_of(NodeType.SINK)
    operations = [
        dataclasses.replace(each, status=OperationStatus.FAILED, error_message="the disk is full")
        if each.node_id == first.node_id
        else each
        for each in records.operations
    ]
    (_, end) = events_of(dataclasses.replace(records, operations=operations))
    assert [bool(each["outputFacets"]) for each in end["outputs"]] == [False, True]
    assert ["version" in each["facets"] for each in end["outputs"]] == [False, True]


def test_a_run_of_an_earlier_version_has_events_without_datasets(records: LineageRecords) -> None:
    for config in ("{}", "[]"):
        nodes = [dataclasses.replace(node, config_json=config) for node in records.nodes]
        run = dataclasses.replace(records.run, settings_json=f'{{"openlineage": [{config}]}}')
        for event in events_of(dataclasses.replace(records, run=run, nodes=nodes, processes=[])):
            assert_valid(event)
            assert (event["inputs"], event["outputs"]) == ([], [])


def test_a_source_whose_inputs_are_not_recorded_has_no_statistics(records: LineageRecords) -> None:
    (_, end) = events_of(dataclasses.replace(records, inputs=[]))
    assert_valid(end)
    assert [(each["inputFacets"], "version" in each["facets"]) for each in end["inputs"]] == [({}, False)]


def test_a_database_to_which_rows_are_added_has_no_version(records: LineageRecords) -> None:
    artifacts = [dataclasses.replace(each, artifact_type="database") for each in records.artifacts]
    end = events_of(dataclasses.replace(records, artifacts=artifacts))[-1]
    assert_valid(end)
    for each in end["outputs"]:
        assert "version" not in each["facets"]
        statistics = each["outputFacets"]["outputStatistics"]
        assert {name for name in statistics if name[0] != "_"} == {"rowCount", "size"}
        assert statistics["size"] in {artifact.size_bytes for artifact in artifacts}


def test_rows_are_assigned_to_files_in_reading_order_and_not_to_tables(records: LineageRecords) -> None:
    (source,) = [node for node in records.nodes if node.node_type == "source"]
    others = [node for node in records.nodes if node is not source]
    two = [{"namespace": "file", "name": f"/data/{name}.csv"} for name in ("a", "b")]
    read = [
        dataclasses.replace(records.inputs[0], ordinal=ordinal, path_or_uri=f"data/{name}.csv", row_count=rows)
        for ordinal, name, rows in ((0, "a", 5), (1, "b", 7))
    ]
    node = dataclasses.replace(source, config_json=json.dumps({"datasets": two}))
    changed = dataclasses.replace(records, nodes=[node, *others])
    end = events_of(dataclasses.replace(changed, inputs=read))[-1]
    assert [each["inputFacets"]["inputStatistics"]["rowCount"] for each in end["inputs"]] == [5, 7]
    end = events_of(dataclasses.replace(changed, inputs=read[:1]))[-1]
    assert [bool(each["inputFacets"]) for each in end["inputs"]] == [True, False], "the second was not read"
    query = [dataclasses.replace(read[0], path_or_uri="postgresql://db/shop", input_type="query")]
    end = events_of(dataclasses.replace(changed, inputs=query))[-1]
    assert [each["inputFacets"] for each in end["inputs"]] == [{}, {}]
    pattern = json.dumps({"datasets": [{"namespace": "s3://bucket", "name": "data"}]})
    changed = dataclasses.replace(records, nodes=[dataclasses.replace(source, config_json=pattern), *others])
    for size, more in ((5, {"size": 10, "fileCount": 2}), (None, {})):
        files = [dataclasses.replace(read[0], size_bytes=5), dataclasses.replace(read[1], size_bytes=size)]
        (found,) = events_of(dataclasses.replace(changed, inputs=files))[-1]["inputs"]
        statistics = found["inputFacets"]["inputStatistics"]
        assert {key: value for key, value in statistics.items() if key[0] != "_"} == {"rowCount": 12, **more}
        assert "version" not in found["facets"], "no hash is that of all files"
        assert found["facets"]["storage"]["storageLayer"] == "s3"


def test_the_abort_event_belongs_to_the_process_whose_operations_failed_last(records: LineageRecords) -> None:
    began, (read, write, *_) = records.run.started_at, records.operations

    def at(seconds: int) -> Any:  # noqa: ANN401  whatever has a time
        return began + timedelta(seconds=seconds)

    def failed(seconds: int, problem: str) -> Any:  # noqa: ANN401
        changes: Json = {"status": OperationStatus.FAILED, "completed_at": at(seconds), "error_message": problem}
        return dataclasses.replace(read, **changes)

    first = records.processes[0]
    processes = [
        first,
        *(dataclasses.replace(first, started_at=at(each), elspeth_version=f"v{each}") for each in (10, 20)),
    ]
    operations = [failed(3, "early"), failed(9, "late"), failed(9, "late"), write, failed(20, "again")]
    run = dataclasses.replace(records.run, status=RunStatus.INTERRUPTED, completed_at=None)
    changed = dataclasses.replace(records, run=run, processes=processes, operations=operations)
    found = [
        (each["eventType"], each["eventTime"], each["run"]["facets"].get("errorMessage", {}).get("message"))
        for each in events_of(changed)
    ]
    assert found == [
        ("START", timestamp_text(began), None),
        ("ABORT", timestamp_text(at(9)), "early; late"),
        ("RUNNING", timestamp_text(at(10)), None),
        ("RUNNING", timestamp_text(at(20)), None),
        ("ABORT", timestamp_text(at(20)), "again"),
    ], "nothing says how the second process stopped"
    versions = [each["run"]["facets"]["processing_engine"]["version"] for each in events_of(changed)]
    assert versions == [first.elspeth_version, first.elspeth_version, "v10", "v20", "v20"]
    # A run that was abandoned later failed for the same reason; one without a known reason just failed.
    given_up = dataclasses.replace(changed, run=dataclasses.replace(run, status=RunStatus.FAILED, completed_at=at(30)))
    assert events_of(given_up)[-1]["run"]["facets"]["errorMessage"]["message"] == "again"
    assert events_of(given_up)[-1]["eventTime"] == timestamp_text(at(30))
    silent = dataclasses.replace(failed(25, ""), error_message=None)
    stopped = dataclasses.replace(given_up, operations=[silent])
    assert events_of(stopped)[-1]["run"]["facets"]["errorMessage"]["message"] == "the run was stopped"
    unknown = dataclasses.replace(given_up, operations=[])
    assert events_of(unknown)[-1]["run"]["facets"]["errorMessage"]["message"] == "the run failed"


def test_statistics_of_zero_are_reported(records: LineageRecords) -> None:
    inputs = [dataclasses.replace(each, row_count=0, size_bytes=0) for each in records.inputs]
    artifacts = [dataclasses.replace(each, size_bytes=0) for each in records.artifacts]
    changed = dataclasses.replace(records, inputs=inputs, artifacts=artifacts, rows_by_sink={})
    end = events_of(changed)[-1]
    assert_valid(end)
    statistics = [each["inputFacets"]["inputStatistics"] for each in end["inputs"]]
    assert [(each["rowCount"], each["size"], each["fileCount"]) for each in statistics] == [(0, 0, 1)]
    statistics = [each["outputFacets"]["outputStatistics"] for each in end["outputs"]]
    assert [(each["rowCount"], each["size"], each["fileCount"]) for each in statistics] == [(0, 0, 1)] * 2

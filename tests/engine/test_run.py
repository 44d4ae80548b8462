"""A run that completes: its outputs, and its trail."""

import hashlib
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from unittest.mock import patch

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth.contracts.plugins import Source, SourceOptions
from elspeth.contracts.rows import InvalidRow, RowData
from elspeth.core.canonical import stable_hash
from elspeth.core.landscape.database import LandscapeDB
from elspeth.engine.errors import RunInterruptedError
from elspeth.engine.keys import load_run_keys
from elspeth.engine.orchestrator import Orchestrator
from elspeth.engine.reporting import Observer, Phase, Progress
from elspeth.plugins.csv import CsvSink
from tests.engine.pipelines import (
    assert_sound,
    build,
    csv_settings,
    execute,
    graph_settings,
    groups_of,
    outcomes,
    run,
    run_graph,
    trail,
)
from tests.fixtures.effort import law
from tests.fixtures.ids import ID

INPUT = "id,kind\n1,x\n2,y\n3,x\n"


def test_rows_go_where_the_gate_sends_them(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(INPUT)
    result, records = run(tmp_path, csv_settings(tmp_path))
    assert (tmp_path / "out" / "x.csv").read_text() == "id,kind\n1,x\n3,x\n"
    assert (tmp_path / "out" / "rest.csv").read_text() == "id,kind\n2,y\n"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["rest.csv", "x.csv"]
    assert outcomes(records) == [("routed", "x"), ("completed", "rest"), ("routed", "x")]
    assert (result.rows, result.rows_by_sink, result.failed, result.quarantined) == (3, {"rest": 1, "x": 2}, 0, 0)
    assert (result.export_path, result.exported_records) == (None, None)


def test_both_databases_record_the_same_run(tmp_path: Path, database_url: str) -> None:
    (tmp_path / "in.csv").write_text(INPUT + "4\n")
    result, records = run(tmp_path, csv_settings(tmp_path, landscape={"url": database_url}))
    assert outcomes(records) == [("routed", "x"), ("completed", "rest"), ("routed", "x"), ("quarantined", None)]
    assert {name: len(found) for name, found in records.items()} == {
        "run": 1,
        "run_process": 1,
        "node": 4,
        "edge": 3,
        "source_input": 1,
        "row": 4,
        "token": 4,
        "token_outcome": 4,
        "node_state": 10,
        "operation": 3,
        "artifact": 2,
        "routing_event": 3,
        "validation_error": 1,
        "checkpoint": 2,
    }
    assert result.quarantined == 1


def test_the_reason_of_a_route_names_the_result_in_its_own_type(tmp_path: Path) -> None:
    results = [1, "1", True, "true", 1]
    gate = {"name": "split", "condition": "row['v']", "routes": {"1": "continue", "true": "continue"}}
    settings = graph_settings(tmp_path, [{"v": result} for result in results], gates=[gate])
    _, records = run_graph(tmp_path, settings)
    reasons = [state["success_reason_json"] for state in records["node_state"] if state["success_reason_json"]]
    recorded = [json.loads(reason)["result"] for reason in reasons if "condition" in reason]
    assert sorted(map(repr, recorded)) == sorted(map(repr, results))


def test_rows_and_reasons_are_written_and_hashed_once(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(INPUT)
    with patch.object(orjson, "dumps", wraps=orjson.dumps) as dumps:
        run(tmp_path, csv_settings(tmp_path))
    written = [call.args[0] for call in dumps.call_args_list if isinstance(call.args[0], dict)]
    assert [each["id"] for each in written if each.keys() == {"id", "kind"}] == ["1", "2", "3"]
    assert [each["result"] for each in written if each.keys() == {"condition", "result", "label"}] == [True, False]


def test_every_step_of_a_row_is_recorded(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("id,kind\n1,x\n")
    _, records = run(tmp_path, csv_settings(tmp_path))
    nodes = {node["node_id"]: node for node in records["node"]}
    states = sorted(records["node_state"], key=lambda state: state["step_index"])
    row_hash = stable_hash({"id": "1", "kind": "x"})
    assert [(nodes[state["node_id"]]["node_type"], state["step_index"], state["status"]) for state in states] == [
        ("source", 0, "completed"),
        ("gate", 1, "completed"),
        ("sink", 2, "completed"),
    ]
    assert {state["input_hash"] for state in states} == {row_hash}
    assert {state["output_hash"] for state in states} == {row_hash}
    assert records["row"][0]["source_data_hash"] == row_hash
    reason = states[1]["success_reason_json"]
    assert json.loads(reason) == {"condition": "row['kind'] == 'x'", "result": True, "label": "true"}
    (event,) = records["routing_event"]
    (edge,) = [edge for edge in records["edge"] if edge["edge_id"] == event["edge_id"]]
    assert event["reason_hash"] == hashlib.sha256(reason.encode()).hexdigest()
    assert (event["state_id"], event["mode"]) == (states[1]["state_id"], "move")
    assert (edge["from_node_id"], edge["label"], edge["to_node_id"]) == (
        states[1]["node_id"],
        "true",
        states[2]["node_id"],
    )


def test_the_graph_and_the_settings_are_recorded(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(INPUT)
    settings = csv_settings(tmp_path)
    settings["datasource"]["options"]["schema"] = {"mode": "free", "fields": ["id: int", "note: str?"]}
    _, records = run(tmp_path, settings)
    assert [
        (node["node_type"], node["plugin_name"], node["determinism"], node["schema_mode"])
        for node in sorted(records["node"], key=lambda node: node["sequence_in_pipeline"])
    ] == [
        ("source", "csv", "io_read", "free"),
        ("gate", "config_gate", "deterministic", "dynamic"),
        ("sink", "csv", "io_write", "dynamic"),
        ("sink", "csv", "io_write", "dynamic"),
    ]
    names = {node["node_id"]: node["node_id"].rsplit("_", 1)[0] for node in records["node"]}
    assert sorted(
        (names[edge["from_node_id"]], edge["label"], names[edge["to_node_id"]]) for edge in records["edge"]
    ) == [
        ("gate_split", "false", "sink_rest"),
        ("gate_split", "true", "sink_x"),
        ("source_csv", "continue", "gate_split"),
    ]
    (recorded,) = records["run"]
    assert json.loads(recorded["settings_json"])["datasource"] == settings["datasource"]
    assert recorded["config_hash"] == stable_hash(json.loads(recorded["settings_json"]))
    assert {operation["operation_type"] for operation in records["operation"]} == {"source_load", "sink_write"}


def test_two_runs_of_one_pipeline_have_the_same_node_ids(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(INPUT)
    first, second = (run(tmp_path, csv_settings(tmp_path)) for _ in range(2))
    assert first[0].run_id != second[0].run_id
    assert [node["node_id"] for node in first[1]["node"]] == [node["node_id"] for node in second[1]["node"]]


def test_a_second_run_replaces_the_files_and_adds_to_the_audit_database(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(INPUT)
    run(tmp_path, csv_settings(tmp_path))
    (tmp_path / "in.csv").write_text("id,kind\n9,y\n")
    run(tmp_path, csv_settings(tmp_path))
    assert (tmp_path / "out" / "rest.csv").read_text() == "id,kind\n9,y\n"
    assert (tmp_path / "out" / "x.csv").read_text() == ""
    with closing(sqlite3.connect(tmp_path / "audit.db")) as connection, connection:
        assert connection.execute("SELECT count(*) FROM runs WHERE status = 'completed'").fetchone() == (2,)
    connection.close()


def test_gates_follow_one_another_and_text_selects_a_route(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("id,kind,size\n1,x,s\n2,y,s\n3,y,l\n")
    settings = csv_settings(tmp_path)
    settings["gates"].append({"name": "size", "condition": "row['size']", "routes": {"s": "x", "l": "continue"}})
    _, records = run(tmp_path, settings)
    assert outcomes(records) == [("routed", "x"), ("routed", "x"), ("completed", "rest")]
    assert sorted(state["step_index"] for state in records["node_state"]) == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3]


@pytest.mark.parametrize("destination", ["discard", "invalid"])
def test_an_invalid_row_is_recorded_and_quarantined(tmp_path: Path, destination: str) -> None:
    (tmp_path / "in.csv").write_text("id,kind\n1,x\nbad,y\n")
    settings = csv_settings(tmp_path)
    settings["datasource"]["options"] |= {
        "schema": {"mode": "free", "fields": ["id: int"]},
        "on_validation_failure": destination,
    }
    if destination != "discard":
        settings["sinks"]["invalid"] = {"plugin": "json", "options": {"path": str(tmp_path / "out" / "invalid.json")}}
    result, records = run(tmp_path, settings)
    assert (result.quarantined, result.arrived, result.problems) == (1, 1, [])
    assert outcomes(records) == [("routed", "x"), ("quarantined", None if destination == "discard" else "invalid")]
    (error,) = records["validation_error"]
    problem = "line 3: field 'id': expected an integer, got text of 3 characters"
    assert (error["error"], error["schema_mode"], error["destination"]) == (problem, "free", destination)
    assert error["row_hash"] == stable_hash({"id": "bad", "kind": "y"})
    (failed,) = [state for state in records["node_state"] if state["status"] == "failed"]
    (quarantined,) = [outcome for outcome in records["token_outcome"] if outcome["outcome"] == "quarantined"]
    assert quarantined["error_hash"] == hashlib.sha256(failed["error_json"].encode()).hexdigest()
    if destination != "discard":
        (row,) = json.loads((tmp_path / "out" / "invalid.json").read_text())
        assert {name: row[name] for name in ("id", "kind", "error_row")} == {"id": "bad", "kind": "y", "error_row": 1}
        (event,) = [event for event in records["routing_event"] if event["mode"] == "divert"]
        assert event["state_id"] == failed["state_id"]


@pytest.mark.parametrize(
    ("gate", "reason", "kind", "field"),
    [
        (
            {"condition": "row['amount'] > 5", "routes": {"true": "x", "false": "continue"}},
            "the row has no field 'amount'",
            "EvaluationError",
            "amount",
        ),
        (
            {"condition": "row['kind']", "routes": {"x": "x", "z": "continue"}},
            "expected one of the labels x, z, got text of 1 character",
            "RouteError",
            None,
        ),
    ],
)
def test_a_row_without_a_route_fails_and_the_run_goes_on(
    tmp_path: Path, gate: dict[str, object], reason: str, kind: str, field: str | None
) -> None:
    (tmp_path / "in.csv").write_text("id,kind\n1,y\n")
    result, records = run(tmp_path, csv_settings(tmp_path, gates=[{"name": "g", **gate}]))
    assert result.failed == 1
    assert outcomes(records) == [("failed", None)]
    (failed,) = [state for state in records["node_state"] if state["status"] == "failed"]
    assert json.loads(failed["error_json"]) == {"exception": reason, "type": kind}
    (error,) = records["transform_error"]
    assert (error["transform_id"], error["destination"]) == (failed["node_id"], "discard")
    details = json.loads(error["error_details_json"])
    assert (details["condition"], details.get("field")) == (gate["condition"], field)


def test_a_row_that_a_sink_refuses_fails_and_the_run_goes_on(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("id,kind\n1,y\n2,z\n")
    settings = csv_settings(tmp_path)
    settings["sinks"]["rest"]["options"]["schema"] = {"mode": "free", "fields": ["id: int", "kind: bool"]}
    result, records = run(tmp_path, settings)
    assert (result.failed, result.rows_by_sink["rest"]) == (1, 1)
    assert (result.refused_by_sink, result.problems) == ({}, [])
    assert outcomes(records) == [("completed", "rest"), ("failed", None)]
    assert (tmp_path / "out" / "rest.csv").read_text() == "id,kind\n1,y\n"


class OddSource(Source):
    """A source of rows that JSON cannot express."""

    name = "odd"
    plugin_version = "1"
    options_model = SourceOptions

    def read(self) -> object:  # type: ignore[override]
        """Yield a row between two without canonical JSON."""
        yield {"kind": float("nan")}
        yield {"kind": "x"}
        yield InvalidRow(data={"kind": object()}, error="not a row")


def test_a_row_that_cannot_be_recorded_exactly_is_quarantined(tmp_path: Path) -> None:
    settings = csv_settings(tmp_path)
    settings["datasource"] = {"plugin": "odd"}
    _, records = run(tmp_path, settings, OddSource)
    assert outcomes(records) == [("quarantined", None), ("routed", "x"), ("quarantined", None)]
    assert [each["schema_mode"] for each in records["validation_error"]] == ["dynamic"] * 2


def test_a_run_without_rows_leaves_empty_files(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("id,kind\n")
    result, records = run(tmp_path, csv_settings(tmp_path))
    assert (result.rows, records.get("artifact", [])) == (0, [])
    assert (tmp_path / "out" / "rest.csv").read_text() == ""


def test_null_plugins_record_and_write_nothing(tmp_path: Path) -> None:
    settings = csv_settings(tmp_path, sinks={"rest": {"plugin": "null"}}, gates=[])
    settings["datasource"] = {"plugin": "null"}
    result, _ = run(tmp_path, settings)
    assert result.rows == 0
    (tmp_path / "in.csv").write_text(INPUT)
    settings["datasource"] = csv_settings(tmp_path)["datasource"]
    result, records = run(tmp_path, settings)
    assert result.rows_by_sink == {"rest": 3}
    assert records.get("artifact", []) == []


class WitnessSink(CsvSink):
    """A sink that reads the database before it publishes."""

    name = "witness"
    seen: list[tuple[str, str, bool]] = []  # noqa: RUF012  one list for the test to read

    def publish(self) -> None:
        """Read the committed artifacts and operations, and publish."""
        path = Path(self.options.model_dump()["path"])
        connection = sqlite3.connect(path.parent.parent / "audit.db")
        query = (
            "SELECT content_hash, operations.status FROM artifacts JOIN operations "
            "ON operations.run_id = artifacts.run_id AND operations.node_id = artifacts.sink_node_id"
        )
        self.seen.extend((*row, path.exists()) for row in connection.execute(query))
        connection.close()
        super().publish()


def test_the_audit_trail_names_the_bytes_before_they_are_visible(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("id,kind\n1,y\n")
    settings = csv_settings(tmp_path, gates=[])
    settings["sinks"] = {"rest": {**settings["sinks"]["rest"], "plugin": "witness"}}
    run(tmp_path, settings, WitnessSink)
    digest = hashlib.sha256((tmp_path / "out" / "rest.csv").read_bytes()).hexdigest()
    assert WitnessSink.seen == [(digest, "open", False)]


def test_progress_is_reported_after_each_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    groups_of(monkeypatch, 2)
    (tmp_path / "in.csv").write_text(INPUT)
    told: list[Progress] = []
    execute(build(tmp_path, csv_settings(tmp_path, limit=12)), Observer(on_rows=told.append))
    assert [(progress.rows, progress.fraction) for progress in told] == [(2, 1.0), (3, 1.0)]


def test_each_phase_is_reported_with_its_total(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(INPUT)
    told: list[tuple[Phase, list[tuple[int, int | None]]]] = []
    observer = Observer(
        on_phase=lambda phase: told.append((phase, [])),
        on_progress=lambda done, total: told[-1][1].append((done, total)),
    )
    execute(build(tmp_path, csv_settings(tmp_path)), observer)
    phases = dict(told)
    assert list(phases) == [Phase.ROWS, Phase.PROOF, Phase.PUBLISH, Phase.SEAL]
    assert phases[Phase.ROWS] == []
    assert phases[Phase.PUBLISH] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    for phase in (Phase.PROOF, Phase.SEAL):
        assert phases[phase][-1][0] == phases[phase][-1][1]


@pytest.mark.parametrize("phase", [Phase.ROWS, Phase.PROOF, Phase.SEAL])
def test_a_run_can_be_stopped_in_each_phase_except_publishing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, phase: Phase
) -> None:
    (tmp_path / "in.csv").write_text(INPUT)
    pipeline, begun = build(tmp_path, csv_settings(tmp_path)), list[Phase]()
    with pytest.raises(RunInterruptedError, match=rf"run {ID} was interrupted after . rows?"):
        execute(pipeline, Observer(on_phase=begun.append, is_stopped=lambda: phase in begun))
    assert begun[-1] is phase
    assert [each.levelname for each in caplog.records if " stopped: RunInterrupted" in each.getMessage()] == ["WARNING"]
    (stopped,) = trail(tmp_path)["run"]
    assert stopped["status"] == "interrupted"
    assert (tmp_path / "out" / "x.csv").exists() is (phase is Phase.SEAL)
    with LandscapeDB.from_url(pipeline.settings.landscape.url) as db:
        keys = load_run_keys(pipeline.settings, {}, source="settings.yaml")
        Orchestrator(db, build(tmp_path, csv_settings(tmp_path)), keys).resume(stopped["run_id"])
    assert_sound(trail(tmp_path), status="completed", resumed=True)


def test_rows_that_take_many_steps_are_committed_sooner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    groups_of(monkeypatch, 500, visits=4)
    (tmp_path / "in.csv").write_text(INPUT)
    told: list[int] = []
    execute(build(tmp_path, csv_settings(tmp_path)), Observer(on_rows=lambda progress: told.append(progress.rows)))
    assert told == [2, 3]  # a row takes three steps


ROWS = st.lists(st.fixed_dictionaries({"id": st.sampled_from(["1", "2", "bad"]), "kind": st.sampled_from("xyz")}))


@law(100)
@given(rows=ROWS, group_size=st.integers(1, 4))
def test_rows_are_conserved_whatever_the_group_size(
    tmp_path_factory: pytest.TempPathFactory, rows: list[RowData], group_size: int
) -> None:
    directory = tmp_path_factory.mktemp("run")
    lines = ["id,kind", *(f"{row['id']},{row['kind']}" for row in rows)]
    (directory / "in.csv").write_text("\n".join(lines) + "\n")
    settings = csv_settings(directory)
    settings["datasource"]["options"]["schema"] = {"mode": "strict", "fields": ["id: int", "kind: str"]}
    settings["gates"][0] |= {"condition": "row['kind']", "routes": {"x": "x", "y": "continue"}}
    with pytest.MonkeyPatch.context() as patch:
        groups_of(patch, group_size)
        result, records = run(directory, settings)
    assert outcomes(records) == [expected_ending(row) for row in rows]
    assert result.rows == len(rows)
    for name, kind in (("x", "x"), ("rest", "y")):
        kept = [line for row, line in zip(rows, lines[1:], strict=True) if expected_ending(row)[1] == name]
        assert (directory / "out" / f"{name}.csv").read_text() == "".join(
            f"{line}\n" for line in ([lines[0], *kept] if kept else [])
        )
        assert all(line.endswith(kind) for line in kept)


def expected_ending(row: RowData) -> tuple[str, str | None]:
    """Return the outcome and sink that the settings imply."""
    if row["id"] == "bad":
        return "quarantined", None
    return {"x": ("routed", "x"), "y": ("completed", "rest"), "z": ("failed", None)}[str(row["kind"])]

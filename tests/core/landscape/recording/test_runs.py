"""Runs and their graphs, from beginning to export."""

from __future__ import annotations

import hashlib
import re
import threading
from datetime import UTC, datetime

import pytest

from elspeth.contracts.schema import SchemaConfig
from elspeth.core.landscape.database.errors import LandscapeError
from elspeth.core.landscape.recording import ids
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.landscape.sealing.check import check_seals
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema.contracts import (
    Determinism,
    ExportStatus,
    NodeType,
    OperationStatus,
    OperationType,
    ReproducibilityGrade,
    RoutingMode,
    RunStatus,
)
from tests.fixtures.ids import ID
from tests.fixtures.landscapes import NewLandscape, wait_until_blocked
from tests.fixtures.records import DYNAMIC, HASH, NODES, TYPED, record_graph


def begun(recorder: LandscapeRecorder) -> str:
    return recorder.begin_run({}, "v1").run_id


# -- a run begins and ends -------------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_a_run_begins_with_its_settings(recorder: LandscapeRecorder) -> None:
    run = recorder.begin_run({"b": 1, "a": "é"}, "sha256-rfc8785-v1")
    assert recorder.get_run(run.run_id) == run
    assert run.settings_json == '{"a":"é","b":1}'
    assert run.config_hash == hashlib.sha256(run.settings_json.encode()).hexdigest()
    assert (run.status, run.completed_at, run.reproducibility_grade) == (RunStatus.RUNNING, None, None)
    assert run.canonical_version == "sha256-rfc8785-v1"


def test_a_time_before_1970_is_refused(recorder: LandscapeRecorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "_maker", ids.IdMaker(clock=lambda: -1))
    with pytest.raises(LandscapeError, match=r"^the clock says [0-9-]{10}, expected 1970 to 2115: set it$"):
        recorder.begin_run({}, "v1")
    assert recorder.list_runs() == []


@pytest.mark.parametrize("status", [RunStatus.RUNNING, "running"], ids=repr)
@pytest.mark.parametrize("grade", [ReproducibilityGrade.ATTRIBUTABLE_ONLY, "attributable_only"], ids=repr)
def test_a_run_begins_with_the_given_id_time_and_status(
    recorder: LandscapeRecorder, status: RunStatus | str, grade: ReproducibilityGrade | str
) -> None:
    moment = datetime(2026, 1, 31, tzinfo=UTC)
    run = recorder.begin_run(
        {},
        "v1",
        run_id="mine",
        reproducibility_grade=grade,
        status=status,
        source_schema={"fields": "dynamic"},
        started_at=moment,
    )
    assert recorder.get_run("mine") == run
    assert (run.status, run.started_at) == (RunStatus.RUNNING, moment)
    assert run.reproducibility_grade is ReproducibilityGrade.ATTRIBUTABLE_ONLY
    assert run.source_schema_json == '{"fields":"dynamic"}'


def test_generated_run_ids_sort_by_time(recorder: LandscapeRecorder) -> None:
    made = [begun(recorder) for _ in range(5)]
    assert made == sorted(made)
    assert all(re.fullmatch(ID, run_id) for run_id in made)


@pytest.mark.parametrize("status", [RunStatus.COMPLETED, "completed", RunStatus.FAILED, "failed"], ids=repr)
def test_a_run_can_end(recorder: LandscapeRecorder, status: RunStatus | str) -> None:
    run = recorder.complete_run(begun(recorder), status, reproducibility_grade="full_reproducible")
    assert recorder.get_run(run.run_id) == run
    assert run.status == status
    assert run.completed_at is not None
    assert run.completed_at >= run.started_at
    assert run.reproducibility_grade is ReproducibilityGrade.FULL_REPRODUCIBLE


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_nothing_can_be_recorded_in_a_run_that_has_ended(recorder: LandscapeRecorder, status: str) -> None:
    run_id = begun(recorder)
    node = recorder.register_node(run_id, "csv", NodeType.SOURCE, "1", {}, schema_config=DYNAMIC)
    operation = recorder.begin_operation(run_id, node.node_id, OperationType.SOURCE_LOAD)
    recorder.complete_run(run_id, status)
    for record in (
        lambda: recorder.begin_operation(run_id, node.node_id, OperationType.SOURCE_LOAD),
        lambda: recorder.complete_operation(
            operation.operation_id, OperationStatus.FAILED, run_id=run_id, error="late"
        ),
        lambda: recorder.record_run_source(run_id, field_resolution={}),
    ):
        with pytest.raises(AuditIntegrityError):
            record()
    with pytest.raises(AuditIntegrityError, match=f"expected a run that has not ended, got '{status}'"):
        recorder.create_row(run_id, node.node_id, 0, {})
    assert recorder.get_operations_for_run(run_id) == [operation]
    recorder.set_export_status(run_id, ExportStatus.PENDING)


@pytest.mark.postgres
def test_a_run_does_not_end_while_another_recorder_changes_a_record_of_it(on_postgresql: NewLandscape) -> None:
    with on_postgresql() as landscape:
        first, second = LandscapeRecorder(landscape), LandscapeRecorder(landscape)
        run_id = begun(first)
        node = first.register_node(run_id, "csv", NodeType.SOURCE, "1", {}, schema_config=DYNAMIC)
        operation = first.begin_operation(run_id, node.node_id, OperationType.SOURCE_LOAD)
        ending = threading.Thread(target=second.complete_run, args=(run_id, "failed"))
        with first.unit_of_work():
            first.complete_operation(operation.operation_id, OperationStatus.FAILED, run_id=run_id, error="late")
            assert first.get_operations_for_run(run_id) != [operation]
            ending.start()
            wait_until_blocked(landscape, ending)
            assert ending.is_alive()
        ending.join()
        with landscape.connection() as connection:
            assert check_seals(connection).faults == ()


def test_nothing_can_be_recorded_in_a_run_that_ends_in_the_same_unit(recorder: LandscapeRecorder) -> None:
    run_id = begun(recorder)
    node = recorder.register_node(run_id, "csv", NodeType.SOURCE, "1", {}, schema_config=DYNAMIC)

    def end_after(rows: int) -> None:
        with recorder.unit_of_work():
            for index in range(2):
                if index == rows:
                    recorder.complete_run(run_id, "completed")
                recorder.create_row(run_id, node.node_id, index, {})
            recorder.complete_run(run_id, "completed")

    def end_and_go_on() -> None:
        with recorder.unit_of_work():
            recorder.create_row(run_id, node.node_id, 0, {})
            recorder.complete_run(run_id, "completed")
            recorder.create_row(run_id, node.node_id, 1, {})

    with pytest.raises(AuditIntegrityError, match="expected a run that has not ended, got 'completed'"):
        end_and_go_on()
    with pytest.raises(AuditIntegrityError):
        end_after(1)
    assert recorder.get_rows(run_id) == []
    end_after(2)
    assert len(recorder.get_rows(run_id)) == 2


def test_a_grade_is_kept_if_none_is_given_later(recorder: LandscapeRecorder) -> None:
    run = recorder.begin_run({}, "v1", reproducibility_grade="replay_reproducible")
    ended = recorder.complete_run(run.run_id, RunStatus.COMPLETED)
    assert ended.reproducibility_grade is ReproducibilityGrade.REPLAY_REPRODUCIBLE


@pytest.mark.parametrize("status", [RunStatus.RUNNING, "running"], ids=repr)
def test_a_running_run_may_be_set_to_running(recorder: LandscapeRecorder, status: RunStatus | str) -> None:
    run_id = begun(recorder)
    before = recorder.get_run(run_id)
    recorder.update_run_status(run_id, status)
    assert recorder.get_run(run_id) == before


def test_another_final_status_also_ends_the_run(recorder: LandscapeRecorder) -> None:
    run_id = begun(recorder)
    recorder.update_run_status(run_id, RunStatus.FAILED)
    run = recorder.get_run(run_id)
    assert run is not None
    assert run.status is RunStatus.FAILED
    assert run.completed_at is not None


def test_the_schema_of_the_source_is_recorded(recorder: LandscapeRecorder) -> None:
    run_id = begun(recorder)
    recorder.record_run_source(run_id, field_resolution={"User Id": "user_id"})
    run = recorder.record_run_source(run_id, schema_contract={"fields": []})
    assert recorder.get_run(run_id) == run
    assert run.source_field_resolution_json == '{"User Id":"user_id"}'
    assert run.schema_contract_json == '{"fields":[]}'
    assert run.schema_contract_hash == hashlib.sha256(b'{"fields":[]}').hexdigest()
    run = recorder.record_run_source(run_id, schema_contract={})
    assert (run.schema_contract_json, run.schema_contract_hash) == ("{}", hashlib.sha256(b"{}").hexdigest())


# -- reproducibility -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("determinisms", "grade"),
    [
        ([], ReproducibilityGrade.FULL_REPRODUCIBLE),
        ([Determinism.DETERMINISTIC, Determinism.SEEDED], ReproducibilityGrade.FULL_REPRODUCIBLE),
        *(
            ([Determinism.DETERMINISTIC, each], ReproducibilityGrade.REPLAY_REPRODUCIBLE)
            for each in Determinism
            if each not in {Determinism.DETERMINISTIC, Determinism.SEEDED}
        ),
    ],
    ids=str,
)
def test_the_least_reproducible_node_decides_the_grade(
    recorder: LandscapeRecorder, determinisms: list[Determinism], grade: ReproducibilityGrade
) -> None:
    run_id = begun(recorder)
    for determinism in determinisms:
        recorder.register_node(run_id, "p", NodeType.TRANSFORM, "1", {}, determinism=determinism, schema_config=DYNAMIC)
    assert recorder.compute_reproducibility_grade(run_id) is grade
    run = recorder.finalize_run(run_id, "completed")
    assert run == recorder.get_run(run_id)
    assert (run.status, run.reproducibility_grade) == (RunStatus.COMPLETED, grade)


# -- finding runs ----------------------------------------------------------------------------------------------------


def test_runs_are_listed_newest_first(recorder: LandscapeRecorder) -> None:
    first, second, third = (begun(recorder) for _ in range(3))
    recorder.complete_run(second, "failed")
    assert [run.run_id for run in recorder.list_runs()] == [third, second, first]
    assert [run.run_id for run in recorder.list_runs(status="running")] == [third, first]
    assert [run.run_id for run in recorder.list_runs(status=RunStatus.FAILED)] == [second]
    assert recorder.list_runs(status=RunStatus.COMPLETED) == []


def test_runs_with_any_ids_are_listed_newest_first(recorder: LandscapeRecorder) -> None:
    for day, run_id in enumerate(["b", "a", "c"], start=1):
        recorder.begin_run({}, "v1", run_id=run_id, started_at=datetime(2026, 1, day, tzinfo=UTC))
    assert [run.run_id for run in recorder.list_runs()] == ["c", "a", "b"]


def test_an_unknown_run_gives_none(recorder: LandscapeRecorder) -> None:
    assert recorder.get_run("nowhere") is None


# -- exports of a run ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("completed", [ExportStatus.COMPLETED, "completed"], ids=repr)
def test_an_export_is_pending_then_completed(recorder: LandscapeRecorder, completed: ExportStatus | str) -> None:
    run_id = recorder.complete_run(begun(recorder), "completed").run_id
    recorder.set_export_status(run_id, "pending", export_format="json", export_sink="trail")
    pending = recorder.get_run(run_id)
    assert pending is not None
    assert (pending.export_status, pending.exported_at) == (ExportStatus.PENDING, None)
    assert (pending.export_format, pending.export_sink) == ("json", "trail")
    recorder.set_export_status(run_id, completed)
    run = recorder.get_run(run_id)
    assert run is not None
    assert (run.export_status, run.export_error, run.export_format) == (ExportStatus.COMPLETED, None, "json")
    assert run.exported_at is not None


def test_the_error_of_a_failed_export_is_kept_until_it_succeeds(recorder: LandscapeRecorder) -> None:
    run_id = begun(recorder)
    recorder.set_export_status(run_id, ExportStatus.FAILED, error="disk \x00 full")
    failed = recorder.get_run(run_id)
    assert failed is not None
    assert (failed.export_status, failed.export_error) == (ExportStatus.FAILED, "disk \ufffd full")
    recorder.set_export_status(run_id, ExportStatus.COMPLETED, error="not an error of this one")
    completed = recorder.get_run(run_id)
    assert completed is not None
    assert (completed.export_status, completed.export_error) == (ExportStatus.COMPLETED, None)


def test_a_failed_export_keeps_the_time_of_the_previous_one(recorder: LandscapeRecorder) -> None:
    run_id = begun(recorder)
    recorder.set_export_status(run_id, ExportStatus.COMPLETED)
    completed = recorder.get_run(run_id)
    recorder.set_export_status(run_id, ExportStatus.FAILED, error="disk full")
    failed = recorder.get_run(run_id)
    assert completed is not None
    assert failed is not None
    assert failed.exported_at == completed.exported_at is not None


# -- secrets ---------------------------------------------------------------------------------------------------------


def test_the_origins_of_secrets_are_recorded(recorder: LandscapeRecorder) -> None:
    run_id = begun(recorder)
    from_environment = {"timestamp": 1.5, "env_var_name": "A", "source": "env", "fingerprint": HASH}
    from_vault = {
        "timestamp": 2.5,
        "env_var_name": "B",
        "source": "vault",
        "fingerprint": HASH,
        "vault_url": "https://vault",
        "secret_name": "b",
        "resolution_latency_ms": 0.5,
    }
    recorder.record_secret_resolutions(run_id, [from_environment, from_vault])
    found = recorder.get_secret_resolutions_for_run(run_id)
    assert [(each.env_var_name, each.source, each.vault_url, each.resolution_latency_ms) for each in found] == [
        ("A", "env", None, None),
        ("B", "vault", "https://vault", 0.5),
    ]
    assert recorder.get_secret_resolutions_for_run("nowhere") == []


@pytest.mark.parametrize("node_type", [NodeType.GATE, "gate"], ids=repr)
@pytest.mark.parametrize("determinism", [Determinism.SEEDED, "seeded"], ids=repr)
def test_a_node_is_recorded_with_its_configuration(
    recorder: LandscapeRecorder, node_type: NodeType | str, determinism: Determinism | str
) -> None:
    run_id = recorder.begin_run({}, "v1").run_id
    node = recorder.register_node(
        run_id,
        "threshold",
        node_type,
        "1.2",
        {"limit": 3},
        node_id="gate",
        sequence=4,
        schema_hash="abc",
        determinism=determinism,
        schema_config=TYPED,
        input_contract={"in": 1},
        output_contract={"out": 1},
    )
    assert recorder.get_node("gate", run_id) == recorder.get_node("gate") == node
    assert (node.node_type, node.determinism) == (NodeType.GATE, Determinism.SEEDED)
    assert node.config_json == '{"limit":3}'
    assert node.config_hash == hashlib.sha256(b'{"limit":3}').hexdigest()
    assert (node.sequence_in_pipeline, node.schema_hash, node.schema_mode) == (4, "abc", "strict")
    assert node.schema_fields_json == (
        '[{"name":"id","required":true,"type":"int"},{"name":"name","required":false,"type":"str"}]'
    )
    assert (node.input_contract_json, node.output_contract_json) == ('{"in":1}', '{"out":1}')


def test_by_default_a_node_gets_an_id_and_is_deterministic(recorder: LandscapeRecorder) -> None:
    run_id = recorder.begin_run({}, "v1").run_id
    node = recorder.register_node(run_id, "p", "source", "1", {}, schema_config=DYNAMIC)
    assert re.fullmatch(ID, node.node_id)
    assert node.determinism is Determinism.DETERMINISTIC
    assert (node.schema_mode, node.schema_fields_json, node.sequence_in_pipeline) == ("dynamic", None, None)


def test_nodes_are_listed_in_pipeline_order(recorder: LandscapeRecorder) -> None:
    run_id = recorder.begin_run({}, "v1").run_id
    for node_id, sequence in (("b", None), ("last", 2), ("first", 0), ("a", None)):
        recorder.register_node(
            run_id, "p", "transform", "1", {}, node_id=node_id, sequence=sequence, schema_config=DYNAMIC
        )
    assert [node.node_id for node in recorder.get_nodes(run_id)] == ["first", "last", "a", "b"]
    assert recorder.get_nodes("nowhere") == []


@pytest.mark.parametrize("mode", [RoutingMode.DIVERT, "divert"], ids=repr)
def test_an_edge_is_recorded(recorder: LandscapeRecorder, mode: RoutingMode | str) -> None:
    record_graph(recorder)
    edge = recorder.register_edge("run", "transform", "sink", "On error", mode, edge_id="errors")
    assert recorder.get_edge("errors") == recorder.get_edge("errors", run_id="run") == edge
    assert (edge.from_node_id, edge.to_node_id, edge.label) == ("transform", "sink", "On error")
    assert edge.default_mode is RoutingMode.DIVERT
    assert re.fullmatch(ID, recorder.register_edge("run", "transform", "sink", "continue", "move").edge_id)


def test_edges_are_listed_in_the_order_of_registration(recorder: LandscapeRecorder) -> None:
    record_graph(recorder)
    recorder.register_edge("run", "sink", "source", "loop", "move", edge_id="a")
    assert [edge.edge_id for edge in recorder.get_edges("run")] == ["continue", "copy", "a"]
    assert recorder.get_edge_map("run") == {
        ("source", "continue"): "continue",
        ("gate", "copy"): "copy",
        ("sink", "loop"): "a",
    }
    assert recorder.get_edges("nowhere") == []
    assert recorder.get_edge_map("nowhere") == {}


def test_two_runs_may_use_the_same_node_ids(recorder: LandscapeRecorder) -> None:
    record_graph(recorder, "one")
    record_graph(recorder, "two")
    for run_id in ("one", "two"):
        found = [recorder.get_node(node_id, run_id) for node_id in NODES]
        assert [node.run_id for node in found if node] == [run_id] * len(NODES)


def test_an_unknown_node_gives_none(recorder: LandscapeRecorder) -> None:
    record_graph(recorder)
    assert recorder.get_node("nowhere") is None
    assert recorder.get_node("nowhere", "run") is None
    assert recorder.get_node("source", "nowhere") is None


@pytest.mark.parametrize(
    ("schema", "mode"),
    [({"mode": "free", "fields": ["id: int"]}, "free"), ({"mode": "observed"}, "dynamic")],
    ids=["free", "dynamic"],
)
def test_the_mode_of_a_nodes_schema_is_recorded(
    recorder: LandscapeRecorder, schema: dict[str, object], mode: str
) -> None:
    run_id = recorder.begin_run({}, "v1").run_id
    config = SchemaConfig.from_dict(schema)
    assert recorder.register_node(run_id, "p", "source", "1", {}, schema_config=config).schema_mode == mode


def test_an_input_is_recorded_with_what_a_database_can_store(recorder: LandscapeRecorder) -> None:
    record_graph(recorder)
    text = "a\0b\ud800"
    found = recorder.record_source_input(
        "run", "source", 0, "query", row_count=0, path_or_uri=text, query_text=text, object_version=text
    )
    assert [found.path_or_uri, found.query_text, found.object_version] == ["a\ufffdb\ufffd"] * 3

"""Operations of sources and sinks, artifacts and checkpoints."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from pathlib import Path

import pytest

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.recording import _operations
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.payload_store import FilesystemPayloadStore
from elspeth_schema.contracts import OperationStatus, OperationType
from tests.fixtures.records import HASH, record_graph

RUN_IDS = pytest.mark.parametrize("run_id", [None, "run"])


def sha256(text: str | None) -> str:
    return hashlib.sha256((text or "").encode()).hexdigest()


# -- operations ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation_type", [OperationType.SOURCE_LOAD, "source_load"], ids=repr)
def test_an_operation_begins_as_open(recorder: LandscapeRecorder, operation_type: OperationType) -> None:
    record_graph(recorder)
    operation = recorder.begin_operation("run", "source", operation_type, input_data={"path": "in.csv"})
    assert recorder.get_operation(operation.operation_id) == operation
    assert recorder.get_operation(operation.operation_id, run_id="run") == operation
    assert (operation.run_id, operation.node_id) == ("run", "source")
    assert (operation.operation_type, operation.status) == (OperationType.SOURCE_LOAD, OperationStatus.OPEN)
    assert (operation.input_data_hash, operation.input_data_ref) == (sha256('{"path":"in.csv"}'), None)


@RUN_IDS
@pytest.mark.parametrize("status", [OperationStatus.COMPLETED, "completed"], ids=repr)
def test_an_operation_can_complete(recorder: LandscapeRecorder, run_id: str | None, status: OperationStatus) -> None:
    record_graph(recorder)
    operation_id = recorder.begin_operation("run", "sink", "sink_write").operation_id
    recorder.complete_operation(operation_id, status, run_id=run_id, output_data={"rows": 3}, duration_ms=4)
    ended = recorder.get_operation(operation_id, run_id=run_id)
    assert ended is not None
    assert (ended.status, ended.duration_ms, ended.error_message) == (OperationStatus.COMPLETED, 4.0, None)
    assert (ended.output_data_hash, ended.output_data_ref) == (sha256('{"rows":3}'), None)
    assert ended.completed_at is not None


def test_an_operation_can_wait_and_then_fail(recorder: LandscapeRecorder) -> None:
    record_graph(recorder)
    operation_id = recorder.begin_operation("run", "sink", "sink_write").operation_id
    recorder.complete_operation(operation_id, "pending", error="busy")
    pending = recorder.get_operation(operation_id)
    assert pending is not None
    assert (pending.status, pending.error_message) == (OperationStatus.PENDING, "busy")
    recorder.complete_operation(operation_id, "failed", error="no \x00 answer", object_version="1\x00")
    failed = recorder.get_operation(operation_id)
    assert failed is not None
    assert (failed.status, failed.error_message) == (OperationStatus.FAILED, "no \ufffd answer")
    assert failed.object_version == "1\ufffd"
    assert failed.completed_at is not None
    assert failed.duration_ms == (failed.completed_at - failed.started_at).total_seconds() * 1000


def test_an_empty_error_and_a_duration_of_zero_are_recorded(recorder: LandscapeRecorder) -> None:
    record_graph(recorder)
    operation_id = recorder.begin_operation("run", "sink", "sink_write").operation_id
    recorder.complete_operation(operation_id, "failed", error="", duration_ms=0)
    failed = recorder.get_operation(operation_id)
    assert failed is not None
    assert (failed.error_message, failed.duration_ms) == ("", 0.0)


def test_what_an_operation_began_with_is_kept_even_if_it_is_empty(landscape: LandscapeDB, tmp_path: Path) -> None:
    payloads = FilesystemPayloadStore(tmp_path)
    recorder = LandscapeRecorder(landscape, payload_store=payloads)
    record_graph(recorder)
    operation = recorder.begin_operation("run", "source", "source_load", input_data={})
    assert (operation.input_data_ref, operation.input_data_hash) == (sha256("{}"), sha256("{}"))
    assert payloads.retrieve(sha256("{}")) == b"{}"
    recorder.complete_operation(operation.operation_id, "completed", output_data={})
    ended = recorder.get_operation(operation.operation_id)
    assert ended is not None
    assert (ended.output_data_ref, ended.output_data_hash) == (sha256("{}"), sha256("{}"))


def test_an_operation_ends_even_if_the_clock_went_back(
    recorder: LandscapeRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_graph(recorder)
    begun = recorder.begin_operation("run", "source", "source_load")
    monkeypatch.setattr(_operations, "now", lambda: begun.started_at - timedelta(seconds=1))
    recorder.complete_operation(begun.operation_id, "completed")
    ended = recorder.get_operation(begun.operation_id)
    assert ended is not None
    assert (ended.status, ended.duration_ms) == (OperationStatus.COMPLETED, 0.0)


@RUN_IDS
def test_the_calls_of_an_operation_are_numbered(recorder: LandscapeRecorder, run_id: str | None) -> None:
    record_graph(recorder)
    operation_id = recorder.begin_operation("run", "sink", "sink_write").operation_id
    calls = [
        recorder.record_operation_call(
            operation_id,
            "filesystem",
            "success",
            {"n": number},
            {"ok": True},
            None,
            1,
            run_id=run_id,
            request_ref="q",
            response_ref="a",
        )
        for number in range(3)
    ]
    assert recorder.get_operation_calls(operation_id, run_id=run_id) == calls
    assert [(call.call_index, call.operation_id, call.state_id) for call in calls] == [
        (number, operation_id, None) for number in range(3)
    ]
    assert (calls[0].request_ref, calls[0].response_ref, calls[0].latency_ms) == ("q", "a", 1.0)
    assert recorder.get_operation_calls("nowhere") == []


def test_operations_are_listed_in_order_of_beginning(recorder: LandscapeRecorder) -> None:
    record_graph(recorder)
    begun = [
        recorder.begin_operation("run", "source", "source_load"),
        recorder.begin_operation("run", "sink", "sink_write"),
    ]
    assert recorder.get_operations_for_run("run") == begun
    assert recorder.get_operations_for_run("nowhere") == []
    assert recorder.get_operation("nowhere") is None


@pytest.fixture
def token_id(recorder: LandscapeRecorder) -> str:
    """Return the id of a token at the sink."""
    record_graph(recorder)
    recorder.create_row("run", "source", 0, {}, row_id="row")
    made = recorder.create_token("row").token_id
    recorder.begin_node_state(made, "sink", 0, {}, state_id="state")
    return made


@pytest.mark.usefixtures("token_id")
def test_an_artifact_is_recorded(recorder: LandscapeRecorder) -> None:
    artifact = recorder.register_artifact(
        "run", "state", "sink", "csv", "out/é.csv", HASH, 2**40, artifact_id="mine", idempotency_key="once"
    )
    assert recorder.get_artifacts("run") == [artifact]
    assert (artifact.artifact_id, artifact.produced_by_state_id, artifact.sink_node_id) == ("mine", "state", "sink")
    assert (artifact.artifact_type, artifact.path_or_uri) == ("csv", "out/é.csv")
    assert (artifact.content_hash, artifact.size_bytes, artifact.idempotency_key) == (HASH, 2**40, "once")


@pytest.mark.usefixtures("token_id")
def test_artifacts_are_listed_in_the_order_of_recording(recorder: LandscapeRecorder) -> None:
    made = [
        recorder.register_artifact("run", "state", node_id, "csv", "a.csv", HASH, 0, artifact_id=artifact_id)
        for artifact_id, node_id in (("c", "sink"), ("b", "transform"), ("a", "sink"))
    ]
    assert recorder.get_artifacts("run") == made
    assert recorder.get_artifacts("run", sink_node_id="sink") == [made[0], made[2]]
    assert recorder.get_artifacts("run", sink_node_id="nowhere") == recorder.get_artifacts("nowhere") == []


def test_a_checkpoint_is_recorded(recorder: LandscapeRecorder, token_id: str) -> None:
    checkpoint = recorder.create_checkpoint(
        "run",
        token_id,
        "aggregation",
        7,
        upstream_topology_hash=HASH,
        checkpoint_node_config_hash=HASH[::-1],
        aggregation_state={"count": 2},
        sink_state={"out": 3},
        checkpoint_id="mine",
    )
    assert recorder.get_checkpoints("run") == [checkpoint]
    assert (checkpoint.checkpoint_id, checkpoint.token_id, checkpoint.node_id) == ("mine", token_id, "aggregation")
    assert (checkpoint.sequence_number, checkpoint.aggregation_state_json) == (7, '{"count":2}')
    assert checkpoint.sink_state_json == '{"out":3}'
    assert (checkpoint.upstream_topology_hash, checkpoint.checkpoint_node_config_hash) == (HASH, HASH[::-1])
    assert checkpoint.format_version == 5


def test_checkpoints_are_listed_in_order(recorder: LandscapeRecorder, token_id: str) -> None:
    for sequence in (3, 1, 2):
        recorder.create_checkpoint(
            "run", token_id, "sink", sequence, upstream_topology_hash=HASH, checkpoint_node_config_hash=HASH
        )
    assert [each.sequence_number for each in recorder.get_checkpoints("run")] == [1, 2, 3]
    assert recorder.get_checkpoints("nowhere") == []
    last = recorder.get_last_checkpoint("run")
    assert last is not None
    assert last.sequence_number == 3
    assert recorder.get_last_checkpoint("nowhere") is None
    record_graph(recorder, "other")
    recorder.create_row("other", "source", 0, {}, row_id="row")
    token = recorder.create_token("row", run_id="other").token_id
    earlier = recorder.create_checkpoint("other", token, "sink", 1)
    assert recorder.get_last_checkpoint("other") == earlier
    assert recorder.get_last_checkpoint("run") == last

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.payload_store import FilesystemPayloadStore
from elspeth_schema.contracts import CallStatus, CallType, NodeStateOpen, OperationStatus, OperationType
from tests.fixtures.records import record_graph

RUN_IDS = pytest.mark.parametrize("run_id", [None, "run"])


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def begin_state(recorder: LandscapeRecorder) -> NodeStateOpen:
    record_graph(recorder)
    recorder.create_row("run", "source", 0, {}, row_id="row")
    return recorder.begin_node_state(recorder.create_token("row").token_id, "transform", 0, {})


@pytest.fixture
def state(recorder: LandscapeRecorder) -> NodeStateOpen:
    return begin_state(recorder)


# -- calls of a node state -------------------------------------------------------------------------------------------


@RUN_IDS
@pytest.mark.parametrize("call_type", [CallType.HTTP, "http"], ids=repr)
@pytest.mark.parametrize("status", [CallStatus.ERROR, "error"], ids=repr)
def test_a_call_is_recorded_with_the_hashes_of_what_was_said(
    recorder: LandscapeRecorder,
    state: NodeStateOpen,
    run_id: str | None,
    call_type: CallType | str,
    status: CallStatus | str,
) -> None:
    call = recorder.record_call(
        state.state_id,
        4,
        call_type,
        status,
        {"q": 1},
        {"a": 2},
        {"code": 500},
        12,
        run_id=run_id,
        request_ref="question",
        response_ref="answer",
    )
    assert recorder.get_calls(state.state_id, run_id=run_id) == [call]
    assert (call.run_id, call.state_id, call.operation_id, call.call_index) == ("run", state.state_id, None, 4)
    assert (call.call_type, call.status, call.latency_ms) == (CallType.HTTP, CallStatus.ERROR, 12.0)
    assert (call.request_hash, call.request_ref) == (sha256('{"q":1}'), "question")
    assert (call.response_hash, call.response_ref) == (sha256('{"a":2}'), "answer")
    assert call.error_json == '{"code":500}'


def test_a_call_may_have_no_answer(recorder: LandscapeRecorder, state: NodeStateOpen) -> None:
    call = recorder.record_call(state.state_id, 0, CallType.SQL, CallStatus.ERROR, {})
    assert (call.response_hash, call.response_ref, call.request_ref) == (None, None, None)
    assert (call.error_json, call.latency_ms) == (None, None)


def test_the_calls_of_a_state_are_listed_in_order(recorder: LandscapeRecorder, state: NodeStateOpen) -> None:
    for index in (2, 0, 1):
        recorder.record_call(state.state_id, index, "llm", "success", {})
    assert [call.call_index for call in recorder.get_calls(state.state_id)] == [0, 1, 2]
    assert recorder.get_calls("nowhere") == []


@RUN_IDS
def test_call_indexes_are_handed_out_once(
    recorder: LandscapeRecorder, state: NodeStateOpen, run_id: str | None
) -> None:
    allocated = [recorder.allocate_call_index(state.state_id, run_id=run_id) for _ in range(3)]
    assert allocated == [0, 1, 2]


def test_another_recorder_goes_on_after_the_highest_index(landscape: LandscapeDB) -> None:
    first = LandscapeRecorder(landscape)
    state_id = begin_state(first).state_id
    first.record_call(state_id, 6, "llm", "success", {})
    assert LandscapeRecorder(landscape).allocate_call_index(state_id) == 7


def test_threads_never_get_the_same_index(recorder: LandscapeRecorder, state: NodeStateOpen) -> None:
    """Some ask inside a unit of work and some outside: neither may wait for the other for ever."""
    handed_out: list[int] = []

    def allocate() -> None:
        handed_out.extend(recorder.allocate_call_index(state.state_id) for _ in range(20))

    def allocate_in_units() -> None:
        for _ in range(20):
            with recorder.unit_of_work():
                handed_out.append(recorder.allocate_call_index(state.state_id))

    threads = [threading.Thread(target=target, daemon=True) for target in (allocate, allocate_in_units) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(handed_out) == list(range(80))


def test_the_first_call_with_a_request_is_found(recorder: LandscapeRecorder, state: NodeStateOpen) -> None:
    first = recorder.record_call(state.state_id, 1, CallType.LLM, CallStatus.SUCCESS, {"q": 1})
    recorder.record_call(state.state_id, 0, CallType.LLM, CallStatus.SUCCESS, {"q": 1})
    recorder.record_call(state.state_id, 2, CallType.HTTP, CallStatus.SUCCESS, {"q": 1})
    assert recorder.find_call_by_request_hash("run", CallType.LLM, first.request_hash) == first
    assert recorder.find_call_by_request_hash("run", "llm", first.request_hash) == first
    assert recorder.find_call_by_request_hash("run", "sql", first.request_hash) is None
    assert recorder.find_call_by_request_hash("nowhere", "llm", first.request_hash) is None


@RUN_IDS
def test_the_answer_of_a_call_can_be_had_while_it_is_kept(
    landscape: LandscapeDB, tmp_path: Path, run_id: str | None
) -> None:
    payloads = FilesystemPayloadStore(tmp_path / "payloads")
    recorder = LandscapeRecorder(landscape, payload_store=payloads)
    state_id = begin_state(recorder).state_id
    answered = recorder.record_call(state_id, 0, "http", "success", {"q": 1}, {"a": 2})
    silent = recorder.record_call(state_id, 1, "http", "error", {"q": 1})
    assert payloads.retrieve(str(answered.request_ref)) == b'{"q":1}'
    assert recorder.get_call_response_data(answered.call_id, run_id=run_id) == {"a": 2}
    assert recorder.get_call_response_data(silent.call_id, run_id=run_id) is None
    assert recorder.get_call_response_data("nowhere", run_id=run_id) is None
    assert LandscapeRecorder(landscape).get_call_response_data(answered.call_id) is None
    payloads.delete(str(answered.response_ref))
    assert recorder.get_call_response_data(answered.call_id) is None


# -- operations ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation_type", [OperationType.SOURCE_LOAD, "source_load"], ids=repr)
def test_an_operation_begins(recorder: LandscapeRecorder, operation_type: OperationType) -> None:
    record_graph(recorder)
    operation = recorder.begin_operation("run", "source", operation_type, input_data={"path": "in.csv"})
    assert recorder.get_operation(operation.operation_id) == operation
    assert recorder.get_operation(operation.operation_id, run_id="run") == operation
    assert (operation.run_id, operation.node_id) == ("run", "source")
    assert (operation.operation_type, operation.status) == (OperationType.SOURCE_LOAD, OperationStatus.OPEN)
    assert (operation.input_data_hash, operation.input_data_ref) == (sha256('{"path":"in.csv"}'), None)


@RUN_IDS
@pytest.mark.parametrize("status", [OperationStatus.COMPLETED, "completed"], ids=repr)
def test_an_operation_completes(recorder: LandscapeRecorder, run_id: str | None, status: OperationStatus) -> None:
    record_graph(recorder)
    operation_id = recorder.begin_operation("run", "sink", "sink_write").operation_id
    recorder.complete_operation(operation_id, status, run_id=run_id, output_data={"rows": 3}, duration_ms=4)
    ended = recorder.get_operation(operation_id, run_id=run_id)
    assert ended is not None
    assert (ended.status, ended.duration_ms, ended.error_message) == (OperationStatus.COMPLETED, 4.0, None)
    assert (ended.output_data_hash, ended.output_data_ref) == (sha256('{"rows":3}'), None)
    assert ended.completed_at is not None


def test_an_operation_waits_and_then_fails(recorder: LandscapeRecorder) -> None:
    record_graph(recorder)
    operation_id = recorder.begin_operation("run", "sink", "sink_write").operation_id
    recorder.complete_operation(operation_id, "pending")
    pending = recorder.get_operation(operation_id)
    assert pending is not None
    assert pending.status is OperationStatus.PENDING
    recorder.complete_operation(operation_id, "failed", error="no \x00 answer")
    failed = recorder.get_operation(operation_id)
    assert failed is not None
    assert (failed.status, failed.error_message) == (OperationStatus.FAILED, "no \ufffd answer")
    assert failed.completed_at is not None
    assert failed.duration_ms == (failed.completed_at - failed.started_at).total_seconds() * 1000


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


def test_operations_are_listed_in_the_order_they_began(recorder: LandscapeRecorder) -> None:
    record_graph(recorder)
    begun = [
        recorder.begin_operation("run", "source", "source_load"),
        recorder.begin_operation("run", "sink", "sink_write"),
    ]
    assert recorder.get_operations_for_run("run") == begun
    assert recorder.get_operations_for_run("nowhere") == []
    assert recorder.get_operation("nowhere") is None

"""Visits of tokens to nodes: results, routes, calls and errors."""

from __future__ import annotations

import hashlib
import json
import math
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from elspeth.contracts.routing import RoutingSpec
from elspeth.core.canonical import CanonicalText
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.recording import _predecessor_writes
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.payload_store import FilesystemPayloadStore
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema.contracts import (
    CallStatus,
    CallType,
    NodeStateCompleted,
    NodeStateFailed,
    NodeStateOpen,
    NodeStatePending,
    NodeStateStatus,
    RoutingMode,
    Token,
)
from tests.fixtures.records import HASH, record_graph

RUN_IDS = pytest.mark.parametrize("run_id", [None, "run"])


def sha256(text: str | None) -> str:
    return hashlib.sha256((text or "").encode()).hexdigest()


@pytest.fixture
def token(recorder: LandscapeRecorder) -> Token:
    record_graph(recorder)
    recorder.create_row("run", "source", 0, {}, row_id="row")
    return recorder.create_token("row")


@pytest.fixture
def state(recorder: LandscapeRecorder, token: Token) -> NodeStateOpen:
    return recorder.begin_node_state(token.token_id, "gate", 1, {"id": 1}, context_before={"seen": 0})


# -- visits ----------------------------------------------------------------------------------------------------------


@RUN_IDS
def test_a_visit_begins_as_open(recorder: LandscapeRecorder, token: Token, run_id: str | None) -> None:
    state = recorder.begin_node_state(
        token.token_id, "gate", 1, {"id": 1}, run_id=run_id, state_id="mine", attempt=2, context_before={"a": 1}
    )
    assert type(state) is NodeStateOpen
    assert recorder.get_node_state("mine", run_id=run_id) == state
    assert (state.run_id, state.token_id, state.node_id) == ("run", token.token_id, "gate")
    assert (state.step_index, state.attempt, state.status) == (1, 2, NodeStateStatus.OPEN)
    assert (state.input_hash, state.context_before_json) == (sha256('{"id":1}'), '{"a":1}')


@RUN_IDS
@pytest.mark.parametrize("status", [NodeStateStatus.COMPLETED, "completed"], ids=repr)
def test_a_visit_can_complete(
    recorder: LandscapeRecorder, state: NodeStateOpen, run_id: str | None, status: NodeStateStatus | str
) -> None:
    ended = recorder.complete_node_state(
        state.state_id,
        status,
        run_id=run_id,
        output_data=[{"id": 2}],
        duration_ms=3,
        success_reason={"action": "routed"},
        context_after={"seen": 1},
    )
    assert type(ended) is NodeStateCompleted
    assert recorder.get_node_state(state.state_id) == ended
    assert (ended.output_hash, ended.success_reason_json) == (sha256('[{"id":2}]'), '{"action":"routed"}')
    assert (ended.context_before_json, ended.context_after_json) == ('{"seen":0}', '{"seen":1}')
    assert (ended.duration_ms, ended.input_hash, ended.started_at) == (3.0, state.input_hash, state.started_at)
    assert ended.completed_at >= ended.started_at


@pytest.mark.parametrize("status", [NodeStateStatus.FAILED, "failed"], ids=repr)
def test_a_visit_can_fail(recorder: LandscapeRecorder, state: NodeStateOpen, status: NodeStateStatus | str) -> None:
    error = {"exception": "no", "type": "ValueError"}
    ended = recorder.complete_node_state(state.state_id, status, error=error, output_data={"partly": True})
    assert type(ended) is NodeStateFailed
    assert recorder.get_node_state(state.state_id) == ended
    assert ended.error_json == '{"exception":"no","type":"ValueError"}'
    assert ended.output_hash == sha256('{"partly":true}')


def test_an_error_may_hold_what_json_cannot_express(recorder: LandscapeRecorder, state: NodeStateOpen) -> None:
    ended = recorder.complete_node_state(state.state_id, "failed", error={"value": math.inf})
    assert type(ended) is NodeStateFailed
    problem = "a number is not finite, which JSON does not have"
    assert ended.error_json == (
        f'{{"__canonical_error__":"{problem}","__repr__":"{{\'value\': inf}}","__type__":"dict"}}'
    )


@pytest.mark.parametrize("status", [NodeStateStatus.PENDING, "pending"], ids=repr)
def test_a_visit_can_wait_and_then_complete(
    recorder: LandscapeRecorder, state: NodeStateOpen, status: NodeStateStatus | str
) -> None:
    pending = recorder.complete_node_state(state.state_id, status, duration_ms=1.5, context_after={"ticket": 7})
    assert type(pending) is NodeStatePending
    assert recorder.get_node_state(state.state_id) == pending
    ended = recorder.complete_node_state(state.state_id, "completed", output_data={}, duration_ms=9)
    assert type(ended) is NodeStateCompleted
    assert recorder.get_node_state(state.state_id) == ended
    assert (ended.context_after_json, ended.duration_ms) == ('{"ticket":7}', 9.0)


def test_waiting_visits_are_found_by_node_and_run(recorder: LandscapeRecorder) -> None:
    for run_id in ("run", "other"):
        record_graph(recorder, run_id)
        recorder.create_row(run_id, "source", 0, {}, row_id="row")
        recorder.create_token("row", run_id=run_id, token_id="token")
        for step, (node_id, status) in enumerate(
            [("source", "completed"), ("transform", "pending"), ("aggregation", "pending")]
        ):
            state_id = f"at {node_id}"
            recorder.begin_node_state("token", node_id, step, {}, run_id=run_id, state_id=state_id)
            recorder.complete_node_state(
                state_id, status, run_id=run_id, output_data={} if status == "completed" else None
            )
    found = recorder.get_waiting_states("run", "aggregation")
    assert found == {"token": recorder.get_node_state("at aggregation", run_id="run")}
    assert recorder.get_waiting_states("run", "source") == {}


def test_the_duration_defaults_to_the_time_since_the_beginning(
    recorder: LandscapeRecorder, state: NodeStateOpen
) -> None:
    ended = recorder.complete_node_state(state.state_id, "completed", output_data={})
    elapsed = ended.completed_at - state.started_at
    assert ended.duration_ms == elapsed.total_seconds() * 1000


def test_a_duration_and_a_latency_of_zero_are_recorded(recorder: LandscapeRecorder, state: NodeStateOpen) -> None:
    call = recorder.record_call(state.state_id, 0, "http", "success", {}, latency_ms=0)
    ended = recorder.complete_node_state(state.state_id, "completed", output_data={}, duration_ms=0)
    assert (call.latency_ms, ended.duration_ms) == (0.0, 0.0)


def test_a_quarantined_visit_may_hold_what_json_cannot_express(recorder: LandscapeRecorder, token: Token) -> None:
    state = recorder.begin_node_state(token.token_id, "source", 0, {"value": math.nan}, quarantined=True)
    problem = "a number is not finite, which JSON does not have"
    described = f'{{"__canonical_error__":"{problem}","__repr__":"{{\'value\': nan}}","__type__":"dict"}}'
    assert state.input_hash == sha256(described)


def test_a_whole_visit_can_be_recorded_at_once(recorder: LandscapeRecorder, token: Token) -> None:
    began = token.created_at - timedelta(minutes=2)
    visit = recorder.record_visit(
        token.token_id,
        "gate",
        1,
        "completed",
        run_id="run",
        input_hash=HASH,
        started_at=began,
        output_hash=HASH[::-1],
        success_reason={"action": "routed"},
        attempt=2,
    )
    assert type(visit) is NodeStateCompleted
    assert recorder.get_node_states_for_token(token.token_id) == [visit]
    assert (visit.node_id, visit.step_index, visit.attempt) == ("gate", 1, 2)
    assert (visit.input_hash, visit.output_hash) == (HASH, HASH[::-1])
    assert visit.success_reason_json == '{"action":"routed"}'
    assert visit.duration_ms == (visit.completed_at - began).total_seconds() * 1000 > 120_000
    failed = recorder.record_visit(
        token.token_id, "sink", 2, "failed", run_id="run", input_hash=HASH, started_at=began, error={"reason": "late"}
    )
    assert type(failed) is NodeStateFailed
    assert (failed.attempt, failed.error_json) == (0, '{"reason":"late"}')
    assert recorder.get_node_states_for_token(token.token_id) == [visit, failed]


@pytest.mark.parametrize("reason", [None, {"action": "kept"}, CanonicalText.of({"action": "kept"})], ids=repr)
def test_a_completed_visit_has_the_reason_of_its_success(
    recorder: LandscapeRecorder, token: Token, reason: dict[str, str] | CanonicalText | None
) -> None:
    began = token.created_at - timedelta(seconds=1)
    visit = recorder.record_completed_visit(
        token.token_id,
        "gate",
        1,
        run_id="run",
        input_hash=HASH,
        output_hash=HASH[::-1],
        started_at=began,
        success_reason=reason,
    )
    assert recorder.get_node_states_for_token(token.token_id) == [visit]
    assert (visit.node_id, visit.step_index, visit.attempt, visit.status) == ("gate", 1, 0, NodeStateStatus.COMPLETED)
    assert (visit.input_hash, visit.output_hash, visit.started_at) == (HASH, HASH[::-1], began)
    assert visit.duration_ms == (visit.completed_at - began).total_seconds() * 1000
    assert visit.success_reason_json == (None if reason is None else '{"action":"kept"}')
    opened = recorder.begin_node_state(token.token_id, "sink", 2, {})
    ended = recorder.end_visit(opened, "completed", output_hash=HASH, success_reason=reason)
    assert type(ended) is NodeStateCompleted
    assert (ended.output_hash, ended.success_reason_json) == (HASH, visit.success_reason_json)


def test_a_visit_can_be_ended_by_its_record(recorder: LandscapeRecorder, state: NodeStateOpen) -> None:
    pending = recorder.end_visit(state, NodeStateStatus.PENDING)
    assert type(pending) is NodeStatePending
    assert recorder.get_node_state(state.state_id) == pending
    ended = recorder.end_visit(pending, "failed", error={"reason": "late"}, output_hash=HASH)
    assert type(ended) is NodeStateFailed
    assert recorder.get_node_state(state.state_id) == ended
    assert (ended.error_json, ended.output_hash) == ('{"reason":"late"}', HASH)
    assert ended.context_before_json == state.context_before_json


def test_the_visits_of_a_token_are_listed_by_step_and_attempt(recorder: LandscapeRecorder, token: Token) -> None:
    for node_id, step, attempt in (("gate", 1, 1), ("source", 0, 0), ("gate", 1, 0), ("sink", 2, 0)):
        recorder.begin_node_state(token.token_id, node_id, step, {}, attempt=attempt)
    found = recorder.get_node_states_for_token(token.token_id)
    assert [(each.step_index, each.attempt) for each in found] == [(0, 0), (1, 0), (1, 1), (2, 0)]
    assert recorder.get_node_states_for_token(token.token_id, run_id="run") == found
    assert recorder.get_node_states_for_token("nowhere") == []
    assert recorder.get_node_state("nowhere") is None


# -- routes ----------------------------------------------------------------------------------------------------------


@RUN_IDS
@pytest.mark.parametrize("mode", [RoutingMode.COPY, "copy"], ids=repr)
def test_a_route_is_recorded(
    recorder: LandscapeRecorder, state: NodeStateOpen, run_id: str | None, mode: RoutingMode | str
) -> None:
    event = recorder.record_routing_event(
        state.state_id,
        "copy",
        mode,
        {"rule": "x"},
        run_id=run_id,
        event_id="mine",
        routing_group_id="group",
        ordinal=3,
        reason_ref="elsewhere",
    )
    assert recorder.get_routing_events(state.state_id, run_id=run_id) == [event]
    assert (event.run_id, event.event_id, event.state_id, event.edge_id) == ("run", "mine", state.state_id, "copy")
    assert (event.mode, event.routing_group_id, event.ordinal) == (RoutingMode.COPY, "group", 3)
    assert (event.reason_hash, event.reason_ref) == (sha256('{"rule":"x"}'), "elsewhere")


def test_a_route_may_have_no_reason(recorder: LandscapeRecorder, state: NodeStateOpen) -> None:
    event = recorder.record_routing_event(state.state_id, "copy", "move")
    assert (event.reason_hash, event.reason_ref, event.ordinal) == (None, None, 0)


@RUN_IDS
def test_routes_of_one_decision_share_a_group(
    recorder: LandscapeRecorder, state: NodeStateOpen, run_id: str | None
) -> None:
    routes = [RoutingSpec("copy", RoutingMode.COPY), RoutingSpec("continue", RoutingMode.MOVE)]
    events = recorder.record_routing_events(state.state_id, routes, {"rule": "x"}, run_id=run_id)
    assert recorder.get_routing_events(state.state_id) == events
    assert [(event.edge_id, event.mode, event.ordinal) for event in events] == [
        ("copy", RoutingMode.COPY, 0),
        ("continue", RoutingMode.MOVE, 1),
    ]
    assert len({(event.routing_group_id, event.reason_hash) for event in events}) == 1
    assert recorder.get_routing_events("nowhere") == []
    assert recorder.record_routing_events(state.state_id, []) == []


def test_the_routes_of_a_visit_are_listed_in_their_order(recorder: LandscapeRecorder, state: NodeStateOpen) -> None:
    for ordinal, event_id in ((1, "a"), (0, "b"), (2, "0")):
        recorder.record_routing_event(state.state_id, "copy", "copy", event_id=event_id, ordinal=ordinal)
    assert [each.event_id for each in recorder.get_routing_events(state.state_id)] == ["b", "a", "0"]


def test_a_visit_has_only_the_fields_of_its_status(recorder: LandscapeRecorder, token: Token) -> None:
    with pytest.raises(AuditIntegrityError) as caught:
        recorder.record_visit(
            token.token_id,
            "gate",
            1,
            "failed",
            run_id="run",
            input_hash=HASH,
            started_at=token.created_at,
            success_reason={"action": "x"},
        )
    assert (caught.value.field, caught.value.expected) == ("success_reason_json", "nothing while status is failed")


def begin_state(recorder: LandscapeRecorder) -> NodeStateOpen:
    record_graph(recorder)
    recorder.create_row("run", "source", 0, {}, row_id="row")
    return recorder.begin_node_state(recorder.create_token("row").token_id, "transform", 0, {})


@pytest.fixture
def calling_state(recorder: LandscapeRecorder) -> NodeStateOpen:
    return begin_state(recorder)


# -- calls of a node state -------------------------------------------------------------------------------------------


@RUN_IDS
@pytest.mark.parametrize("call_type", [CallType.HTTP, "http"], ids=repr)
@pytest.mark.parametrize("status", [CallStatus.ERROR, "error"], ids=repr)
def test_a_call_is_recorded_with_the_hashes_of_request_and_response(
    recorder: LandscapeRecorder,
    calling_state: NodeStateOpen,
    run_id: str | None,
    call_type: CallType | str,
    status: CallStatus | str,
) -> None:
    call = recorder.record_call(
        calling_state.state_id,
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
    assert recorder.get_calls(calling_state.state_id, run_id=run_id) == [call]
    assert (call.run_id, call.state_id, call.operation_id, call.call_index) == ("run", calling_state.state_id, None, 4)
    assert (call.call_type, call.status, call.latency_ms) == (CallType.HTTP, CallStatus.ERROR, 12.0)
    assert (call.request_hash, call.request_ref) == (sha256('{"q":1}'), "question")
    assert (call.response_hash, call.response_ref) == (sha256('{"a":2}'), "answer")
    assert call.error_json == '{"code":500}'


def test_a_call_may_have_no_answer(recorder: LandscapeRecorder, calling_state: NodeStateOpen) -> None:
    call = recorder.record_call(calling_state.state_id, 0, CallType.SQL, CallStatus.ERROR, {})
    assert (call.response_hash, call.response_ref, call.request_ref) == (None, None, None)
    assert (call.error_json, call.latency_ms, call.status) == (None, None, CallStatus.ERROR)


def test_the_calls_of_a_state_are_listed_in_order(recorder: LandscapeRecorder, calling_state: NodeStateOpen) -> None:
    for index in (2, 0, 1):
        recorder.record_call(calling_state.state_id, index, "llm", "success", {})
    assert [call.call_index for call in recorder.get_calls(calling_state.state_id)] == [0, 1, 2]
    assert recorder.get_calls("nowhere") == []


@RUN_IDS
def test_call_indexes_are_assigned_once(
    recorder: LandscapeRecorder, calling_state: NodeStateOpen, run_id: str | None
) -> None:
    allocated = [recorder.allocate_call_index(calling_state.state_id, run_id=run_id) for _ in range(3)]
    assert allocated == [0, 1, 2]


def test_another_recorder_continues_after_the_highest_index(landscape: LandscapeDB) -> None:
    first = LandscapeRecorder(landscape)
    state_id = begin_state(first).state_id
    first.record_call(state_id, 6, "llm", "success", {})
    assert LandscapeRecorder(landscape).allocate_call_index(state_id) == 7


def test_indexes_continue_after_a_visit_left_the_cache(
    recorder: LandscapeRecorder, calling_state: NodeStateOpen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_predecessor_writes, "_TRACKED_PARENTS", 1)
    other = recorder.begin_node_state(calling_state.token_id, "sink", 1, {})
    states = (calling_state.state_id, other.state_id, other.state_id)
    assert [recorder.allocate_call_index(state_id) for state_id in states] == [0, 0, 1]


def test_threads_never_get_the_same_index(recorder: LandscapeRecorder, calling_state: NodeStateOpen) -> None:
    """Allocate inside and outside units of work at once.

    Neither may wait for the other for ever.
    """
    handed_out: list[int] = []

    def allocate() -> None:
        handed_out.extend(recorder.allocate_call_index(calling_state.state_id) for _ in range(20))

    def allocate_in_units() -> None:
        for _ in range(20):
            with recorder.unit_of_work():
                handed_out.append(recorder.allocate_call_index(calling_state.state_id))

    threads = [threading.Thread(target=target, daemon=True) for target in (allocate, allocate_in_units) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(handed_out) == list(range(80))


def test_the_first_call_with_a_request_is_found(recorder: LandscapeRecorder, calling_state: NodeStateOpen) -> None:
    first = recorder.record_call(calling_state.state_id, 1, CallType.LLM, CallStatus.SUCCESS, {"q": 1})
    recorder.record_call(calling_state.state_id, 0, CallType.LLM, CallStatus.SUCCESS, {"q": 1})
    recorder.record_call(calling_state.state_id, 2, CallType.HTTP, CallStatus.SUCCESS, {"q": 1})
    assert recorder.find_call_by_request_hash("run", CallType.LLM, first.request_hash) == first
    assert recorder.find_call_by_request_hash("run", "llm", first.request_hash) == first
    assert recorder.find_call_by_request_hash("run", "sql", first.request_hash) is None
    assert recorder.find_call_by_request_hash("nowhere", "llm", first.request_hash) is None


@RUN_IDS
def test_the_response_of_a_call_can_be_read_while_it_is_kept(
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
    assert recorder.get_call_response_data(answered.call_id, run_id="nowhere") is None
    assert LandscapeRecorder(landscape).get_call_response_data(answered.call_id) is None
    payloads.delete(str(answered.response_ref))
    assert recorder.get_call_response_data(answered.call_id) is None


UNSTORABLE = {"text": "lone \udcff", "number": math.nan}


@pytest.fixture
def token_id(recorder: LandscapeRecorder) -> str:
    record_graph(recorder)
    recorder.create_row("run", "source", 0, {}, row_id="row")
    return recorder.create_token("row").token_id


@pytest.mark.parametrize("node_id", ["source", None])
def test_a_validation_error_is_recorded(recorder: LandscapeRecorder, node_id: str | None) -> None:
    record_graph(recorder)
    error_id = recorder.record_validation_error(
        "run",
        node_id,
        {"id": "x"},
        "id: expected \x00 int",
        "strict",
        "quarantine",
        violation_type="type_mismatch",
        original_field_name="Id",
        normalized_field_name="id",
        expected_type="int",
        actual_type="str",
    )
    (found,) = recorder.get_validation_errors_for_run("run")
    assert (found.error_id, found.node_id, found.error) == (error_id, node_id, "id: expected \ufffd int")
    assert (found.row_data_json, found.row_hash) == ('{"id":"x"}', sha256('{"id":"x"}'))
    assert (found.schema_mode, found.destination) == ("strict", "quarantine")
    assert (found.violation_type, found.expected_type, found.actual_type) == ("type_mismatch", "int", "str")
    assert (found.original_field_name, found.normalized_field_name) == ("Id", "id")


def test_validation_errors_are_found_by_the_content_of_the_row(recorder: LandscapeRecorder) -> None:
    record_graph(recorder)
    ids = [
        recorder.record_validation_error("run", "source", {"id": value}, "no", "strict", "discard")
        for value in ("x", "y", "x")
    ]
    found = recorder.get_validation_errors_for_row("run", sha256('{"id":"x"}'))
    assert sorted(each.error_id for each in found) == sorted([ids[0], ids[2]])
    assert len(recorder.get_validation_errors_for_run("run")) == 3
    assert recorder.get_validation_errors_for_row("nowhere", sha256('{"id":"x"}')) == []
    assert recorder.get_validation_errors_for_run("nowhere") == []


def test_a_transform_error_is_recorded(recorder: LandscapeRecorder, token_id: str) -> None:
    error_id = recorder.record_transform_error("run", token_id, "transform", {"id": 1}, {"reason": "zero"}, "errors")
    assert recorder.get_transform_errors_for_run("run") == recorder.get_transform_errors_for_token(token_id)
    (found,) = recorder.get_transform_errors_for_token(token_id, run_id="run")
    assert (found.error_id, found.token_id, found.transform_id) == (error_id, token_id, "transform")
    assert (found.row_data_json, found.row_hash) == ('{"id":1}', sha256('{"id":1}'))
    assert (found.error_details_json, found.destination) == ('{"reason":"zero"}', "errors")
    assert recorder.get_transform_errors_for_token("nowhere") == []
    assert recorder.get_transform_errors_for_run("nowhere") == []


@pytest.mark.parametrize("row_data", [UNSTORABLE, [UNSTORABLE], {1, 2}, "text", None, {1: "a"}], ids=repr)
def test_an_error_is_recorded_whatever_the_row_held(
    recorder: LandscapeRecorder, token_id: str, row_data: object
) -> None:
    recorder.record_validation_error("run", "source", row_data, "no", "strict", "discard")
    recorder.record_transform_error("run", token_id, "transform", row_data, UNSTORABLE, "discard")
    (validation,) = recorder.get_validation_errors_for_run("run")
    (transform,) = recorder.get_transform_errors_for_run("run")
    assert validation.row_data_json == transform.row_data_json
    assert validation.row_hash == transform.row_hash == sha256(validation.row_data_json)
    assert json.loads(transform.error_details_json or "")["__repr__"] == "{'text': 'lone \\udcff', 'number': nan}"

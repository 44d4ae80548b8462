from __future__ import annotations

import hashlib
import math

import pytest

from elspeth.contracts.routing import RoutingSpec
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema.contracts import (
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


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


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
def test_a_visit_begins(recorder: LandscapeRecorder, token: Token, run_id: str | None) -> None:
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
def test_a_visit_completes(
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
def test_a_visit_fails(recorder: LandscapeRecorder, state: NodeStateOpen, status: NodeStateStatus | str) -> None:
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
def test_a_visit_waits_and_then_completes(
    recorder: LandscapeRecorder, state: NodeStateOpen, status: NodeStateStatus | str
) -> None:
    pending = recorder.complete_node_state(state.state_id, status, duration_ms=1.5, context_after={"ticket": 7})
    assert type(pending) is NodeStatePending
    assert recorder.get_node_state(state.state_id) == pending
    ended = recorder.complete_node_state(state.state_id, "completed", output_data={}, duration_ms=9)
    assert type(ended) is NodeStateCompleted
    assert recorder.get_node_state(state.state_id) == ended
    assert (ended.context_after_json, ended.duration_ms) == ('{"ticket":7}', 9.0)


def test_a_duration_that_is_not_given_is_the_time_since_the_beginning(
    recorder: LandscapeRecorder, state: NodeStateOpen
) -> None:
    ended = recorder.complete_node_state(state.state_id, "completed", output_data={})
    elapsed = ended.completed_at - state.started_at
    assert ended.duration_ms == elapsed.total_seconds() * 1000


def test_a_quarantined_visit_may_hold_what_json_cannot_express(recorder: LandscapeRecorder, token: Token) -> None:
    state = recorder.begin_node_state(token.token_id, "source", 0, {"value": math.nan}, quarantined=True)
    problem = "a number is not finite, which JSON does not have"
    described = f'{{"__canonical_error__":"{problem}","__repr__":"{{\'value\': nan}}","__type__":"dict"}}'
    assert state.input_hash == sha256(described)


def test_a_whole_visit_is_recorded_at_once(recorder: LandscapeRecorder, token: Token) -> None:
    visit = recorder.record_visit(
        token.token_id,
        "gate",
        1,
        "completed",
        run_id="run",
        input_hash=HASH,
        started_at=token.created_at,
        output_hash=HASH[::-1],
        success_reason={"action": "routed"},
        attempt=2,
    )
    assert type(visit) is NodeStateCompleted
    assert recorder.get_node_states_for_token(token.token_id) == [visit]
    assert (visit.node_id, visit.step_index, visit.attempt) == ("gate", 1, 2)
    assert (visit.input_hash, visit.output_hash) == (HASH, HASH[::-1])
    assert visit.duration_ms == (visit.completed_at - token.created_at).total_seconds() * 1000


def test_a_visit_whose_record_is_at_hand_ends(recorder: LandscapeRecorder, state: NodeStateOpen) -> None:
    pending = recorder.end_visit(state, NodeStateStatus.PENDING)
    assert type(pending) is NodeStatePending
    assert recorder.get_node_state(state.state_id) == pending
    ended = recorder.end_visit(pending, "failed", error={"reason": "late"}, output_hash=HASH)
    assert type(ended) is NodeStateFailed
    assert recorder.get_node_state(state.state_id) == ended
    assert (ended.error_json, ended.output_hash) == ('{"reason":"late"}', HASH)
    assert ended.context_before_json == state.context_before_json


def test_the_visits_of_a_token_are_listed_by_step_and_attempt(recorder: LandscapeRecorder, token: Token) -> None:
    for node_id, step, attempt in (("gate", 1, 1), ("source", 0, 0), ("gate", 1, 0)):
        recorder.begin_node_state(token.token_id, node_id, step, {}, attempt=attempt)
    found = recorder.get_node_states_for_token(token.token_id)
    assert [(each.step_index, each.attempt) for each in found] == [(0, 0), (1, 0), (1, 1)]
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
def test_a_decision_for_several_routes_is_one_group(
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


def test_a_visit_has_only_what_its_status_has(recorder: LandscapeRecorder, token: Token) -> None:
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

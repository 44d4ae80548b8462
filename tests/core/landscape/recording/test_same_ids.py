"""Calls about runs that have the same ids."""

from __future__ import annotations

import inspect

from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth_schema.contracts import BatchStatus
from tests.fixtures.records import EVENTFUL, record_everything

SAME = {
    "node_id": "gate",
    "edge_id": "copy",
    "row_id": "row-x",
    "token_id": EVENTFUL,
    "state_id": "state-open",
    "batch_id": "batch",
}
"""The ids that both runs have, by the parameter that takes them."""


def readers(*parameters: str) -> list[tuple[str, str]]:
    """Return calls that read by an id, and its parameter."""
    found = []
    for name, method in inspect.getmembers(LandscapeRecorder, inspect.isfunction):
        names = list(inspect.signature(method).parameters)[1:]
        if name.startswith("get_") and names[:1] and names[0] in parameters and "run_id" in names:
            found.append((name, names[0]))
    return found


def runs_of(result: object) -> set[str]:
    """Return the runs that an answer is about."""
    records = result if isinstance(result, list) else [result]
    return {getattr(each, "run_id", "unknown") for each in records}


def test_a_record_is_read_of_the_run_that_is_asked_for(recorder: LandscapeRecorder) -> None:
    both = {run_id: record_everything(recorder, run_id) for run_id in ("run", "other")}
    recorder.record_transform_error("run", "token-0", "transform", {}, {}, "discard")
    calls = [each for each in readers(*SAME) if each[0] != "get_row_data"]  # which does not name its run
    assert len(calls) > 10
    for run_id, recorded in both.items():
        answers = {name: getattr(recorder, name)(SAME[parameter], run_id=run_id) for name, parameter in calls}
        found = {name: runs_of(answer) for name, answer in answers.items() if answer not in ([], None)}
        assert found == {name: {run_id} for name, _ in calls if name != "get_token_parents"}
        parents = recorder.get_token_parents(recorded.joined, run_id=run_id)
        assert [(each.run_id, each.parent_token_id) for each in parents] == [
            (run_id, token_id) for token_id in recorded.children
        ]
        assert recorder.get_row_data("row-x", run_id=run_id) == recorder.get_row_data("row-0", run_id=run_id)
    ids = {"operation_id": both["run"].operation_id, "call_id": both["run"].call_id, "token_id": both["run"].joined}
    in_other = [getattr(recorder, name)(ids[key], run_id="other") for name, key in readers(*ids)]
    assert [each for each in in_other if each not in ([], None)] == []


def test_a_record_of_the_run_that_is_named_is_changed(recorder: LandscapeRecorder) -> None:
    for run_id in ("run", "other"):
        record_everything(recorder, run_id)
    recorder.record_call("state-open", 7, "http", "success", {}, run_id="run")
    assert recorder.allocate_call_index("state-open", run_id="other") == 1
    event = recorder.record_routing_event("state-open", "copy", "copy", run_id="other", ordinal=7)
    assert recorder.get_routing_events("state-open", run_id="other")[-1] == event
    assert event not in recorder.get_routing_events("state-open", run_id="run")
    recorder.complete_batch("batch", "failed", run_id="other")
    again = recorder.retry_batch("batch", run_id="other")
    (member,) = recorder.get_batch_members("batch", run_id="other")
    assert [each.token_id for each in recorder.get_batch_members(again.batch_id)] == [member.token_id]
    statuses = {each: [batch.status for batch in recorder.get_batches(each)] for each in ("run", "other")}
    assert statuses == {"run": [BatchStatus.EXECUTING], "other": [BatchStatus.FAILED, BatchStatus.DRAFT]}

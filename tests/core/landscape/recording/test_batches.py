from __future__ import annotations

import re
from dataclasses import replace

import pytest

from elspeth.core.landscape.recording.batches import HeldItem
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth_schema.contracts import BatchMember, BatchStatus, TriggerType
from tests.fixtures.ids import ID
from tests.fixtures.records import record_graph

RUN_IDS = pytest.mark.parametrize("run_id", [None, "run"])
BATCH = "batch"


@pytest.fixture
def tokens(recorder: LandscapeRecorder) -> list[str]:
    """Return two tokens, beside an empty batch."""
    record_graph(recorder)
    recorder.create_batch("run", "aggregation", batch_id=BATCH)
    recorder.create_row("run", "source", 0, {}, row_id="row")
    made = [recorder.create_token("row").token_id for _ in range(2)]
    recorder.begin_node_state(made[0], "aggregation", 0, {}, state_id="state")
    return made


def test_a_batch_begins_as_a_draft(recorder: LandscapeRecorder) -> None:
    record_graph(recorder)
    batch = recorder.create_batch("run", "aggregation", batch_id="mine", attempt=2)
    assert recorder.get_batch("mine") == recorder.get_batch("mine", run_id="run") == batch
    assert (batch.run_id, batch.aggregation_node_id, batch.attempt) == ("run", "aggregation", 2)
    assert (batch.status, batch.completed_at, batch.trigger_type) == (BatchStatus.DRAFT, None, None)
    assert re.fullmatch(ID, recorder.create_batch("run", "aggregation").batch_id)


@RUN_IDS
def test_members_are_listed_in_order(recorder: LandscapeRecorder, tokens: list[str], run_id: str | None) -> None:
    second = recorder.add_batch_member(BATCH, tokens[0], 1, run_id=run_id)
    first = recorder.add_batch_member(BATCH, tokens[1], 0, run_id=run_id)
    assert first == BatchMember(run_id="run", batch_id=BATCH, token_id=tokens[1], ordinal=0)
    assert recorder.get_batch_members(BATCH, run_id=run_id) == [first, second]
    assert recorder.get_batch_members("nowhere", run_id=run_id) == []


@RUN_IDS
def test_outputs_are_listed(recorder: LandscapeRecorder, tokens: list[str], run_id: str | None) -> None:
    output = recorder.add_batch_output(BATCH, "token", tokens[1], run_id=run_id)
    assert (output.run_id, output.batch_id, output.output_type, output.output_id) == ("run", BATCH, "token", tokens[1])
    assert recorder.get_batch_outputs(BATCH, run_id=run_id) == [output]
    assert recorder.get_batch_outputs("nowhere", run_id=run_id) == []


@RUN_IDS
@pytest.mark.parametrize("trigger_type", [TriggerType.COUNT, "count"], ids=repr)
@pytest.mark.parametrize("status", [BatchStatus.EXECUTING, "executing"], ids=repr)
@pytest.mark.usefixtures("tokens")
def test_a_batch_can_be_executing(
    recorder: LandscapeRecorder, run_id: str | None, trigger_type: TriggerType | str, status: BatchStatus | str
) -> None:
    recorder.update_batch_status(
        BATCH, status, run_id=run_id, trigger_type=trigger_type, trigger_reason="2 of 2", state_id="state"
    )
    batch = recorder.get_batch(BATCH)
    assert batch is not None
    assert (batch.status, batch.completed_at) == (BatchStatus.EXECUTING, None)
    assert (batch.trigger_type, batch.trigger_reason) == (TriggerType.COUNT, "2 of 2")
    assert batch.aggregation_state_id == "state"


@RUN_IDS
@pytest.mark.usefixtures("tokens")
def test_the_end_of_a_batch_keeps_its_trigger(recorder: LandscapeRecorder, run_id: str | None) -> None:
    recorder.update_batch_status(BATCH, "executing", trigger_type="count", trigger_reason="2", state_id="state")
    batch = recorder.complete_batch(BATCH, "completed", run_id=run_id)
    assert recorder.get_batch(BATCH) == batch
    assert (batch.status, batch.trigger_type, batch.trigger_reason) == (BatchStatus.COMPLETED, TriggerType.COUNT, "2")
    assert batch.completed_at is not None


@pytest.mark.usefixtures("tokens")
def test_a_batch_may_be_triggered_and_end_in_one_call(recorder: LandscapeRecorder) -> None:
    batch = recorder.complete_batch(
        BATCH, BatchStatus.FAILED, trigger_type="manual", trigger_reason="by \x00 hand", state_id="state"
    )
    assert (batch.status, batch.trigger_type) == (BatchStatus.FAILED, TriggerType.MANUAL)
    assert (batch.trigger_reason, batch.aggregation_state_id) == ("by \ufffd hand", "state")


@pytest.mark.usefixtures("tokens")
def test_a_final_status_also_ends_a_batch(recorder: LandscapeRecorder) -> None:
    recorder.update_batch_status(BATCH, BatchStatus.FAILED)
    batch = recorder.get_batch(BATCH)
    assert batch is not None
    assert batch.completed_at is not None


@RUN_IDS
def test_a_failed_batch_is_retried_with_the_same_members(
    recorder: LandscapeRecorder, tokens: list[str], run_id: str | None
) -> None:
    for ordinal, member in enumerate(tokens):
        recorder.add_batch_member(BATCH, member, ordinal)
    failed = recorder.complete_batch(BATCH, "failed")
    again = recorder.retry_batch(BATCH, run_id=run_id)
    assert recorder.get_batch(again.batch_id) == again
    assert recorder.get_batch(BATCH) == failed
    assert again.batch_id != BATCH
    assert (again.attempt, again.status, again.aggregation_node_id) == (1, BatchStatus.DRAFT, "aggregation")
    members = recorder.get_batch_members(again.batch_id)
    assert [(member.token_id, member.ordinal) for member in members] == [(tokens[0], 0), (tokens[1], 1)]
    recorder.complete_batch(again.batch_id, "failed")
    assert recorder.retry_batch(again.batch_id).attempt == 2


def test_batches_are_listed_in_order_of_creation(recorder: LandscapeRecorder) -> None:
    record_graph(recorder)
    for batch_id in ("d", "c", "b", "a"):
        recorder.create_batch("run", "transform" if batch_id == "b" else "aggregation", batch_id=batch_id)
    for batch_id, status in (("c", "executing"), ("b", "completed"), ("a", "failed")):
        recorder.update_batch_status(batch_id, status)

    def ids(status: BatchStatus | str | None = None, node_id: str | None = None) -> list[str]:
        return [batch.batch_id for batch in recorder.get_batches("run", status=status, node_id=node_id)]

    assert ids() == ["d", "c", "b", "a"]
    assert ids(BatchStatus.DRAFT) == ids("draft") == ["d"]
    assert ids(node_id="aggregation") == ["d", "c", "a"]
    assert ids("completed", "transform") == ["b"]
    assert ids("completed", "aggregation") == []
    assert [batch.batch_id for batch in recorder.get_incomplete_batches("run")] == ["d", "c", "a"]
    assert recorder.get_batches("nowhere") == recorder.get_incomplete_batches("nowhere") == []
    assert recorder.get_batch("nowhere") is None


# -- waiting items ---------------------------------------------------------------------------------------------------


def test_replacing_waiting_items_does_not_affect_other_runs(recorder: LandscapeRecorder) -> None:
    first, second = (
        HeldItem(node_id="aggregation", item=item, position=position, state={"of": item})
        for position, item in enumerate(["first", "second"])
    )
    elsewhere = [replace(each, node_id="transform", position=each.position + 3) for each in (first, second)]
    for run_id in ("run", "other"):
        record_graph(recorder, run_id)
        recorder.hold(run_id, [first, second, *elsewhere])
    replaced = HeldItem(node_id="aggregation", item="second", position=2, state={})
    recorder.hold("run", [replaced], gone=[("aggregation", "first")])
    assert recorder.get_held("run") == [replaced, *elsewhere]
    assert recorder.get_held("other") == [first, second, *elsewhere]


def test_the_end_of_a_run_deletes_only_its_own_waiting_items(recorder: LandscapeRecorder) -> None:
    item = HeldItem(node_id="aggregation", item="first", position=0, state={})
    for run_id in ("run", "other"):
        record_graph(recorder, run_id)
        recorder.hold(run_id, [item])
    recorder.complete_run("run", "failed")
    assert (recorder.get_held("run"), recorder.get_held("other")) == ([], [item])


def test_waiting_items_of_several_nodes_are_in_one_order(recorder: LandscapeRecorder) -> None:
    record_graph(recorder)
    nodes = ["transform", "aggregation", "transform"]
    items = [HeldItem(node_id=node_id, item=str(at), position=at, state={}) for at, node_id in enumerate(nodes)]
    recorder.hold("run", items[::-1])
    assert recorder.get_held("run") == items


def test_waiting_items_are_restored_in_order_of_position(recorder: LandscapeRecorder) -> None:
    record_graph(recorder)
    items = [HeldItem(node_id="aggregation", item=item, position=at, state={}) for at, item in enumerate("cab")]
    recorder.hold("run", items[1:])
    recorder.hold("run", items[:1])
    recorder.hold("run", items[1:2])
    assert recorder.get_held("run") == items

"""The lineage of a token, for the predecessor's API."""

from __future__ import annotations

from pathlib import Path

import pytest

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.queries.lineage import explain
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.payload_store import FilesystemPayloadStore
from elspeth_schema.contracts import RowOutcome
from tests.fixtures.records import EVENTFUL, record_everything, record_graph, record_row


def test_a_token_is_explained_by_all_its_records(recorder: LandscapeRecorder) -> None:
    record_everything(recorder)
    story = explain(recorder, "run", token_id=EVENTFUL)
    assert story is not None
    assert story.token == recorder.get_token(EVENTFUL)
    assert (story.source_row.row_id, story.source_row.payload_available) == ("row-x", False)
    assert [state.state_id for state in story.node_states] == [
        "state-failed",
        "state-completed",
        "state-pending",
        "state-open",
    ]
    assert story.routing_events == recorder.get_routing_events("state-open")
    assert story.calls == recorder.get_calls("state-open")
    assert story.parent_tokens == []
    assert story.validation_errors == recorder.get_validation_errors_for_run("run")
    assert story.transform_errors == recorder.get_transform_errors_for_token(EVENTFUL)
    assert story.outcome is not None
    assert story.outcome.outcome is RowOutcome.FORKED


def test_parents_are_in_order(recorder: LandscapeRecorder) -> None:
    recorded = record_everything(recorder)
    story = explain(recorder, "run", token_id=recorded.joined)
    assert story is not None
    assert [parent.token_id for parent in story.parent_tokens] == recorded.children


def test_a_row_is_explained_by_its_token(landscape: LandscapeDB, tmp_path: Path) -> None:
    recorder = LandscapeRecorder(landscape, payload_store=FilesystemPayloadStore(tmp_path / "payloads"))
    record_graph(recorder)
    record_row(recorder)
    story = explain(recorder, "run", row_id="row-0")
    assert story == explain(recorder, "run", recorder.get_tokens("row-0")[0].token_id)
    assert story is not None
    assert story.source_row.source_data == {"id": 0, "name": "row 0"}


def test_a_row_that_was_forked_is_explained_by_the_child_that_ended(recorder: LandscapeRecorder) -> None:
    recorded = record_everything(recorder)
    left, right = recorded.children
    recorder.record_token_outcome("run", right, RowOutcome.COMPLETED)
    story = explain(recorder, "run", row_id="row-x")
    assert story is not None
    assert story.token.token_id == right
    recorder.record_token_outcome("run", left, RowOutcome.FAILED)
    with pytest.raises(ValueError, match="several tokens") as caught:
        explain(recorder, "run", row_id="row-x")
    assert str(caught.value) == (
        f"row row-x has several tokens with a terminal outcome ({right}, {left}): say which by token_id"
    )


def test_a_row_whose_tokens_only_parted_has_no_one_token(recorder: LandscapeRecorder) -> None:
    record_graph(recorder)
    recorder.create_row("run", "source", 0, {}, row_id="row")
    parent = recorder.create_token("row").token_id
    (child,) = recorder.expand_token(parent, "row", 1, record_parent_outcome=True)
    (last,) = recorder.fork_token(child.token_id, "row", ["a"], record_parent_outcome=True)
    with pytest.raises(ValueError, match=f"^row row has several tokens with .* {child.token_id}"):
        explain(recorder, "run", row_id="row")
    recorder.record_token_outcome("run", last.token_id, RowOutcome.COMPLETED)
    story = explain(recorder, "run", row_id="row")
    assert story is not None
    assert story.token == last


def test_a_row_whose_journey_has_not_ended_is_explained_by_its_first_token(recorder: LandscapeRecorder) -> None:
    record_graph(recorder)
    recorder.create_row("run", "source", 0, {}, row_id="row")
    first = recorder.create_token("row")
    recorder.fork_token(first.token_id, "row", ["a", "b"])
    story = explain(recorder, "run", row_id="row")
    assert story is not None
    assert (story.token, story.outcome) == (first, None)


def test_unknown_tokens_and_rows_have_no_lineage(recorder: LandscapeRecorder) -> None:
    record_graph(recorder)
    recorder.create_row("run", "source", 0, {}, row_id="row")
    assert explain(recorder, "run", "nowhere") is None
    assert explain(recorder, "run", row_id="nowhere") is None
    assert explain(recorder, "run", row_id="row") is None
    assert explain(recorder, "nowhere", row_id="row") is None


def test_nothing_is_explained_without_a_token_or_a_row(recorder: LandscapeRecorder) -> None:
    with pytest.raises(ValueError, match="needs") as caught:
        explain(recorder, "run")
    assert str(caught.value) == "explain needs a token_id or a row_id"

"""Rows and their content, tokens and their outcomes."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import pytest

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.recording.predecessor_reads import RowDataResult, RowDataState
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.payload_store import FilesystemPayloadStore, IntegrityError
from elspeth_schema.contracts import RowOutcome, Token, TokenParent
from tests.fixtures.records import HASH, record_graph


@pytest.fixture
def payloads(tmp_path: Path) -> FilesystemPayloadStore:
    return FilesystemPayloadStore(tmp_path / "payloads")


@pytest.fixture
def storing(landscape: LandscapeDB, payloads: FilesystemPayloadStore) -> LandscapeRecorder:
    """Return a recorder with a payload store."""
    recorder = LandscapeRecorder(landscape, payload_store=payloads)
    record_graph(recorder)
    return recorder


def test_a_row_is_recorded_with_the_hash_of_its_content(recorder: LandscapeRecorder) -> None:
    record_graph(recorder)
    row = recorder.create_row("run", "source", 3, {"name": "é", "id": 1})
    assert recorder.get_row(row.row_id) == recorder.get_row(row.row_id, run_id="run") == row
    assert (row.run_id, row.source_node_id, row.row_index, row.source_data_ref) == ("run", "source", 3, None)
    assert row.source_data_hash == hashlib.sha256('{"id":1,"name":"é"}'.encode()).hexdigest()


def test_the_caller_may_give_id_and_reference(recorder: LandscapeRecorder) -> None:
    record_graph(recorder)
    row = recorder.create_row("run", "source", 0, {}, row_id="mine", payload_ref="elsewhere")
    assert (row.row_id, row.source_data_ref) == ("mine", "elsewhere")


def test_rows_are_listed_in_reading_order(recorder: LandscapeRecorder) -> None:
    record_graph(recorder)
    for index in (10, 2, 0):
        recorder.create_row("run", "source", index, {}, row_id=f"row-{index}")
    assert [row.row_index for row in recorder.get_rows("run")] == [0, 2, 10]
    assert recorder.get_rows("nowhere") == []
    assert recorder.get_row("nowhere") is None


def test_a_quarantined_row_may_hold_what_json_cannot_express(recorder: LandscapeRecorder) -> None:
    record_graph(recorder)
    row = recorder.create_row("run", "source", 0, {"value": math.nan}, quarantined=True)
    problem = "a number is not finite, which JSON does not have"
    described = f'{{"__canonical_error__":"{problem}","__repr__":"{{\'value\': nan}}","__type__":"dict"}}'
    assert row.source_data_hash == hashlib.sha256(described.encode()).hexdigest()


# -- content ---------------------------------------------------------------------------------------------------------


def test_content_is_kept_under_its_hash(storing: LandscapeRecorder, payloads: FilesystemPayloadStore) -> None:
    row = storing.create_row("run", "source", 0, {"b": 2.0, "a": None})
    assert row.source_data_ref == row.source_data_hash
    assert payloads.retrieve(row.source_data_hash) == b'{"a":null,"b":2}'
    available = RowDataResult(state=RowDataState.AVAILABLE, data={"a": None, "b": 2})
    assert storing.get_row_data(row.row_id) == storing.get_row_data(row.row_id, run_id="run") == available


def test_content_that_was_purged_is_gone(storing: LandscapeRecorder, payloads: FilesystemPayloadStore) -> None:
    row = storing.create_row("run", "source", 0, {})
    payloads.delete(row.source_data_hash)
    assert storing.get_row_data(row.row_id) == RowDataResult(state=RowDataState.PURGED, data=None)


def test_content_that_was_altered_is_an_error(storing: LandscapeRecorder, tmp_path: Path) -> None:
    row = storing.create_row("run", "source", 0, {})
    (tmp_path / "payloads" / row.source_data_hash[:2] / row.source_data_hash).write_bytes(b'{"forged":true}')
    with pytest.raises(IntegrityError, match=r"The file was altered\.$"):
        storing.get_row_data(row.row_id)


def test_content_that_was_never_stored_is_unavailable(recorder: LandscapeRecorder) -> None:
    record_graph(recorder)
    row = recorder.create_row("run", "source", 0, {})
    assert recorder.get_row_data(row.row_id) == RowDataResult(state=RowDataState.NEVER_STORED, data=None)


def test_content_is_unavailable_without_a_store(storing: LandscapeRecorder, recorder: LandscapeRecorder) -> None:
    row = storing.create_row("run", "source", 0, {})
    assert recorder.get_row_data(row.row_id) == RowDataResult(state=RowDataState.STORE_NOT_CONFIGURED, data=None)


def test_content_of_an_unknown_row_is_unavailable(recorder: LandscapeRecorder) -> None:
    assert recorder.get_row_data("nowhere") == RowDataResult(state=RowDataState.ROW_NOT_FOUND, data=None)


def test_a_row_is_explained_with_its_content(storing: LandscapeRecorder, payloads: FilesystemPayloadStore) -> None:
    row = storing.create_row("run", "source", 5, {"id": 1})
    explained = storing.explain_row("run", row.row_id)
    assert explained is not None
    assert {name: getattr(explained, name) for name in ("row_id", "run_id", "source_node_id", "row_index")} == {
        "row_id": row.row_id,
        "run_id": "run",
        "source_node_id": "source",
        "row_index": 5,
    }
    assert (explained.source_data_hash, explained.created_at) == (row.source_data_hash, row.created_at)
    assert (explained.source_data, explained.payload_available) == ({"id": 1}, True)
    payloads.delete(row.source_data_hash)
    purged = storing.explain_row("run", row.row_id)
    assert purged is not None
    assert (purged.source_data, purged.payload_available) == (None, False)
    assert storing.explain_row("run", "nowhere") is None
    assert storing.explain_row("nowhere", row.row_id) is None


@pytest.mark.parametrize("state", RowDataState)
def test_a_result_has_content_exactly_when_it_is_available(state: RowDataState) -> None:
    available = state is RowDataState.AVAILABLE
    RowDataResult(state=state, data={} if available else None)
    with pytest.raises(ValueError, match="row data") as caught:
        RowDataResult(state=state, data=None if available else {})
    got = "NoneType" if available else "dict"
    assert str(caught.value) == f"row data: expected content exactly when available, got {state} and {got}"


@pytest.fixture
def parent(recorder: LandscapeRecorder) -> Token:
    record_graph(recorder)
    recorder.create_row("run", "source", 0, {}, row_id="row")
    return recorder.create_token("row")


def parents_of(recorder: LandscapeRecorder, token: Token) -> list[tuple[str, int]]:
    return [(each.parent_token_id, each.ordinal) for each in recorder.get_token_parents(token.token_id)]


# -- making tokens ---------------------------------------------------------------------------------------------------


def test_a_token_is_recorded_for_a_row(recorder: LandscapeRecorder, parent: Token) -> None:
    assert recorder.get_token(parent.token_id) == recorder.get_token(parent.token_id, run_id="run") == parent
    assert (parent.run_id, parent.row_id) == ("run", "row")
    groups = (parent.fork_group_id, parent.join_group_id, parent.expand_group_id)
    assert groups == (None, None, None)
    assert recorder.get_token_parents(parent.token_id) == []


def test_a_token_has_the_given_id_and_groups(recorder: LandscapeRecorder, parent: Token) -> None:
    mine = "mine"
    token = recorder.create_token(
        parent.row_id, run_id="run", token_id=mine, branch_name="b", fork_group_id="f", join_group_id="j"
    )
    assert recorder.get_token(mine) == token
    assert (token.branch_name, token.fork_group_id, token.join_group_id) == ("b", "f", "j")


@pytest.mark.parametrize("run_id", [None, "run"])
def test_a_fork_makes_one_child_per_branch(recorder: LandscapeRecorder, parent: Token, run_id: str | None) -> None:
    children = recorder.fork_token(parent.token_id, "row", ["left", "right"], run_id=run_id, step_in_pipeline=2)
    assert [recorder.get_token(child.token_id) for child in children] == children
    assert [(child.branch_name, child.step_in_pipeline) for child in children] == [("left", 2), ("right", 2)]
    (group,) = {child.fork_group_id for child in children}
    assert group is not None
    assert [parents_of(recorder, child) for child in children] == [[(parent.token_id, 0)], [(parent.token_id, 1)]]
    assert recorder.get_token_outcome(parent.token_id) is None


@pytest.mark.parametrize("run_id", [None, "run"])
def test_an_expansion_makes_children_of_one_group(
    recorder: LandscapeRecorder, parent: Token, run_id: str | None
) -> None:
    children = recorder.expand_token(parent.token_id, "row", 3, 1, run_id=run_id)
    assert [recorder.get_token(child.token_id) for child in children] == children
    assert [(child.branch_name, child.step_in_pipeline) for child in children] == [(None, 1)] * 3
    (group,) = {child.expand_group_id for child in children}
    assert group is not None
    assert [parents_of(recorder, child) for child in children] == [[(parent.token_id, place)] for place in range(3)]


def test_every_fork_has_its_own_group(recorder: LandscapeRecorder, parent: Token) -> None:
    (one,) = recorder.fork_token(parent.token_id, "row", ["a"])
    (two,) = recorder.fork_token(parent.token_id, "row", ["a"])
    assert one.fork_group_id != two.fork_group_id


def test_the_outcome_of_a_parent_names_its_expected_children(recorder: LandscapeRecorder, parent: Token) -> None:
    children = recorder.fork_token(parent.token_id, "row", ["left", "right"], record_parent_outcome=True)
    forked = recorder.get_token_outcome(parent.token_id)
    assert forked is not None
    assert (forked.outcome, forked.fork_group_id) == (RowOutcome.FORKED, children[0].fork_group_id)
    assert forked.expected_branches_json == '["left","right"]'
    grandchildren = recorder.expand_token(children[0].token_id, "row", 2, record_parent_outcome=True)
    expanded = recorder.get_token_outcome(children[0].token_id)
    assert expanded is not None
    assert (expanded.outcome, expanded.expand_group_id) == (RowOutcome.EXPANDED, grandchildren[0].expand_group_id)
    assert expanded.expected_branches_json == '{"count":2}'


@pytest.mark.parametrize("run_id", [None, "run"])
def test_merged_tokens_become_parents_in_order(recorder: LandscapeRecorder, parent: Token, run_id: str | None) -> None:
    left, right = (each.token_id for each in recorder.fork_token(parent.token_id, "row", ["left", "right"]))
    merged = recorder.coalesce_tokens([right, left], "row", run_id=run_id, step_in_pipeline=4)
    assert recorder.get_token(merged.token_id) == merged
    assert merged.join_group_id is not None
    assert merged.step_in_pipeline == 4
    assert recorder.get_token_parents(merged.token_id, run_id=run_id) == [
        TokenParent(run_id="run", token_id=merged.token_id, parent_token_id=right, ordinal=0),
        TokenParent(run_id="run", token_id=merged.token_id, parent_token_id=left, ordinal=1),
    ]


def test_the_tokens_of_a_row_are_listed_in_order_of_creation(recorder: LandscapeRecorder, parent: Token) -> None:
    children = recorder.fork_token(parent.token_id, "row", ["left", "right"])
    assert recorder.get_tokens("row") == recorder.get_tokens("row", run_id="run") == [parent, *children]
    assert recorder.get_tokens("nowhere") == []
    assert recorder.get_token("nowhere") is None
    assert recorder.get_token_parents("nowhere") == []


# -- how journeys end ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", RowOutcome)
def test_an_outcome_is_recorded(recorder: LandscapeRecorder, parent: Token, outcome: RowOutcome) -> None:
    outcome_id = recorder.record_token_outcome("run", parent.token_id, outcome)
    found = recorder.get_token_outcome(parent.token_id)
    assert found is not None
    assert (found.outcome_id, found.outcome, found.is_terminal) == (
        outcome_id,
        outcome,
        outcome is not RowOutcome.BUFFERED,
    )


def test_an_outcome_has_sink_error_and_context(recorder: LandscapeRecorder, parent: Token) -> None:
    recorder.create_batch("run", "aggregation", batch_id="batch")
    recorder.record_token_outcome(
        "run",
        parent.token_id,
        "failed",
        sink_name="errors",
        batch_id="batch",
        fork_group_id="f",
        join_group_id="j",
        expand_group_id="e",
        error_hash=HASH,
        context={"attempts": 3},
        expected_branches=["a"],
    )
    found = recorder.get_token_outcome(parent.token_id, run_id="run")
    assert found is not None
    assert (found.outcome, found.sink_name, found.batch_id) == (RowOutcome.FAILED, "errors", "batch")
    assert (found.fork_group_id, found.join_group_id, found.expand_group_id) == ("f", "j", "e")
    assert (found.error_hash, found.context_json, found.expected_branches_json) == (HASH, '{"attempts":3}', '["a"]')


def test_the_terminal_outcome_counts_whenever_it_was_recorded(recorder: LandscapeRecorder, parent: Token) -> None:
    for _ in range(2):
        latest = recorder.record_token_outcome("run", parent.token_id, RowOutcome.BUFFERED)
    found = recorder.get_token_outcome(parent.token_id)
    assert found is not None
    assert found.outcome_id == latest
    terminal = recorder.record_token_outcome("run", parent.token_id, RowOutcome.CONSUMED_IN_BATCH)
    recorder.record_token_outcome("run", parent.token_id, RowOutcome.BUFFERED)
    found = recorder.get_token_outcome(parent.token_id)
    assert found is not None
    assert found.outcome_id == terminal


def test_the_outcomes_of_a_row_are_those_of_all_its_tokens(recorder: LandscapeRecorder, parent: Token) -> None:
    recorder.create_row("run", "source", 1, {}, row_id="other")
    other = recorder.create_token("other")
    left, right = recorder.fork_token(parent.token_id, "row", ["left", "right"], record_parent_outcome=True)
    recorder.record_token_outcome("run", right.token_id, RowOutcome.COMPLETED)
    recorder.record_token_outcome("run", other.token_id, RowOutcome.COMPLETED)
    recorder.record_token_outcome("run", left.token_id, RowOutcome.FAILED)
    found = recorder.get_token_outcomes_for_row("run", "row")
    assert [(each.token_id, each.outcome) for each in found] == [
        (parent.token_id, RowOutcome.FORKED),
        (right.token_id, RowOutcome.COMPLETED),
        (left.token_id, RowOutcome.FAILED),
    ]
    assert recorder.get_token_outcomes_for_row("run", "nowhere") == []
    assert recorder.get_token_outcomes_for_row("nowhere", "row") == []
    record_graph(recorder, "copy")
    recorder.create_row("copy", "source", 0, {}, row_id="row")
    recorder.create_token("row", run_id="copy", token_id=left.token_id)
    recorder.record_token_outcome("copy", left.token_id, RowOutcome.COMPLETED)
    assert recorder.get_token_outcomes_for_row("run", "row") == found
    assert recorder.get_token_outcome("nowhere") is None

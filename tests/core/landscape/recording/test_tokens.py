from __future__ import annotations

import pytest

from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth_schema.contracts import RowOutcome, Token, TokenParent
from tests.fixtures.records import HASH, record_graph


@pytest.fixture
def parent(recorder: LandscapeRecorder) -> Token:
    record_graph(recorder)
    recorder.create_row("run", "source", 0, {}, row_id="row")
    return recorder.create_token("row")


def parents_of(recorder: LandscapeRecorder, token: Token) -> list[tuple[str, int]]:
    return [(each.parent_token_id, each.ordinal) for each in recorder.get_token_parents(token.token_id)]


# -- making tokens ---------------------------------------------------------------------------------------------------


def test_a_token_carries_a_row(recorder: LandscapeRecorder, parent: Token) -> None:
    assert recorder.get_token(parent.token_id) == recorder.get_token(parent.token_id, run_id="run") == parent
    assert (parent.run_id, parent.row_id) == ("run", "row")
    groups = (parent.fork_group_id, parent.join_group_id, parent.expand_group_id)
    assert groups == (None, None, None)
    assert recorder.get_token_parents(parent.token_id) == []


def test_a_token_is_made_as_the_caller_says(recorder: LandscapeRecorder, parent: Token) -> None:
    mine = "mine"
    token = recorder.create_token(
        parent.row_id, run_id="run", token_id=mine, branch_name="b", fork_group_id="f", join_group_id="j"
    )
    assert recorder.get_token(mine) == token
    assert (token.branch_name, token.fork_group_id, token.join_group_id) == ("b", "f", "j")


@pytest.mark.parametrize("run_id", [None, "run"])
def test_a_fork_makes_a_child_per_branch(recorder: LandscapeRecorder, parent: Token, run_id: str | None) -> None:
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


def test_the_end_of_a_parent_names_what_was_expected_of_it(recorder: LandscapeRecorder, parent: Token) -> None:
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
def test_tokens_that_merge_are_the_parents_in_order(
    recorder: LandscapeRecorder, parent: Token, run_id: str | None
) -> None:
    left, right = (each.token_id for each in recorder.fork_token(parent.token_id, "row", ["left", "right"]))
    merged = recorder.coalesce_tokens([right, left], "row", run_id=run_id, step_in_pipeline=4)
    assert recorder.get_token(merged.token_id) == merged
    assert merged.join_group_id is not None
    assert merged.step_in_pipeline == 4
    assert recorder.get_token_parents(merged.token_id, run_id=run_id) == [
        TokenParent(run_id="run", token_id=merged.token_id, parent_token_id=right, ordinal=0),
        TokenParent(run_id="run", token_id=merged.token_id, parent_token_id=left, ordinal=1),
    ]


def test_the_tokens_of_a_row_are_listed_as_they_were_made(recorder: LandscapeRecorder, parent: Token) -> None:
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


def test_an_outcome_says_where_why_and_with_what(recorder: LandscapeRecorder, parent: Token) -> None:
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
    assert recorder.get_token_outcome("nowhere") is None

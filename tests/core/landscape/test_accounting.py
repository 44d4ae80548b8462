"""How a run accounts for its rows: each law, and a record that breaks it."""

from collections.abc import Callable

import pytest

from elspeth.core.landscape.accounting import account_for
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.recorder import LandscapeRecorder
from tests.fixtures.records import record_graph

GROUP = "f" * 32


@pytest.fixture
def token_id(recorder: LandscapeRecorder) -> str:
    """A token of a run that has nothing else."""
    record_graph(recorder)
    recorder.create_row("run", "source", 0, {}, row_id="row")
    return recorder.create_token("row", run_id="run", token_id="token").token_id


def end(recorder: LandscapeRecorder, outcome: str = "completed", **more: str) -> None:
    sink = {"sink_name": "out"} if outcome == "completed" else {}
    recorder.record_token_outcome("run", "token", outcome, **sink, **more)  # type: ignore[arg-type]


def test_a_run_whose_tokens_all_ended_is_in_order(
    landscape: LandscapeDB, recorder: LandscapeRecorder, token_id: str
) -> None:
    end(recorder)
    account = account_for(landscape, "run")
    assert (account.rows, account.breaches) == (1, ())
    assert token_id == "token"


def visit(recorder: LandscapeRecorder, status: str) -> None:
    end(recorder)
    state = recorder.begin_node_state("token", "source", 0, {}, run_id="run", state_id="state")
    if status == "pending":
        recorder.complete_node_state(state.state_id, "pending", run_id="run")


def absorbed(recorder: LandscapeRecorder, status: str | None) -> None:
    recorder.create_batch("run", "aggregation", batch_id="batch-1")
    if status is not None:
        recorder.add_batch_member("batch-1", "token", 0, run_id="run")
        recorder.complete_batch("batch-1", status, run_id="run")
    end(recorder, "consumed_in_batch", batch_id="batch-1")


def buffered(recorder: LandscapeRecorder) -> None:
    """Leave the token in a batch that was completed without ending it: waiting is no end."""
    recorder.create_batch("run", "aggregation", batch_id="batch-1")
    recorder.add_batch_member("batch-1", "token", 0, run_id="run")
    end(recorder, "buffered", batch_id="batch-1")
    recorder.complete_batch("batch-1", "completed", run_id="run")


def second_row(recorder: LandscapeRecorder) -> None:
    end(recorder)
    recorder.create_row("run", "source", 1, {}, row_id="lonely")


CONSUMED = (
    "expected every token that was consumed in a batch to be a member of one that was completed, got no such batch"
)


@pytest.mark.parametrize(
    ("record", "breaches"),
    [
        (lambda _: None, ["expected a terminal outcome for every token, got none for token"]),
        (
            buffered,
            ["expected a terminal outcome for every token, got none for token"],
        ),
        (second_row, ["expected a token for every row, got none for row lonely"]),
        (
            lambda recorder: end(recorder, "forked", fork_group_id=GROUP),
            [f"expected a further token for every one that was forked, got none of group {GROUP}"],
        ),
        (
            lambda recorder: end(recorder, "expanded", expand_group_id=GROUP),
            [f"expected a further token for every one that was expanded, got none of group {GROUP}"],
        ),
        (
            lambda recorder: end(recorder, "coalesced"),
            ["expected a further token for every one that was coalesced, got none of group (none)"],
        ),
        (lambda recorder: absorbed(recorder, "completed"), []),
        (lambda recorder: absorbed(recorder, "failed"), [f"{CONSUMED} for token"]),
        (
            lambda recorder: absorbed(recorder, None),
            [f"{CONSUMED} for token", "expected every batch to be processed, got unfinished batch-1"],
        ),
        (
            lambda recorder: visit(recorder, "open"),
            ["expected every visit to a node to have ended, got unfinished state"],
        ),
        (
            lambda recorder: visit(recorder, "pending"),
            ["expected every visit to a node to have ended, got unfinished state"],
        ),
    ],
    ids=[
        *(
            "no outcome",
            "waiting in a batch",
            "no token",
            "no children of a fork",
            "no children of an expansion",
            "no merge",
        ),
        *("absorbed", "absorbed by a failed batch", "absorbed by no batch", "open", "pending"),
    ],
)
def test_a_law_that_is_broken_is_named(
    landscape: LandscapeDB,
    recorder: LandscapeRecorder,
    token_id: str,
    record: Callable[[LandscapeRecorder], None],
    breaches: list[str],
) -> None:
    assert token_id == "token"
    record(recorder)
    assert list(account_for(landscape, "run").breaches) == breaches

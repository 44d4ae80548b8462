"""The account of a run: counts, messages and progress.

Each law is tested in `test_accounting_laws`.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.queries.accounting import account_for
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.evidence.format.laws import Law
from tests.fixtures.records import record_graph


@pytest.fixture
def token_id(recorder: LandscapeRecorder) -> str:
    """Record a token that visited the source and failed there."""
    record_graph(recorder)
    recorder.create_row("run", "source", 0, {}, row_id="row")
    token = recorder.create_token("row", run_id="run", token_id="token").token_id
    state = recorder.begin_node_state(token, "source", 0, {}, run_id="run", state_id="state")
    recorder.complete_node_state(state.state_id, "failed", run_id="run", error={"exception": "no", "type": "Error"})
    recorder.record_token_outcome("run", "token", "failed", error_hash="0" * 64)
    return token


def test_a_run_whose_tokens_all_ended_breaks_no_law(landscape: LandscapeDB, token_id: str) -> None:
    account = account_for(landscape, "run")
    assert (token_id, account.rows, account.breaches) == ("token", 1, ())


def second_row(recorder: LandscapeRecorder) -> None:
    recorder.create_row("run", "source", 1, {}, row_id="lonely")


def open_visit(recorder: LandscapeRecorder) -> None:
    recorder.begin_node_state("token", "aggregation", 1, {}, run_id="run", state_id="open")


def open_batch(recorder: LandscapeRecorder) -> None:
    recorder.create_batch("run", "aggregation", batch_id="batch-1")


@pytest.mark.parametrize(
    ("record", "law", "problem"),
    [
        (second_row, Law.TOKENS, "expected a token for every row, got none for row lonely"),
        (second_row, Law.READINGS, "expected one visit to its source of every row, got none or more of lonely"),
        (open_visit, None, "expected every visit to a node to have ended, got unfinished open"),
        (open_batch, None, "expected every batch to be processed, got unfinished batch-1"),
    ],
)
def test_records_that_break_a_law_are_named(  # noqa: PLR0917  fixtures
    landscape: LandscapeDB,
    recorder: LandscapeRecorder,
    token_id: str,
    record: Callable[[LandscapeRecorder], None],
    law: Law | None,
    problem: str,
) -> None:
    assert token_id == "token"
    record(recorder)
    assert (law, problem) in [(breach.law, breach.problem) for breach in account_for(landscape, "run").breaches]


def test_progress_counts_queries(landscape: LandscapeDB, token_id: str) -> None:
    seen: list[tuple[int, int]] = []
    account_for(landscape, "run", progress=lambda done, total: seen.append((done, total)))
    assert (token_id, [done for done, _ in seen]) == ("token", list(range(1, seen[0][1] + 1)))

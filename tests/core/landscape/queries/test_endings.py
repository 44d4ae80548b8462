"""How tokens ended, read from either database."""

from __future__ import annotations

import pytest

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.queries.endings import EndedToken, _reason, ended_tokens, step_names
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth_schema.contracts import RowOutcome
from tests.fixtures.landscapes import NewLandscape
from tests.fixtures.records import record_graph
from tests.fixtures.told_run import record_told_run


def test_both_databases_list_the_same_endings(new_landscape: NewLandscape) -> None:
    with new_landscape() as db:
        told = record_told_run(db)
        with db.snapshot() as connection:
            found = list(ended_tokens(connection, told.run_id))
            bad = list(ended_tokens(connection, told.run_id, outcomes=[RowOutcome.FAILED, RowOutcome.QUARANTINED]))
            assert step_names(connection, told.run_id)["enrich"] == "enrich"
            assert list(ended_tokens(connection, told.run_id, reason="")) == []
            assert list(ended_tokens(connection, told.run_id, sink="")) == []
    assert [(each.row, each.outcome, each.sink) for each in found if each.row in {0, 2, 5}] == [
        (0, "routed", "high"),
        (2, "expanded", None),
        (2, "completed", "output"),
        (2, "completed", "output"),
        (2, "failed", None),
        (5, "quarantined", None),
    ]
    assert [(each.row, each.outcome, each.step) for each in bad] == [
        (2, "failed", None),
        (5, "quarantined", "source"),
        (6, "quarantined", "source"),
    ]


def test_the_last_visit_that_failed_says_why(landscape: LandscapeDB, recorder: LandscapeRecorder) -> None:
    record_graph(recorder)
    for row, visits in enumerate(([(2, 0), (1, 1), (1, 0)], [(1, 1), (1, 0)])):
        recorder.create_row("run", "source", row, {}, row_id=f"row-{row}")
        token_id = recorder.create_token(f"row-{row}").token_id
        for step, attempt in visits:
            state = recorder.begin_node_state(token_id, "gate" if step == 1 else "sink", step, {}, attempt=attempt)
            error = {"exception": f"{step}.{attempt}", "type": "Error"}
            recorder.complete_node_state(state.state_id, "failed", error=error)
        recorder.record_token_outcome("run", token_id, "failed", error_hash="0" * 64)
    with landscape.snapshot() as connection:
        found = [(each.step, each.reason) for each in ended_tokens(connection, "run")]
    assert found == [("sink", "2.0"), ("gate", "1.1")]


@pytest.mark.parametrize(
    ("error", "success", "found"),
    [
        ('{"exception":"no","type":"E"}', '{"dropped":"late"}', ("E", "no")),
        (None, '{"dropped":""}', ("RowDrop", "")),
        (None, '{"action":"x"}', (None, None)),
        (None, '["dropped"]', (None, None)),
        (None, "", (None, None)),
        (None, None, (None, None)),
    ],
)
def test_a_drop_has_a_reason_too(error: str | None, success: str | None, found: tuple[str | None, str | None]) -> None:
    assert _reason(error, success) == found


@pytest.mark.parametrize(
    ("text", "is_found"),
    [("TooLong: text of 11", True), ("of 11 char", True), ("TooLong: text of N characters", True), ("of 12", False)],
)
def test_a_reason_is_found_by_its_words_or_as_a_summary_has_it(text: str, is_found: bool) -> None:
    token = EndedToken(
        row=0, token_id="t", outcome="failed", sink=None, step="s", kind="TooLong", reason="text of 11 characters"
    )
    assert token.has_reason(text) is is_found

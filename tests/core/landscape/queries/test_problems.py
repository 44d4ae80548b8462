"""Why rows failed, counted by reason."""

from __future__ import annotations

import pytest

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.queries import problems
from elspeth.core.landscape.queries.problems import (
    FailedRows,
    FailureReason,
    failed_rows,
    read_error,
    read_failed_rows,
)
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from tests.fixtures.records import record_graph


def fail(recorder: LandscapeRecorder, index: int, *messages: str, node: str = "transform", kind: str = "E") -> None:
    """Record a row and a failed token for each message."""
    row = recorder.create_row("run", "source", index, {}, row_id=f"row-{index}")
    for message in messages:
        token_id = recorder.create_token(row.row_id, run_id="run").token_id
        state = recorder.begin_node_state(token_id, node, 1, {}, run_id="run")
        error = {"exception": message, "type": kind}
        recorder.complete_node_state(state.state_id, "failed", error=error, duration_ms=0.0, run_id="run")
        recorder.record_token_outcome("run", token_id, "failed", error_hash="0" * 64)


@pytest.fixture
def graph(recorder: LandscapeRecorder) -> LandscapeRecorder:
    """Return a recorder with a run and its nodes."""
    record_graph(recorder)
    return recorder


def reasons(found: FailedRows) -> list[tuple[str, str, str, int, int]]:
    return [(each.node_id, each.kind, each.message, each.count, each.row_index) for each in found.reasons]


def test_a_run_without_failures_has_no_reasons(landscape: LandscapeDB, graph: LandscapeRecorder) -> None:
    graph.create_row("run", "source", 0, {})
    assert failed_rows(landscape, "run") == FailedRows()


def test_reasons_are_counted_and_the_connection_is_restored(landscape: LandscapeDB, graph: LandscapeRecorder) -> None:
    for index in range(3):
        fail(graph, index, f"reason {index}")
    with landscape.snapshot() as connection:
        before = connection.get_execution_options()
        found = read_failed_rows(connection, "run", most=2)
        assert connection.get_execution_options() == before
    assert (len(found.reasons), found.all_reasons, found.count) == (2, 3, 3)


def test_reasons_are_sorted_by_frequency_then_by_first_row(landscape: LandscapeDB, graph: LandscapeRecorder) -> None:
    for index, (message, kind) in enumerate([("b", "E"), ("a", "E"), ("a", "F"), ("c", "E"), ("c", "E")]):
        fail(graph, index, message, kind=kind)
    fail(graph, 5, "c", node="source")
    found = failed_rows(landscape, "run")
    assert (found.count, found.visits_by_node) == (6, {"source": 1, "transform": 5})
    assert reasons(found) == [
        ("transform", "E", "c", 2, 3),
        ("transform", "E", "b", 1, 0),
        ("transform", "E", "a", 1, 1),
        ("transform", "F", "a", 1, 2),
        ("source", "E", "c", 1, 5),
    ]


def test_a_row_that_fails_on_several_branches_counts_once(landscape: LandscapeDB, graph: LandscapeRecorder) -> None:
    fail(graph, 0, "left", "right")
    fail(graph, 1, "left")
    found = failed_rows(landscape, "run")
    assert (found.count, [each.count for each in found.reasons]) == (2, [2, 1])


@pytest.mark.parametrize(
    ("messages", "shown"),
    [
        (("line 2: expected 3 fields, got 1", "line 1,007: expected 3 fields, got 1"), "expected N fields, got 1"),
        (("element 4, line 9: no object", "element 5, line 10: no object"), "no object"),
        (("row 7 of the batch: null", "row 8 of the batch: null"), "null"),
        (("line 7 of in/a.csv: null", "element 2, line 8 of in/b.json: null"), "null"),
        (("text of 11 characters", "text of 1 character"), "text of N characters"),
        (("comma: at line 1, column 7", "comma: at line 2, column 4"), "comma: at line N, column N"),
        (("raised at mine line 7", "raised at mine line 7"), "raised at mine line 7"),
        (("field 'q1': null", "field 'q1': null"), "field 'q1': null"),
    ],
)
def test_reasons_ignore_positions_and_lengths(
    landscape: LandscapeDB, graph: LandscapeRecorder, messages: tuple[str, str], shown: str
) -> None:
    for index, message in enumerate(messages):
        fail(graph, index, message)
    (reason,) = failed_rows(landscape, "run").reasons
    assert reason == FailureReason(node_id="transform", kind="E", message=shown, count=2, row_index=0)


def test_at_most_five_reasons_are_shown(landscape: LandscapeDB, graph: LandscapeRecorder) -> None:
    for index in range(7):
        fail(graph, index, f"reason {'x' * index}")
    assert [each.row_index for each in failed_rows(landscape, "run").reasons] == [0, 1, 2, 3, 4]


def test_reasons_beyond_the_limit_count_as_one(
    landscape: LandscapeDB, graph: LandscapeRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(problems, "_MAX_REASONS", 2)
    for index, message in enumerate("abcd"):
        fail(graph, index, message)
    found = failed_rows(landscape, "run")
    assert reasons(found) == [
        ("transform", "E", "other reasons", 2, 2),
        ("transform", "E", "a", 1, 0),
        ("transform", "E", "b", 1, 1),
    ]


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (None, (None, None)),
        ('{"exception":"no","reason":"other","type":"E"}', ("E", "no")),
        ('{"reason":""}', (None, "")),
        ('{"type":0,"exception":0}', ("0", "0")),
        ('{"exception":null}', (None, None)),
        ('["no"]', (None, '["no"]')),
    ],
)
def test_the_errors_of_other_programs_are_shown(error: str | None, found: tuple[str | None, str | None]) -> None:
    assert read_error(error) == found

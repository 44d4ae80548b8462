"""Aggregations: their triggers, their outputs, and their trail."""

import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest

from elspeth.contracts.plugins import Aggregation, RowError
from elspeth.contracts.rows import RowData
from elspeth.core.canonical import stable_hash
from tests.engine.pipelines import Records, graph_settings, run_graph, written

ROWS: list[RowData] = [{"id": number, "v": number, "kind": "flush" if number == 2 else "x"} for number in range(1, 6)]


def stats(**settings: object) -> dict[str, Any]:
    return {"name": "sum", "plugin": "batch_stats", "options": {"value_field": "v", "compute_mean": False}, **settings}


def batches(records: Records) -> list[tuple[str, str, str, int]]:
    members = [member["batch_id"] for member in records["batch_member"]]
    return [
        (batch["status"], batch["trigger_type"], batch["trigger_reason"], members.count(batch["batch_id"]))
        for batch in sorted(records["batch"], key=lambda batch: batch["created_at"])
    ]


END = ("completed", "end_of_source", "the source has no more rows")


@pytest.mark.parametrize(
    ("trigger", "sums", "expected"),
    [
        ({}, [15], [(*END, 5)]),
        ({"count": 2}, [3, 7, 5], [*[("completed", "count", "count=2", 2)] * 2, (*END, 1)]),
        ({"count": 5}, [15], [("completed", "count", "count=5", 5)]),
        ({"count": 5, "condition": "row['batch_count'] >= 5"}, [15], [("completed", "count", "count=5", 5)]),
        (
            {"condition": "row['kind'] == 'flush'"},
            [3, 12],
            [("completed", "condition", "row['kind'] == 'flush'", 2), (*END, 3)],
        ),
        (
            {"count": 4, "condition": "row['kind'] == 'flush'"},
            [3, 12],
            [("completed", "condition", "row['kind'] == 'flush'", 2), (*END, 3)],
        ),
        (
            {"condition": "row['batch_count'] >= 4"},
            [10, 5],
            [("completed", "condition", "row['batch_count'] >= 4", 4), (*END, 1)],
        ),
        (
            {"condition": "row['batch_age_seconds'] >= 3"},
            [6, 9],
            [("completed", "condition", "row['batch_age_seconds'] >= 3", 3), (*END, 2)],
        ),
        ({"timeout_seconds": 1.5}, [3, 7, 5], [*[("completed", "timeout", "timeout_seconds=1.5", 2)] * 2, (*END, 1)]),
        ({"timeout_seconds": 2}, [3, 7, 5], [*[("completed", "timeout", "timeout_seconds=2", 2)] * 2, (*END, 1)]),
    ],
)
def test_a_batch_is_processed_when_its_trigger_fires(
    tmp_path: Path, trigger: dict[str, object], sums: list[int], expected: list[object]
) -> None:
    result, records = run_graph(tmp_path, graph_settings(tmp_path, ROWS, aggregations=[stats(trigger=trigger)]))
    assert [row["sum"] for row in written(tmp_path, "out")] == sums
    assert batches(records) == expected
    assert result.rows_by_sink == {"out": len(sums)}


def test_members_end_in_the_batch_and_its_output_is_a_new_token(tmp_path: Path) -> None:
    _, records = run_graph(tmp_path, graph_settings(tmp_path, ROWS[:2], aggregations=[stats()]))
    (batch,) = records["batch"]
    (output,) = records["batch_output"]
    members = {member["token_id"]: member["ordinal"] for member in records["batch_member"]}
    kinds = [(each["outcome"], each["token_id"] in members, each["batch_id"]) for each in records["token_outcome"]]
    assert sorted(kinds, key=str) == sorted(
        [
            *[("buffered", True, batch["batch_id"])] * 2,
            *[("consumed_in_batch", True, batch["batch_id"])] * 2,
            ("completed", False, None),
        ],
        key=str,
    )
    (made,) = [token for token in records["token"] if token["token_id"] not in members]
    assert (output["output_type"], output["output_id"]) == ("token", made["token_id"])
    rows = {row["row_id"]: row["row_index"] for row in records["row"]}
    assert rows[made["row_id"]] == 1
    (node,) = [node["node_id"] for node in records["node"] if node["node_type"] == "aggregation"]
    visits = [state for state in records["node_state"] if state["node_id"] == node]
    assert {state["status"] for state in visits} == {"completed"}
    assert sorted(members.values()) == [0, 1]
    (last,) = [state["state_id"] for state in visits if members[state["token_id"]] == 1]
    assert batch["aggregation_state_id"] == last
    assert [json.loads(state["success_reason_json"])["batch_id"] for state in visits] == [batch["batch_id"]] * 2


def test_members_that_pass_through_keep_their_tokens(tmp_path: Path) -> None:
    part = {"name": "number", "plugin": "numbering", "output_mode": "passthrough", "trigger": {"count": 3}}
    _, records = run_graph(tmp_path, graph_settings(tmp_path, ROWS, aggregations=[part]), Numbering)
    assert [(row["id"], row["n"]) for row in written(tmp_path, "out")] == [(1, 0), (2, 1), (3, 2), (4, 0), (5, 1)]
    assert len(records["token"]) == 5
    ended = sorted(each["outcome"] for each in records["token_outcome"])
    assert ended == ["buffered"] * 5 + ["completed"] * 5
    assert {output["output_id"] for output in records["batch_output"]} == {t["token_id"] for t in records["token"]}


def test_a_member_that_passes_through_goes_on_with_its_new_row(tmp_path: Path) -> None:
    part = {"name": "number", "plugin": "numbering", "output_mode": "passthrough"}
    _, records = run_graph(tmp_path, graph_settings(tmp_path, ROWS[:1], aggregations=[part]), Numbering)
    before, after = sorted(records["node_state"], key=lambda state: state["step_index"])[-2:]
    assert before["input_hash"] == stable_hash(ROWS[0])
    assert after["input_hash"] == stable_hash(written(tmp_path, "out")[0])


def test_a_batch_can_become_any_number_of_rows(tmp_path: Path) -> None:
    rows: list[RowData] = [{"id": 1, "copies": 2}, {"id": 2, "copies": 0}]
    part = {"name": "copy", "plugin": "batch_replicate", "output_mode": "transform"}
    _, records = run_graph(tmp_path, graph_settings(tmp_path, rows, aggregations=[part]))
    assert [(row["id"], row["copy_index"]) for row in written(tmp_path, "out")] == [(1, 0), (1, 1)]
    assert len(records["batch_output"]) == 2
    members = {member["token_id"] for member in records["batch_member"]}
    (node,) = [node["node_id"] for node in records["node"] if node["node_type"] == "aggregation"]
    outputs = {state["output_hash"] for state in records["node_state"] if state["node_id"] == node}
    assert (len(members), outputs) == (2, {stable_hash(written(tmp_path, "out"))})


class Numbering(Aggregation):
    """An aggregation that numbers the rows of a batch."""

    name = "numbering"
    plugin_version = "1"

    def process(self, rows: list[RowData]) -> list[RowData]:
        """Add its number to each row."""
        return [row | {"n": number} for number, row in enumerate(rows)]


class Faulty(Aggregation):
    """An aggregation that fails as the first row asks for."""

    name = "faulty"
    plugin_version = "1"

    def process(self, rows: list[RowData]) -> list[RowData] | RowError:
        """Return an error, raise one, or return a wrong answer."""
        fault = rows[0]["fault"]
        for row in rows:
            row["fault"] = "spoilt"  # of its copy, which nobody sees
        match fault:
            case "refuse":
                return RowError(message="refused")
            case "raise":
                raise ZeroDivisionError("division by zero")
            case "none":
                return None  # type: ignore[return-value]
            case _:
                return [{"x": 1}] * 3


@pytest.mark.parametrize("destination", ["discard", "bad"])
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("refuse", "refused"),
        ("raise", r"raised at tests\.engine\.test_aggregations line \d+"),
        ("none", "aggregation 'faulty' must return a list of rows or a RowError, got NoneType"),
        ("many", "aggregation 'faulty' made 3 rows of 2: output_mode 'single' expects 1"),
    ],
)
def test_a_batch_that_cannot_be_processed_is_an_error_of_its_rows(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, fault: str, message: str, destination: str
) -> None:
    caplog.set_level(logging.DEBUG, "elspeth.events")
    rows: list[RowData] = [{"id": number, "fault": fault} for number in (1, 2)]
    part = {"name": "f", "plugin": "faulty", "options": {"on_error": destination}}
    sinks = ["bad"] if destination == "bad" else []
    settings = graph_settings(tmp_path, rows, *sinks, aggregations=[part])
    for name in sinks:
        settings["sinks"][name]["error_fields"] = False
    result, records = run_graph(tmp_path, settings, Faulty)
    assert (result.failed, written(tmp_path, "out")) == (2, [])
    if destination == "bad":
        assert written(tmp_path, "bad") == rows
    assert [batch["status"] for batch in records["batch"]] == ["failed"]
    (error,) = {json.loads(error["error_details_json"])["exception"] for error in records["transform_error"]}
    assert re.fullmatch(message, error)
    told = [text.partition(":")[0] for text in caplog.messages if " failed at " in text]
    assert told == ["row 0 failed at f", "row 1 failed at f"]


class SpoilingAggregation(Aggregation):
    """An aggregation that changes its rows before it fails."""

    name = "spoiling"
    plugin_version = "1"

    def process(self, rows: list[RowData]) -> list[RowData]:
        """Spoil the rows."""
        for row in rows:
            row["items"].append("spoilt")  # type: ignore[attr-defined]
            row["items"][0]["n"] = "spoilt"  # type: ignore[index]
        raise ValueError


def test_changes_that_a_plugin_makes_to_the_rows_of_a_batch_have_no_effect(tmp_path: Path) -> None:
    rows: list[RowData] = [{"id": number, "items": [{"n": 1}]} for number in (1, 2)]
    part = {"name": "spoil", "plugin": "spoiling", "options": {"on_error": "bad"}}
    settings = graph_settings(tmp_path, rows, "bad", aggregations=[part])
    settings["sinks"]["bad"]["error_fields"] = False
    run_graph(tmp_path, settings, SpoilingAggregation)
    assert written(tmp_path, "bad") == rows


def test_every_aggregation_has_a_timeout_of_its_own(tmp_path: Path) -> None:
    slow, fast = stats(name="slow", trigger={"timeout_seconds": 1000}), stats(name="fast")
    fast |= {"trigger": {"timeout_seconds": 1.5}, "options": {"value_field": "sum", "compute_mean": False}}
    slow["trigger"] = {"count": 1, "timeout_seconds": 1000}
    _, records = run_graph(tmp_path, graph_settings(tmp_path, ROWS, aggregations=[slow, fast]))
    assert "timeout" in [trigger for _, trigger, _, _ in batches(records)]


def test_a_row_that_does_not_fit_the_batch_fails_alone(tmp_path: Path) -> None:
    rows: list[RowData] = [{"id": 1, "v": "1"}, {"id": 2, "v": "x"}, {"id": 3, "v": "4"}, {"id": 4}]
    part = stats(trigger={"condition": "row['id'] > 9"})
    part["options"] |= {"schema": {"mode": "free", "fields": ["v: int"]}}
    result, records = run_graph(tmp_path, graph_settings(tmp_path, rows, aggregations=[part]))
    assert (result.failed, written(tmp_path, "out")) == (2, [{"count": 2, "sum": 5}])
    assert len(records["batch_member"]) == 2


def test_a_condition_without_a_value_is_an_error_of_the_row(tmp_path: Path) -> None:
    part = stats(trigger={"condition": "row['missing'] > 9"})
    result, records = run_graph(tmp_path, graph_settings(tmp_path, ROWS[:1], aggregations=[part]))
    assert (result.failed, records.get("batch", [])) == (1, [])


def test_batches_of_consecutive_aggregations_flow_on_at_the_end_of_the_source(tmp_path: Path) -> None:
    second = stats(name="all", options={"value_field": "sum", "compute_mean": False})
    settings = graph_settings(tmp_path, ROWS, "big", aggregations=[stats(trigger={"count": 2}), second])
    settings["gates"] = [
        {"name": "size", "condition": "row['sum'] > 10", "routes": {"true": "big", "false": "continue"}}
    ]
    _, records = run_graph(tmp_path, settings)
    assert (written(tmp_path, "big"), written(tmp_path, "out")) == ([{"count": 3, "sum": 15}], [])
    assert len(records["batch"]) == 4

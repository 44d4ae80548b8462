"""Transforms in a run: rows changed, expanded and refused."""

import copy
import json
import re
import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest

from elspeth.contracts.plugins import CallError, JsonObject, Plugin, RowError, Transform
from elspeth.contracts.rows import RowData
from elspeth.core.canonical import stable_hash
from elspeth.core.landscape.queries.problems import DIFFERS_FROM
from elspeth.core.payload_store import PayloadStore
from elspeth.engine.calls.exchange import Attempt, Caller, Difference, Exchange
from elspeth.engine.calls.external import ExternalCalls
from elspeth.engine.errors import Failure
from elspeth.engine.steps.transform import CallStep
from elspeth.engine.trail import TrailWriter
from tests.engine.calls.oracle import Oracle
from tests.engine.drawn import AskTransform
from tests.engine.pipelines import Records, graph_settings, run_graph, written

ROWS: list[RowData] = [{"id": 1, "items": ["a", "b"]}, {"id": 2, "items": ["c"]}, {"id": 3, "items": []}]


def outcomes_of(records: Records) -> list[tuple[str, str | None]]:
    return [(each["outcome"], each["sink_name"]) for each in records["token_outcome"]]


def test_transforms_change_rows_in_the_order_of_the_file(tmp_path: Path) -> None:
    plugins = [
        {"plugin": "field_mapper", "options": {"mappings": {"id": "key"}}},
        {"plugin": "field_mapper", "options": {"computed": {"double": "row['key'] * 2"}}},
    ]
    _, records = run_graph(tmp_path, graph_settings(tmp_path, [{"id": 4}], row_plugins=plugins))
    assert written(tmp_path, "out") == [{"key": 4, "double": 8}]
    states = sorted(records["node_state"], key=lambda state: state["step_index"])
    hashes = [stable_hash(row) for row in ({"id": 4}, {"id": 4}, {"key": 4}, {"key": 4, "double": 8})]
    assert [(state["input_hash"], state["output_hash"]) for state in states] == [
        *pairwise(hashes),
        (hashes[-1], hashes[-1]),
    ]
    assert [json.loads(state["success_reason_json"] or "null") for state in states] == [
        None,
        {"action": "field_mapper", "fields_modified": ["id", "key"]},
        {"action": "field_mapper", "fields_modified": ["double"]},
        None,
    ]


def test_one_row_becomes_several_rows_in_order(tmp_path: Path) -> None:
    plugins = [
        {"plugin": "json_explode", "options": {"array_field": "items"}},
        {"plugin": "mark", "options": {"field": "m"}},
    ]
    result, records = run_graph(tmp_path, graph_settings(tmp_path, ROWS, row_plugins=plugins))
    assert [(row["id"], row["item"], row["m"]) for row in written(tmp_path, "out")] == [
        (1, "a", True),
        (1, "b", True),
        (2, "c", True),
    ]
    assert (result.rows, result.rows_by_sink, result.failed) == (3, {"out": 3}, 1)
    expanded = [each for each in records["token_outcome"] if each["outcome"] == "expanded"]
    groups = {each["expand_group_id"]: json.loads(each["expected_branches_json"])["count"] for each in expanded}
    children = [token for token in records["token"] if token["expand_group_id"]]
    assert sorted(groups.values()) == [1, 2]
    assert {group: sum(child["expand_group_id"] == group for child in children) for group in groups} == groups
    parents = {parent["token_id"]: parent["parent_token_id"] for parent in records["token_parent"]}
    assert {parents[child["token_id"]] for child in children} == {each["token_id"] for each in expanded}
    assert {child["step_in_pipeline"] for child in children} == {1}


def test_the_visit_of_a_call_begins_before_the_call(tmp_path: Path) -> None:
    begun, closed = list[datetime](), list[str]()

    class Noting(AskTransform):
        def request(self, row: RowData) -> JsonObject | RowError:
            begun.append(datetime.now(UTC))
            return super().request(row)

        def close(self) -> None:
            closed.append(self.name)

    settings = graph_settings(tmp_path, ROWS[:1], row_plugins=[{"plugin": "ask", "options": {"field": "x"}}])
    _, records = run_graph(tmp_path, settings, Noting)
    assert closed == ["ask"]
    (call,) = records["call"]
    (visit,) = [state for state in records["node_state"] if state["state_id"] == call["state_id"]]
    assert datetime.fromisoformat(visit["started_at"]) <= begun[0]


@pytest.mark.parametrize("destination", ["discard", "bad"])
def test_a_row_that_a_transform_refuses_goes_where_the_settings_say(tmp_path: Path, destination: str) -> None:
    options = {"field": "m", "fail": [1], "crash": [3], "on_error": destination}
    plugins = [{"plugin": "mark", "options": options}]
    sinks = ["bad"] if destination == "bad" else []
    settings = graph_settings(tmp_path, ROWS, *sinks, row_plugins=plugins)
    for name in sinks:
        settings["sinks"][name]["error_fields"] = False
    result, records = run_graph(tmp_path, settings)
    assert [row["id"] for row in written(tmp_path, "out")] == [2]
    if destination == "bad":
        assert written(tmp_path, "bad") == [ROWS[0], ROWS[2]]
    assert result.failed == 2
    where = "bad" if destination == "bad" else None
    assert outcomes_of(records) == [("failed", where), ("completed", "out"), ("failed", where)]
    errors = sorted(records["transform_error"], key=lambda error: error["created_at"])
    refused, raised = (json.loads(error["error_details_json"]) for error in errors)
    assert refused == {"exception": "refused", "type": "RowError", "id": 1}
    assert raised["type"] == "ZeroDivisionError"
    assert re.fullmatch(r"raised at tests\.engine\.pipelines line \d+", raised["exception"])
    assert [error["destination"] for error in errors] == [destination] * 2
    failed = [state for state in records["node_state"] if state["status"] == "failed"]
    hashes = {each["error_hash"] for each in records["token_outcome"] if each["outcome"] == "failed"}
    assert hashes == {stable_hash(json.loads(state["error_json"])) for state in failed}
    assert {error["row_hash"] for error in errors} == {state["input_hash"] for state in failed}
    diverted = [event["mode"] for event in records.get("routing_event", [])]
    assert diverted == (["divert", "divert"] if destination == "bad" else [])


def test_a_schema_coerces_what_a_transform_gets_and_refuses_what_does_not_fit(tmp_path: Path) -> None:
    schema = {"mode": "free", "fields": ["id: int"]}
    plugins = [{"plugin": "passthrough", "options": {"schema": schema}}]
    rows: list[RowData] = [{"id": "7"}, {"id": "x"}, {}]
    _, records = run_graph(tmp_path, graph_settings(tmp_path, rows, row_plugins=plugins))
    assert written(tmp_path, "out") == [{"id": 7}]
    assert [json.loads(error["error_details_json"])["exception"] for error in records["transform_error"]] == [
        "field 'id': expected an integer, got text of 1 character",
        "field 'id' is missing",
    ]


def test_changes_to_the_row_by_a_calling_plugin_have_no_effect(tmp_path: Path) -> None:
    class Spoiling(AskTransform):
        def request(self, row: RowData) -> JsonObject | RowError:
            asked = super().request(row)
            row["items"].append("spoilt")  # type: ignore[attr-defined]
            return asked

        def result(self, row: RowData, response: JsonObject) -> RowData | RowError:
            found = super().result(copy.deepcopy(row), response)
            row["items"].append("spoilt")  # type: ignore[attr-defined]
            return RowError(message="no") if row["id"] == 2 else found

    rows: list[RowData] = [{"id": 1, "x": 1, "items": [1]}, {"id": 2, "x": 1, "items": [1]}]
    options = {"field": "x", "on_error": "bad"}
    settings = graph_settings(tmp_path, rows, "bad", row_plugins=[{"plugin": "ask", "options": options}])
    settings["sinks"]["bad"]["error_fields"] = False
    run_graph(tmp_path, settings, Spoiling)
    assert [row["items"] for row in written(tmp_path, "out")] == [[1]]
    assert written(tmp_path, "bad") == rows[1:]


class Refused(AskTransform):
    """A transform whose calls are answered by a refusal."""

    def send(self, request: JsonObject) -> JsonObject:  # noqa: ARG002  whatever is asked
        """Refuse the request."""
        raise CallError("answered 400", is_retryable=False, answer={"body": "no"})


def test_a_call_that_is_refused_has_failed_though_there_is_an_answer(tmp_path: Path) -> None:
    settings = graph_settings(tmp_path, ROWS[:1], row_plugins=[{"plugin": "ask", "options": {"field": "x"}}])
    _, records = run_graph(tmp_path, settings, Refused)
    found = [(each["status"], each["response_hash"]) for each in records["call"]]
    assert found == [("error", stable_hash({"body": "no"}))]


@pytest.mark.parametrize("result", [RowError(message="no"), None, {"x": float("nan")}], ids=["error", "none", "nan"])
def test_a_row_that_fails_with_another_answer_names_the_recorded_one(result: object) -> None:
    class Useless(Oracle):
        def result(self, *_: object) -> Any:  # noqa: ANN401  what no plugin may return, too
            return result

    attempt = Attempt(request={}, response={"said": "x"}, error=None, latency_ms=1.0)
    difference = Difference(row_index=0, request_hash="q", recorded_hash="r", received_hash="s")
    step = CallStep(cast(TrailWriter, None), ("row_plugins", 0), Useless.of([]), cast(ExternalCalls, None))
    outcome = step._outcome({}, Exchange(attempts=(attempt,), difference=difference))
    assert isinstance(outcome, Failure)
    assert outcome.details == {DIFFERS_FROM: "r"}


def test_every_answer_has_its_cost_also_that_of_an_attempt_that_failed() -> None:
    class Costly(Oracle):
        def usage(self, response: JsonObject) -> Mapping[str, int]:
            return {"tokens": len(response)}

    refused = Attempt(request={}, response={"body": "no"}, error={"exception": "busy"}, latency_ms=1.0)
    answered = Attempt(request={}, response={"said": "x"}, error=None, latency_ms=1.0)
    external = ExternalCalls(caller=cast(Caller, None), payloads=cast(PayloadStore, None))
    external.note_usage(Costly.of([]), Exchange(attempts=(refused, replace(refused, response=None), answered)))
    assert external.usage == {"tokens": 2}


@pytest.mark.parametrize("fails", [False, True])
def test_every_plugin_that_makes_calls_is_closed_when_the_run_ends(tmp_path: Path, *, fails: bool) -> None:
    closed: list[object] = []
    asked: list[object] = []

    class Closing(AskTransform):
        def send(self, request: JsonObject) -> JsonObject:
            asked.append(self)
            if fails:
                raise KeyboardInterrupt
            return super().send(request)

        def close(self) -> None:
            closed.append(self)

    asks = [{"plugin": "ask", "options": {"field": field}} for field in ("x", "y")]
    settings = graph_settings(tmp_path, ROWS[:1], row_plugins=asks)
    threads = set(threading.enumerate())
    if fails:
        with pytest.raises(KeyboardInterrupt):
            run_graph(tmp_path, settings, Closing)
    else:
        run_graph(tmp_path, settings, Closing)
        assert set(asked) == set(closed)
    assert len(set(closed)) == len(closed) == 2
    for thread in set(threading.enumerate()) - threads:
        thread.join(30)
        assert not thread.is_alive()


class Misbehaving(Transform):
    """A transform with wrong answers."""

    name = "misbehaving"
    plugin_version = "1"
    expands = True

    def process(self, row: RowData) -> RowData | list[RowData]:
        """Return another wrong answer for each id."""
        answers: dict[object, object] = {1: None, 2: [], 3: [1], 4: {"x": float("nan")}, 5: {"x": {1, 2}}}
        row["items"].append("spoilt")  # type: ignore[attr-defined]
        return answers[row["id"]]  # type: ignore[return-value]


class OneOnly(Misbehaving):
    """A transform that expands rows without declaring it."""

    name = "one_only"
    expands = False

    def process(self, row: RowData) -> list[RowData]:
        """Return the row in a list."""
        return [row]


@pytest.mark.parametrize(
    ("plugin", "number", "message"),
    [
        (Misbehaving, 1, "transform 'misbehaving' must return a row, a list of rows or a RowError, got NoneType"),
        (
            Misbehaving,
            2,
            "transform 'misbehaving' returned no rows: a row that ends here needs a RowDrop or RowError saying why",
        ),
        (
            Misbehaving,
            3,
            (
                "transform 'misbehaving' must return a row, a list of rows or a RowError, "
                "got a list that holds something else"
            ),
        ),
        (Misbehaving, 4, "a number is not finite, which JSON does not have"),
        (Misbehaving, 5, "value of type set has no canonical JSON"),
        (OneOnly, 6, "transform 'one_only' must return one row: it does not declare that it expands rows"),
    ],
)
def test_a_result_of_the_wrong_type_is_an_error_of_the_row(
    tmp_path: Path, plugin: type[Plugin], number: int, message: str
) -> None:
    row: RowData = {"id": number, "items": [1]}
    settings = graph_settings(
        tmp_path, [row], "bad", row_plugins=[{"plugin": plugin.name, "options": {"on_error": "bad"}}]
    )
    settings["sinks"]["bad"]["error_fields"] = False
    _, records = run_graph(tmp_path, settings, plugin)
    (error,) = records["transform_error"]
    assert json.loads(error["error_details_json"])["exception"] == message
    assert written(tmp_path, "bad") == [row]  # changes that the plugin made to its copy have no effect

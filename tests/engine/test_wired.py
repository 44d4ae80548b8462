"""Runs of pipelines whose steps are wired by names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from elspeth.contracts.enums import NodeType
from elspeth.contracts.rows import RowData
from elspeth.core.canonical import stable_hash
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.settings import Settings as LoadedSettings
from elspeth.engine.errors import ResumeError, RunInterruptedError
from elspeth.engine.keys import load_run_keys
from elspeth.engine.orchestrator import Orchestrator
from elspeth.engine.reporting import Observer, Progress
from tests.engine.pipelines import (
    PLUGINS,
    Records,
    Settings,
    Ticks,
    assert_sound,
    build,
    groups_of,
    outcomes,
    run_graph,
    trail,
    wired_settings,
    written,
)

ORDERS: list[RowData] = [{"id": 1, "v": 5}, {"id": 2, "v": 1}]
REFUNDS: list[RowData] = [{"id": 3, "v": 7}]


def passing(name: str, before: str, after: str, **options: object) -> dict[str, Any]:
    """Return a transform that marks rows with its name."""
    return {
        "name": name,
        "plugin": "mark",
        "input": before,
        "on_success": after,
        "options": {"field": name, **options},
    }


def two_sources(directory: Path, **sections: object) -> Settings:
    sources = {"orders": ORDERS, "refunds": REFUNDS}
    defaults: dict[str, object] = {"queues": {"rows": {}}, "transforms": [passing("seen", "rows", "out")]}
    return wired_settings(directory, sources, "out", **(defaults | sections))


def sources_of(records: Records) -> list[tuple[int, str]]:
    """Return each row's index and source."""
    found = [(row["row_index"], row["source_node_id"].rpartition("_")[0]) for row in records["row"]]
    return sorted(found)


def test_sources_are_read_in_the_order_of_their_declaration(tmp_path: Path) -> None:
    result, records = run_graph(tmp_path, two_sources(tmp_path))
    assert result.rows == 3
    assert [row["id"] for row in written(tmp_path, "out")] == [1, 2, 3]
    assert sources_of(records) == [(0, "source_orders"), (1, "source_orders"), (2, "source_refunds")]
    loads = [each for each in records["operation"] if each["operation_type"] == "source_load"]
    assert [each["status"] for each in loads] == ["completed", "completed"]
    assert outcomes(records) == [("completed", "out")] * 3
    assert len(json.loads(records["run"][0]["source_schema_json"])["anyOf"]) == 2


def test_filtered_rows_do_not_reach_the_expensive_transform(tmp_path: Path) -> None:
    gate = {"name": "large", "input": "rows", "condition": "row['v'] > 1", "routes": {"true": "kept", "false": "rest"}}
    settings = wired_settings(
        tmp_path, {"orders": ORDERS}, "out", "rest", transforms=[passing("costly", "kept", "out")], gates=[gate]
    )
    _, records = run_graph(tmp_path, settings)
    assert written(tmp_path, "out") == [{"id": 1, "v": 5, "costly": True}]
    assert written(tmp_path, "rest") == [{"id": 2, "v": 1}]
    assert outcomes(records) == [("completed", "out"), ("routed", "rest")]


FORK = {
    "name": "fork",
    "input": "rows",
    "condition": "True",
    "routes": {"true": "fork", "false": "out"},
    "fork_to": ["a", "b"],
}
SUM = {
    "name": "sum",
    "plugin": "batch_stats",
    "input": "joined",
    "on_success": "summed",
    "options": {"value_field": "v"},
}


def joined(directory: Path, **sections: object) -> Settings:
    """Return settings that fork, join, aggregate and route."""
    check = {
        "name": "check",
        "input": "summed",
        "condition": "row['sum'] > 5",
        "routes": {"true": "out", "false": "rest"},
    }
    defaults: dict[str, object] = {
        "transforms": [passing("left", "a", "a_done"), passing("right", "b", "b_done")],
        "gates": [check, FORK],
        "coalesce": [{"name": "joined", "branches": {"a": "a_done", "b": "b_done"}, "merge": "union"}],
        "aggregations": [SUM],
    }
    return wired_settings(directory, {"orders": ORDERS}, "out", "rest", **(defaults | sections))


def test_rows_are_aggregated_after_a_join_and_routed_after_that(tmp_path: Path) -> None:
    _, records = run_graph(tmp_path, joined(tmp_path))
    assert written(tmp_path, "out") == [{"count": 2, "sum": 6, "mean": 3.0}]
    order = [node["node_type"] for node in sorted(records["node"], key=lambda node: node["sequence_in_pipeline"])]
    assert order == ["source", "gate", "transform", "transform", "coalesce", "aggregation", "gate", "sink", "sink"]


@pytest.mark.parametrize("policy", ["last_wins", "first_wins", "fail"])
def test_a_union_takes_the_value_that_its_policy_says(tmp_path: Path, policy: str) -> None:
    both = [passing("left", "a", "a_done") | {"options": {"field": "x", "value": "left"}}]
    both += [passing("right", "b", "b_done") | {"options": {"field": "x", "value": "right"}}]
    join = {"name": "meet", "branches": {"a": "a_done", "b": "b_done"}, "on_success": "out"}
    settings = joined(
        tmp_path,
        transforms=both,
        gates=[FORK | {"routes": {"true": "fork", "false": "rest"}}],
        aggregations=[],
        coalesce=[join | {"union_collision_policy": policy}],
    )
    result, records = run_graph(tmp_path, settings)
    taken = {"last_wins": ["right", "right"], "first_wins": ["left", "left"], "fail": []}
    assert [row["x"] for row in written(tmp_path, "out")] == taken[policy]
    assert result.failed == (4 if policy == "fail" else 0)
    errors = {json.loads(each["error_details_json"])["exception"] for each in records.get("transform_error", [])}
    assert len(records.get("transform_error", [])) == result.failed
    assert errors == ({"branches have different values for 'x'"} if policy == "fail" else set())
    reasons = [json.loads(each["success_reason_json"] or "{}") for each in records["node_state"]]
    overridden = {"last_wins": [{"x": "b"}] * 4, "first_wins": [{"x": "a"}] * 4, "fail": []}
    assert [each["overridden"] for each in reasons if "overridden" in each] == overridden[policy]


def test_a_batch_must_have_as_many_rows_as_it_is_expected_to(tmp_path: Path) -> None:
    settings = joined(tmp_path, aggregations=[SUM | {"expected_output_count": 2}])
    result, records = run_graph(tmp_path, settings)
    assert result.failed == 2
    (reason,) = {each["error_json"] for each in records["node_state"] if each["error_json"]}
    assert "expected_output_count expects 2" in reason


def test_a_branch_that_is_not_joined_goes_on_like_any_row(tmp_path: Path) -> None:
    settings = wired_settings(
        tmp_path,
        {"orders": ORDERS},
        "out",
        "copies",
        transforms=[passing("left", "a", "out")],
        gates=[FORK | {"fork_to": ["a", "copies"]}],
    )
    _, records = run_graph(tmp_path, settings)
    assert [row["id"] for row in written(tmp_path, "copies")] == [1, 2]
    assert outcomes(records).count(("completed", "out")) == 2


def test_rows_that_a_sink_refuses_go_to_the_sink_that_it_names(tmp_path: Path) -> None:
    settings = wired_settings(
        tmp_path, {"orders": [{"id": 1}, {"id": {"nested": 1}}]}, "bad", transforms=[passing("seen", "rows", "out")]
    )
    options = {"path": str(tmp_path / "out.csv"), "schema": {"mode": "fixed", "fields": ["id: int", "seen: bool"]}}
    settings["sinks"]["out"] = {"plugin": "csv", "options": options, "on_write_failure": "bad"}
    result, records = run_graph(tmp_path, settings)
    assert (result.rows_by_sink, result.failed) == ({"bad": 1, "out": 1}, 1)
    assert outcomes(records) == [("completed", "out"), ("failed", "bad")]
    configs = {json.loads(each["config_json"]).get("on_write_failure") for each in records["node"]}
    assert configs == {None, "bad"}


def test_steps_are_ended_in_the_order_of_the_graph_not_of_their_declaration(tmp_path: Path) -> None:
    first = SUM | {"input": "orders", "on_success": "sums", "options": {"value_field": "v", "compute_mean": False}}
    last = {**first, "name": "all", "input": "sums", "on_success": "out", "options": {"value_field": "sum"}}
    settings = wired_settings(tmp_path, {"given": ORDERS}, "out", aggregations=[last, first])
    settings["sources"]["given"]["on_success"] = "orders"
    run_graph(tmp_path, settings)
    assert written(tmp_path, "out") == [{"count": 1, "sum": 6, "mean": 6.0}]


def test_the_names_of_steps_are_those_of_their_nodes(tmp_path: Path) -> None:
    settings = joined(tmp_path)
    pipeline = build(tmp_path, settings, *PLUGINS)
    names = {node.name for node in pipeline.nodes.values()}
    assert names == {"orders", "fork", "left", "right", "joined", "sum", "check", "out", "rest"}
    assert {
        node.node_id.rpartition("_")[0] for node in pipeline.nodes.values() if node.node_type is NodeType.TRANSFORM
    } == {
        "transform_left",
        "transform_right",
    }


@pytest.mark.parametrize(("limit", "fractions"), [(None, [None] * 3), (2, [0.25, 0.5, 0.75])])
def test_progress_counts_all_sources_as_equally_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int | None, fractions: list[float | None]
) -> None:
    groups_of(monkeypatch, 1)
    told: list[Progress] = []
    start(tmp_path, two_sources(tmp_path, limit=limit), Observer(on_rows=told.append))
    assert [each.fraction for each in told] == fractions


# -- several sources, resumed ------------------------------------------------------------------------------------------


class Stop:
    """Asks the run to stop after so many groups."""

    def __init__(self, groups: int) -> None:
        self.groups = groups

    def __call__(self) -> bool:
        self.groups -= 1
        return self.groups < 0


def start(
    directory: Path, settings: Settings, observer: Observer | None = None, *, resume: bool = False
) -> LoadedSettings:
    """Begin or resume a run of settings."""
    pipeline = build(directory, settings, *PLUGINS)
    keys = load_run_keys(pipeline.settings, {}, source="settings.yaml")
    with LandscapeDB.from_url(pipeline.settings.landscape.url) as db:
        work = Orchestrator(db, pipeline, keys, observer, clock=Ticks())
        if resume:
            work.resume(trail(directory)["run"][0]["run_id"])
        else:
            work.run()
    return pipeline.settings


@pytest.mark.parametrize("after", range(3))
def test_a_run_of_several_sources_is_resumed_in_each_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    groups_of(monkeypatch, 1)
    settings = two_sources(tmp_path)
    with pytest.raises(RunInterruptedError):
        start(tmp_path, settings, Observer(is_stopped=Stop(after)))
    assert len(trail(tmp_path)["row"]) == after + 1
    start(tmp_path, settings, resume=True)
    records = trail(tmp_path)
    assert_sound(records, status="completed", resumed=True)
    assert [row["id"] for row in written(tmp_path, "out")] == [1, 2, 3]
    assert sources_of(records) == [(0, "source_orders"), (1, "source_orders"), (2, "source_refunds")]
    checkpoints = sorted(records["checkpoint"], key=lambda each: each["sequence_number"])
    assert [each["sequence_number"] for each in checkpoints] == list(range(1, len(checkpoints) + 1))
    names = [each["node_id"].rpartition("_")[0] for each in checkpoints]
    assert names == sorted(names)
    assert names.count("source_refunds") == 2  # after its row, and at its end
    completed = [each for each in records["operation"] if each["status"] == "completed"]
    loads = [each for each in completed if each["node_id"].startswith("source_")]
    found = {each["node_id"].rpartition("_")[0]: each["output_data_hash"] for each in loads}
    assert len(loads) == 2
    assert found == {name: stable_hash({"rows": rows}) for name, rows in (("source_orders", 2), ("source_refunds", 1))}


def test_a_run_is_resumed_only_with_its_sources_in_the_same_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups_of(monkeypatch, 1)
    with pytest.raises(RunInterruptedError):
        start(tmp_path, two_sources(tmp_path), Observer(is_stopped=Stop(0)))
    reordered = two_sources(tmp_path)
    reordered["sources"] = dict(reversed(reordered["sources"].items()))
    with pytest.raises(ResumeError, match="other settings or plugins: the order of the sources; resume it with"):
        start(tmp_path, reordered, resume=True)


def test_a_limit_of_rows_counts_those_before_a_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    groups_of(monkeypatch, 1)
    settings = wired_settings(tmp_path, {"orders": [*ORDERS, *REFUNDS]}, "rest", limit=2)
    settings["sources"]["orders"]["on_success"] = "rest"
    with pytest.raises(RunInterruptedError):
        start(tmp_path, settings, Observer(is_stopped=Stop(0)))
    start(tmp_path, settings, resume=True)
    assert [row["id"] for row in written(tmp_path, "rest")] == [1, 2]


def test_a_token_made_from_others_follows_them_and_has_the_source_of_the_last(tmp_path: Path) -> None:
    which = {"name": "which", "input": "rows", "condition": "row['id'] == 2"}
    settings = wired_settings(
        tmp_path,
        {"orders": [{"id": 1}, {"id": 2}], "refunds": [{"id": 3}]},
        "out",
        "bad",
        queues={"rows": {}, "joined": {}},
        gates=[which | {"routes": {"true": "detour", "false": "joined"}}],
        transforms=[
            passing("longer", "detour", "joined"),
            passing("check", "summed", "out", fail=[None]) | {"on_error": "bad"},
        ],
        aggregations=[SUM | {"options": {"value_field": "id"}}],
    )
    _, records = run_graph(tmp_path, settings)
    (row,) = written(tmp_path, "bad")
    assert (row["sum"], row["error_source"], row["error_row"]) == (6, "refunds", 2)
    (node,) = [each["node_id"] for each in records["node"] if each["node_id"].startswith("transform_check")]
    assert [each["step_index"] for each in records["node_state"] if each["node_id"] == node] == [4]


def test_a_merged_token_has_the_source_of_its_branches(tmp_path: Path) -> None:
    check = passing("check", "joined", "out", fail=[1, 2]) | {"on_error": "rest"}
    settings = joined(tmp_path, gates=[FORK], aggregations=[])
    settings["transforms"].append(check)
    run_graph(tmp_path, settings)
    assert [row["error_source"] for row in written(tmp_path, "rest")] == ["orders", "orders"]

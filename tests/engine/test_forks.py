"""Forks and coalesces: tokens along branches, and where they meet."""

import json
from pathlib import Path
from typing import Any

import pytest

from elspeth.contracts.rows import RowData
from elspeth.core.canonical import stable_hash
from tests.engine.pipelines import Records, Settings, graph_settings, run_graph, written


def forked(directory: Path, rows: list[RowData], *sinks: str, fork_to: list[str], **sections: object) -> Settings:
    """Return settings that fork every row without `stay`."""
    gate = {
        "name": "split",
        "condition": "row.get('stay', False)",
        "routes": {"True": "continue", "true": "continue", "false": "fork"},
        "fork_to": fork_to,
    }
    return graph_settings(directory, rows, *sinks, **{"gates": [gate], **sections})


def mark(branch: str, *, fail: list[int] | None = None) -> dict[str, Any]:
    options: dict[str, object] = {"field": branch, "value": f"by {branch}", "fail": fail or []}
    return {"plugin": "mark", "branch": branch, "options": options}


def counted(records: Records) -> dict[str, int]:
    counts: dict[str, int] = {}
    for each in records["token_outcome"]:
        counts[each["outcome"]] = counts.get(each["outcome"], 0) + 1
    return counts


def test_a_fork_sends_a_copy_to_each_sink(tmp_path: Path) -> None:
    settings = forked(tmp_path, [{"id": 1}, {"id": 2, "stay": True}], "a", "b", fork_to=["a", "b"])
    result, records = run_graph(tmp_path, settings)
    assert (written(tmp_path, "a"), written(tmp_path, "b")) == ([{"id": 1}], [{"id": 1}])
    assert written(tmp_path, "out") == [{"id": 2, "stay": True}]
    assert result.rows_by_sink == {"out": 1, "a": 1, "b": 1}
    assert counted(records) == {"forked": 1, "routed": 2, "completed": 1}
    (forking,) = [each for each in records["token_outcome"] if each["outcome"] == "forked"]
    assert json.loads(forking["expected_branches_json"]) == ["a", "b"]
    children = [token for token in records["token"] if token["fork_group_id"] == forking["fork_group_id"]]
    assert sorted(token["branch_name"] for token in children) == ["a", "b"]
    assert {parent["parent_token_id"] for parent in records["token_parent"]} == {forking["token_id"]}
    copies = [event for event in records["routing_event"] if event["mode"] == "copy"]
    labels = {edge["edge_id"]: edge["label"] for edge in records["edge"]}
    assert [(event["ordinal"], labels[event["edge_id"]]) for event in sorted(copies, key=lambda e: e["ordinal"])] == [
        (0, "a"),
        (1, "b"),
    ]
    assert len({event["routing_group_id"] for event in copies}) == 1


def test_a_fork_is_recorded_in_the_order_of_its_branches(tmp_path: Path) -> None:
    settings = forked(tmp_path, [{"id": 1}], "a", "b", "c", fork_to=["b", "c", "a"])
    _, records = run_graph(tmp_path, settings)
    (forking,) = [each for each in records["token_outcome"] if each["outcome"] == "forked"]
    assert json.loads(forking["expected_branches_json"]) == ["b", "c", "a"]
    labels = {edge["edge_id"]: edge["label"] for edge in records["edge"]}
    copies = sorted((each["ordinal"], labels[each["edge_id"]]) for each in records["routing_event"])
    assert copies == [(0, "b"), (1, "c"), (2, "a")]


def test_a_branch_has_transforms_of_its_own(tmp_path: Path) -> None:
    settings = forked(tmp_path, [{"id": 1}], "a", fork_to=["a", "out"], row_plugins=[mark("a")])
    run_graph(tmp_path, settings)
    assert written(tmp_path, "a") == [{"id": 1, "a": "by a"}]
    assert written(tmp_path, "out") == [{"id": 1}]


JOIN: dict[str, object] = {"name": "meet", "branches": ["a", "b"]}
BOTH = {"id": 1, "a": "by a", "b": "by b"}


@pytest.mark.parametrize(
    ("join", "expected"),
    [
        ({}, {"id": 1, "a": "by a", "b": "by b"}),
        ({"merge": "nested"}, {"a": {"id": 1, "a": "by a"}, "b": {"id": 1, "b": "by b"}}),
        ({"merge": "select", "select_branch": "b"}, {"id": 1, "b": "by b"}),
        ({"policy": "quorum", "quorum_count": 2}, BOTH),
        ({"policy": "best_effort", "timeout_seconds": 1000}, BOTH),
        ({"policy": "quorum", "quorum_count": 1}, {"id": 1, "a": "by a"}),
        ({"policy": "first"}, {"id": 1, "a": "by a"}),
        ({"policy": "first", "merge": "select", "select_branch": "b"}, {"id": 1, "b": "by b"}),
    ],
)
def test_branches_are_merged_by_policy_and_strategy(tmp_path: Path, join: dict[str, object], expected: RowData) -> None:
    settings = forked(
        tmp_path, [{"id": 1}], fork_to=["a", "b"], row_plugins=[mark("a"), mark("b")], coalesce=[JOIN | join]
    )
    result, records = run_graph(tmp_path, settings)
    assert written(tmp_path, "out") == [expected]
    assert (result.failed, result.rows_by_sink) == (0, {"out": 1})
    assert counted(records) == {"forked": 1, "coalesced": 2, "completed": 1}
    (merged,) = [token for token in records["token"] if token["join_group_id"]]
    ended = [each for each in records["token_outcome"] if each["outcome"] == "coalesced"]
    assert {each["join_group_id"] for each in ended} == {merged["join_group_id"]}
    parents = [each["parent_token_id"] for each in records["token_parent"] if each["token_id"] == merged["token_id"]]
    used = [each["token_id"] for each in ended if each["context_json"] is None]
    assert sorted(parents) == sorted(used)
    states = [state for state in records["node_state"] if state["token_id"] in used and state["step_index"] == 4]
    assert {state["output_hash"] for state in states} <= {stable_hash(expected)}
    reason = {"action": "merged", "policy": join.get("policy", "require_all"), "merge": join.get("merge", "union")}
    reason |= {"branches": ["a", "b"][: len(used)]} | ({"selected": "b"} if "select_branch" in join else {})
    reasons = [json.loads(state["success_reason_json"] or "{}") for state in records["node_state"]]
    assert [each for each in reasons if each.get("action") == "merged"] == [reason] * len(used)


def test_the_step_index_of_a_merged_token_follows_that_of_the_longest_branch(tmp_path: Path) -> None:
    plugins = [{"plugin": "mark", "branch": "a", "options": {"field": field}} for field in ("one", "two", "three")]
    settings = forked(tmp_path, [{"id": 1}], fork_to=["a", "b"], row_plugins=plugins, coalesce=[JOIN])
    _, records = run_graph(tmp_path, settings)
    (merged,) = [token for token in records["token"] if token["join_group_id"]]
    parents = [each["parent_token_id"] for each in records["token_parent"] if each["token_id"] == merged["token_id"]]
    visits: dict[str, set[int]] = {token["token_id"]: set() for token in records["token"]}
    for state in records["node_state"]:
        visits[state["token_id"]].add(state["step_index"])
    assert [sorted(visits[parent]) for parent in parents] == [[2, 3, 4, 5], [2]]
    assert sorted(visits[merged["token_id"]]) == [6]
    assert merged["step_in_pipeline"] == 5


def test_a_union_keeps_the_later_branch_and_says_which_fields_it_overrode(tmp_path: Path) -> None:
    plugins = [{"plugin": "mark", "branch": name, "options": {"field": "m", "value": name}} for name in ("a", "b")]
    settings = forked(tmp_path, [{"id": 1}], fork_to=["b", "a"], row_plugins=plugins, coalesce=[JOIN])
    _, records = run_graph(tmp_path, settings)
    assert written(tmp_path, "out") == [{"id": 1, "m": "b"}]
    reasons = [json.loads(state["success_reason_json"] or "{}") for state in records["node_state"]]
    assert [reason["overridden"] for reason in reasons if reason.get("action") == "merged"] == [{"m": "b"}] * 2


@pytest.mark.parametrize(
    ("join", "expected", "failed"),
    [
        ({}, [], 2),
        ({"policy": "quorum", "quorum_count": 2}, [], 2),
        ({"policy": "quorum", "quorum_count": 1}, [{"id": 1, "b": "by b"}], 1),
        ({"policy": "first"}, [{"id": 1, "b": "by b"}], 1),
        ({"policy": "best_effort", "timeout_seconds": 1000}, [{"id": 1, "b": "by b"}], 1),
        ({"policy": "first", "merge": "select", "select_branch": "a"}, [], 2),
        ({"policy": "first", "merge": "nested"}, [{"b": {"id": 1, "b": "by b"}}], 1),
    ],
)
def test_a_branch_that_never_arrives_counts_as_lost(
    tmp_path: Path, join: dict[str, object], expected: list[RowData], failed: int
) -> None:
    plugins = [mark("a", fail=[1]), mark("b")]
    settings = forked(tmp_path, [{"id": 1}], fork_to=["a", "b"], row_plugins=plugins, coalesce=[JOIN | join])
    result, records = run_graph(tmp_path, settings)
    assert written(tmp_path, "out") == expected
    assert result.failed == failed
    errors = [json.loads(error["error_details_json"])["exception"] for error in records["transform_error"]]
    policy = join.get("policy", "require_all")
    refusal = f"the policy {policy!r} cannot be met: branch a did not arrive"
    assert sorted(errors) == sorted(["refused", *([refusal] if failed == 2 else [])])


def test_a_row_whose_branches_all_fail_ends_without_a_merge(tmp_path: Path) -> None:
    plugins = [mark("a", fail=[1]), mark("b", fail=[1])]
    join = JOIN | {"policy": "best_effort", "timeout_seconds": 5}
    settings = forked(tmp_path, [{"id": 1}, {"id": 2}], fork_to=["a", "b"], row_plugins=plugins, coalesce=[join])
    result, _ = run_graph(tmp_path, settings)
    assert (result.failed, written(tmp_path, "out")) == (2, [{"id": 2, "a": "by a", "b": "by b"}])


def test_merged_rows_continue_behind_the_gate_that_forked_them(tmp_path: Path) -> None:
    settings = forked(tmp_path, [{"id": 1}, {"id": 2, "stay": True}], "late", fork_to=["a", "b"], coalesce=[JOIN])
    settings["gates"].append(
        {"name": "later", "condition": "row['id'] == 1", "routes": {"true": "late", "false": "continue"}}
    )
    run_graph(tmp_path, settings)
    assert (written(tmp_path, "late"), written(tmp_path, "out")) == ([{"id": 1}], [{"id": 2, "stay": True}])


def nested(directory: Path, rows: list[RowData], *, inner_fails: list[int]) -> Settings:
    """Return settings with a second fork on branch a.

    Its branches, p and q, meet before a and b do.
    """
    inner = {
        "name": "inner",
        "branch": "a",
        "condition": "True",
        "routes": {"true": "fork", "false": "continue"},
        "fork_to": ["p", "q"],
    }
    settings = forked(directory, rows, fork_to=["a", "b"], row_plugins=[mark("p", fail=inner_fails), mark("q")])
    settings["gates"].append(inner)
    settings["coalesce"] = [{"name": "within", "branches": ["p", "q"]}, JOIN]
    return settings


def test_forks_can_be_nested(tmp_path: Path) -> None:
    result, records = run_graph(tmp_path, nested(tmp_path, [{"id": 1}], inner_fails=[]))
    assert written(tmp_path, "out") == [{"id": 1, "p": "by p", "q": "by q"}]
    assert (result.failed, counted(records)) == (0, {"forked": 2, "coalesced": 4, "completed": 1})


def test_an_inner_fork_with_a_copy_to_a_sink_loses_no_outer_branch(tmp_path: Path) -> None:
    settings = nested(tmp_path, [{"id": 1}], inner_fails=[])
    settings["sinks"]["aside"] = settings["sinks"]["out"] | {"options": {"path": str(tmp_path / "aside.jsonl")}}
    settings["gates"][-1]["fork_to"].append("aside")
    result, _ = run_graph(tmp_path, settings)
    assert (written(tmp_path, "out"), result.failed) == ([{"id": 1, "p": "by p", "q": "by q"}], 0)


def test_an_inner_fork_whose_copies_all_go_to_sinks_is_a_lost_branch_at_once(tmp_path: Path) -> None:
    join = JOIN | {"policy": "best_effort", "timeout_seconds": 1000}
    settings = forked(tmp_path, [{"id": 1}, {"id": 2}], "s", "t", fork_to=["a", "b"], coalesce=[join])
    routes = {"true": "fork", "false": "continue"}
    inner = {"name": "inner", "branch": "a", "condition": "row['id'] == 1", "routes": routes, "fork_to": ["s", "t"]}
    settings["gates"].append(inner)
    run_graph(tmp_path, settings)
    assert [row["id"] for row in written(tmp_path, "out")] == [1, 2]
    assert written(tmp_path, "s") == written(tmp_path, "t") == [{"id": 1}]


def test_an_inner_join_that_fails_is_a_lost_branch_of_the_outer_join(tmp_path: Path) -> None:
    result, records = run_graph(tmp_path, nested(tmp_path, [{"id": 1}], inner_fails=[1]))
    assert written(tmp_path, "out") == []
    assert (result.failed, counted(records)) == (3, {"forked": 2, "failed": 3})
    errors = {json.loads(error["error_details_json"])["exception"] for error in records["transform_error"]}
    assert errors == {
        "refused",
        "the policy 'require_all' cannot be met: branch p did not arrive",
        "the policy 'require_all' cannot be met: branch a did not arrive",
    }


def test_an_inner_join_that_fails_does_not_keep_the_outer_join_waiting(tmp_path: Path) -> None:
    settings = nested(tmp_path, [{"id": 1}, {"id": 2}], inner_fails=[1])
    settings["coalesce"][1] = JOIN | {"policy": "best_effort", "timeout_seconds": 1000}
    run_graph(tmp_path, settings)
    assert [row["id"] for row in written(tmp_path, "out")] == [1, 2]


def test_a_branch_that_a_gate_sends_away_is_lost_to_its_join(tmp_path: Path) -> None:
    settings = forked(tmp_path, [{"id": 1}, {"id": 2}], "away", fork_to=["a", "b"], coalesce=[JOIN])
    gate = {
        "name": "leave",
        "branch": "a",
        "condition": "row['id'] == 1",
        "routes": {"true": "away", "false": "continue"},
    }
    settings["gates"].append(gate)
    result, _ = run_graph(tmp_path, settings)
    assert (written(tmp_path, "away"), written(tmp_path, "out")) == ([{"id": 1}], [{"id": 2}])
    assert result.failed == 1


def slow(directory: Path, rows: list[RowData], join: dict[str, object]) -> Settings:
    """Return settings in which branch b waits in a batch.

    The batch ends with the source.
    """
    waiting = {
        "name": "wait",
        "plugin": "batch_replicate",
        "branch": "b",
        "output_mode": "passthrough",
        "options": {"include_copy_index": False},
    }
    return forked(
        directory, rows, fork_to=["a", "b"], row_plugins=[mark("a")], aggregations=[waiting], coalesce=[JOIN | join]
    )


@pytest.mark.parametrize(
    ("join", "expected", "late"),
    [
        ({}, [{"id": 1, "a": "by a"}, {"id": 2, "a": "by a"}], 0),
        ({"policy": "first"}, [{"id": 1, "a": "by a"}, {"id": 2, "a": "by a"}], 2),
        ({"policy": "best_effort", "timeout_seconds": 1}, [{"id": 1, "a": "by a"}, {"id": 2, "a": "by a"}], 1),
    ],
)
def test_a_token_that_arrives_after_the_merge_is_recorded_but_not_merged(
    tmp_path: Path, join: dict[str, object], expected: list[RowData], late: int
) -> None:
    result, records = run_graph(tmp_path, slow(tmp_path, [{"id": 1}, {"id": 2}], join))
    assert written(tmp_path, "out") == expected
    assert result.failed == 0
    contexts = [json.loads(each["context_json"]) for each in records["token_outcome"] if each["context_json"]]
    assert contexts == [{"merged": False, "reason": "arrived after the merge"}] * late


def test_a_token_that_arrives_after_a_failed_join_fails_too(tmp_path: Path) -> None:
    result, records = run_graph(tmp_path, slow(tmp_path, [{"id": 1}, {"id": 2}], {"timeout_seconds": 1}))
    assert [row["id"] for row in written(tmp_path, "out")] == [2]
    assert result.failed == 2
    errors = {json.loads(error["error_details_json"])["exception"] for error in records["transform_error"]}
    assert errors == {"the policy 'require_all' cannot be met: branch b did not arrive"}


def test_both_databases_record_the_same_graph(tmp_path: Path, database_url: str) -> None:
    settings = nested(tmp_path, [{"id": number} for number in range(4)], inner_fails=[1])
    settings["aggregations"] = [
        {"name": "pairs", "plugin": "batch_replicate", "trigger": {"count": 2}, "output_mode": "transform"}
    ]
    settings["landscape"] = {"url": database_url}
    result, records = run_graph(tmp_path, settings)
    assert (result.rows, result.failed, result.rows_by_sink) == (4, 3, {"out": 3})
    assert counted(records) == {
        "buffered": 4,
        "consumed_in_batch": 4,
        "forked": 8,
        "failed": 3,
        "coalesced": 12,
        "completed": 3,
    }

"""Laws over generated graphs and inputs: rows are conserved, lineage is complete, chunks do not matter."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elspeth.contracts.plugins import Row
from elspeth.core.canonical import stable_hash
from tests.engine.graphs import graph_settings, run_graph, written
from tests.engine.pipelines import Records, Settings, groups_of

SINKS = ("s1", "s2", "bad")

IDS = st.integers(0, 5)
ROWS = st.lists(
    st.fixed_dictionaries({"id": IDS, "v": st.integers(-3, 3), "items": st.lists(st.integers(0, 2), max_size=3)}),
    max_size=6,
)


def marks(branch: str | None = None) -> st.SearchStrategy[dict[str, Any]]:
    """A transform that marks rows and fails for some."""
    options = st.fixed_dictionaries(
        {
            "field": st.sampled_from(["m", "n"]),
            "value": st.integers(0, 2),
            "fail": st.lists(IDS, max_size=2),
            "crash": st.lists(IDS, max_size=1),
            "on_error": st.sampled_from(["discard", "bad"]),
        }
    )
    place = {} if branch is None else {"branch": branch}
    return options.map(lambda each: {"plugin": "mark", "options": each, **place})


EXPLODE: dict[str, Any] = {"plugin": "json_explode", "options": {"array_field": "items", "on_error": "bad"}}


@st.composite
def aggregations(draw: st.DrawFn) -> dict[str, Any]:
    """An aggregation on the main line; values that are no numbers fail the batch."""
    part: dict[str, Any] = draw(
        st.sampled_from(
            [
                {"plugin": "batch_stats", "options": {"value_field": "v"}, "output_mode": "single"},
                {
                    "plugin": "batch_stats",
                    "options": {"value_field": "v", "group_by": "id"},
                    "output_mode": "transform",
                },
                {"plugin": "batch_replicate", "options": {"copies_field": "v"}, "output_mode": "transform"},
                {"plugin": "batch_replicate", "options": {"copies_field": "none"}, "output_mode": "passthrough"},
            ]
        )
    )
    trigger = draw(st.sampled_from([{}, {"count": 1}, {"count": 2}, {"condition": "row.get('v', 0) > 1"}]))
    options = part["options"] | {"on_error": draw(st.sampled_from(["discard", "bad"]))}
    return {"name": "batch", **part, "options": options, "trigger": trigger}


POLICIES = [
    {"policy": "require_all"},
    {"policy": "quorum", "quorum_count": 2},
    {"policy": "first"},
    {"policy": "best_effort", "timeout_seconds": 1000},
]
MERGES = [{"merge": "union"}, {"merge": "nested"}, {"merge": "select", "select_branch": "b"}]
CONDITIONS = ["row.get('id', 0) > 2", "row.get('v', 0) == 1", "row['v'] > 0", "True"]


@st.composite
def graphs(draw: st.DrawFn, directory: Path, rows: list[Row]) -> Settings:
    """Settings with a few of everything, in which every sink can be reached."""
    transforms = draw(st.lists(marks() | st.just(EXPLODE), max_size=2, unique_by=lambda each: each["plugin"]))
    gates: list[dict[str, Any]] = [
        {
            "name": "route",
            "condition": draw(st.sampled_from(CONDITIONS)),
            "routes": {"true": "s1", "false": "continue"},
        },
        {
            "name": "fork",
            "condition": draw(st.sampled_from(CONDITIONS)),
            "routes": {"true": "fork", "false": "continue"},
            "fork_to": draw(st.permutations(["s2", "a", "b", "c"])),
        },
    ]
    for branch in draw(st.lists(st.sampled_from(["a", "b", "c", "s2"]), unique=True)):
        transforms.append(draw(marks(branch)))
    if draw(st.booleans()):
        condition = draw(st.sampled_from(CONDITIONS))
        routes = {"true": "s1", "false": "continue"}
        gates.append({"name": "leave", "branch": "a", "condition": condition, "routes": routes})
    sections: dict[str, object] = {
        "row_plugins": [{"plugin": "mark", "options": {"field": "seen", "on_error": "bad"}}, *transforms],
        "aggregations": draw(st.lists(aggregations(), max_size=1)),
        "gates": gates,
        "coalesce": [{"name": "meet", "branches": ["a", "b", "c"]} | draw(st.sampled_from(POLICIES))
                     | draw(st.sampled_from(MERGES))],
    }  # fmt: skip
    return graph_settings(directory, rows, *SINKS, **sections)


class Lineage:
    """The way of tokens back to the source."""

    def __init__(self, records: Records) -> None:
        self._parents: dict[str, list[str]] = {}
        for parent in records.get("token_parent", []):
            self._parents.setdefault(parent["token_id"], []).append(parent["parent_token_id"])
        self._members: dict[str, list[str]] = {}
        for member in records.get("batch_member", []):
            self._members.setdefault(member["batch_id"], []).append(member["token_id"])
        self._batch = {output["output_id"]: output["batch_id"] for output in records.get("batch_output", [])}
        self._index = {row["row_id"]: row["row_index"] for row in records.get("row", [])}
        self._row = {token["token_id"]: token["row_id"] for token in records.get("token", [])}

    def sources(self, token_id: str) -> set[int]:
        """The indexes of the source rows that a token comes from."""
        origins = self._parents.get(token_id, [])
        members = self._members.get(self._batch.get(token_id, ""), [])
        if not origins and token_id not in members:
            origins = members
        if not origins:
            return {self._index[self._row[token_id]]}
        return set().union(*map(self.sources, origins))


def check_run(directory: Path, chosen: Settings, rows: list[Row]) -> None:
    """The laws of one run."""
    result, records = run_graph(directory, chosen)
    assert result.rows == len(rows) == len(records.get("row", []))
    lineage = Lineage(records)
    roots = {index for token in records.get("token", []) for index in lineage.sources(token["token_id"])}
    assert roots == set(range(len(rows)))
    ends = {
        each["token_id"]: each for each in records.get("token_outcome", []) if each["is_terminal"] and each["sink_name"]
    }
    nodes = {node["node_id"] for node in records["node"] if node["node_type"] == "sink"}
    recorded: dict[str, Counter[str]] = {name: Counter() for name in ("out", *SINKS)}
    for state in records.get("node_state", []):
        if state["node_id"] in nodes and state["status"] == "completed":
            recorded[ends[state["token_id"]]["sink_name"]][state["input_hash"]] += 1
            if "id" in (row := by_hash(directory, state["input_hash"])):
                assert row["id"] in {rows[index]["id"] for index in lineage.sources(state["token_id"])}
    for name, counts in recorded.items():
        assert Counter(map(stable_hash, written(directory, name))) == counts
        assert result.rows_by_sink[name] == counts.total()


def by_hash(directory: Path, row_hash: str) -> Row:
    """The written row with the hash."""
    return next(row for name in ("out", *SINKS) for row in written(directory, name) if stable_hash(row) == row_hash)


@settings(max_examples=30)
@given(data=st.data(), rows=ROWS)
def test_rows_are_conserved_and_every_output_leads_to_its_source_rows(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, rows: list[Row]
) -> None:
    directory = tmp_path_factory.mktemp("run")
    check_run(directory, data.draw(graphs(directory, rows)), rows)


@settings(max_examples=20)
@given(data=st.data(), rows=ROWS, size=st.integers(1, 4), visits=st.integers(1, 20))
def test_outputs_do_not_depend_on_the_size_of_groups(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, rows: list[Row], size: int, visits: int
) -> None:
    directory = tmp_path_factory.mktemp("run")
    chosen = data.draw(graphs(directory, rows))
    found = []
    for group_size, group_visits in ((500, 10_000), (size, visits)):
        with pytest.MonkeyPatch.context() as patch:
            groups_of(patch, group_size, group_visits)
            result, records = run_graph(directory, chosen)
        outcomes = Counter((each["outcome"], each["sink_name"]) for each in records.get("token_outcome", []))
        files = {name: written(directory, name) for name in ("out", *SINKS)}
        found.append((outcomes, files, result.rows_by_sink, result.failed))
    assert found[0] == found[1]

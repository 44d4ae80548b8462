"""Pipelines drawn at random, with steps of each kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from elspeth.contracts.plugins import CallError, CallingTransform, JsonObject, RowError, TransformOptions
from elspeth.contracts.rows import RowData
from tests.engine.pipelines import Settings, graph_settings

__all__ = ["ROWS", "SINKS", "AskTransform", "graphs"]

SINKS = ("s1", "s2", "bad")

IDS = st.integers(0, 5)
ROWS = st.lists(
    st.fixed_dictionaries({"id": IDS, "v": st.integers(-3, 3), "items": st.lists(st.integers(0, 2), max_size=3)}),
    max_size=6,
)


def mark_transforms(branch: str | None = None) -> st.SearchStrategy[dict[str, Any]]:
    """Draw a transform that marks rows and fails for some."""
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


class AskOptions(TransformOptions):
    """Options of the transform that makes calls.

    `field` takes the answer. `late` and `never` are the ids of rows for which the first attempt, or every attempt,
    fails.
    """

    field: str
    never: list[int] = []  # noqa: RUF012  pydantic copies defaults
    late: list[int] = []  # noqa: RUF012


class AskTransform(CallingTransform):
    """A transform that makes calls, with delayed numbers as answers."""

    name = "ask"
    plugin_version = "1"
    options_model = AskOptions
    service = "oracle"
    sent = 0

    def __init__(self, options: AskOptions) -> None:
        super().__init__(options)
        self._options = options
        self._refused: set[object] = set()

    def request(self, row: RowData) -> JsonObject | RowError:
        """Return a request about the row."""
        return {"row": dict(row), "field": self._options.field}

    def send(self, request: JsonObject) -> JsonObject:
        """Answer with a number that depends on the row."""
        AskTransform.sent += 1
        row = request["row"]
        assert isinstance(row, dict)
        key = row.get("id", -1)
        if key in self._options.never:
            raise CallError("no answer", is_retryable=False, details={"id": key})
        if key in self._options.late and (text := str(row)) not in self._refused:
            self._refused.add(text)
            raise CallError("busy", is_retryable=True)
        return {"answer": sum(range(7_000 * (len(str(row)) % 5))) % 97}

    def result(self, row: RowData, response: JsonObject) -> RowData | RowError:
        """Add the answer to the row."""
        return {**row, self._options.field: response["answer"]}


def call_transforms(branch: str | None = None) -> st.SearchStrategy[dict[str, Any]]:
    """Draw a transform that makes calls."""
    options = st.fixed_dictionaries(
        {
            "field": st.sampled_from(["m", "answer"]),
            "never": st.lists(IDS, max_size=1),
            "late": st.lists(IDS, max_size=1),
            "on_error": st.sampled_from(["discard", "bad"]),
        }
    )
    place = {} if branch is None else {"branch": branch}
    return options.map(lambda each: {"plugin": "ask", "options": each, **place})


def dropping_transforms(branch: str | None = None) -> st.SearchStrategy[dict[str, Any]]:
    """Draw a transform that drops rows."""
    place = {} if branch is None else {"branch": branch}
    parts = [
        {"plugin": "filter", "options": {"condition": "row.get('v', 0) != 1", "on_error": "bad"}},
        {"plugin": "dedupe", "options": {"key": ["id"], "on_error": "bad"}},
    ]
    return st.sampled_from([{**part, **place} for part in parts])


EXPLODE: dict[str, Any] = {"plugin": "json_explode", "options": {"array_field": "items", "on_error": "bad"}}


@st.composite
def aggregations(draw: st.DrawFn) -> dict[str, Any]:
    """Draw an aggregation on the main line.

    Values that are not numbers fail the batch.
    """
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


@st.composite
def waiting_aggregations(draw: st.DrawFn, branch: str) -> dict[str, Any]:
    """Draw an aggregation on a branch, which keeps forks open."""
    trigger = draw(st.sampled_from([{}, {"count": 2}, {"count": 3}]))
    options = {"copies_field": "none", "on_error": draw(st.sampled_from(["discard", "bad"]))}
    part = {"plugin": "batch_replicate", "output_mode": "passthrough", "options": options}
    return {"name": f"wait_{branch}", "branch": branch, "trigger": trigger, **part}


POLICIES = [
    {"policy": "require_all"},
    {"policy": "quorum", "quorum_count": 2},
    {"policy": "first"},
    {"policy": "best_effort", "timeout_seconds": 1000},
]
INNER_POLICIES = ["require_all", "first"]
MERGES = [{"merge": "union"}, {"merge": "nested"}, {"merge": "select", "select_branch": "b"}]
CONDITIONS = ["row.get('id', 0) > 2", "row.get('v', 0) == 1", "row['v'] > 0", "True"]


@st.composite
def graphs(draw: st.DrawFn, directory: Path, rows: list[RowData]) -> Settings:
    """Draw settings in which every sink can be reached."""
    kinds = mark_transforms() | call_transforms() | dropping_transforms() | st.just(EXPLODE)
    transforms = draw(st.lists(kinds, max_size=3, unique_by=lambda each: each["plugin"]))
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
        transforms.append(draw(mark_transforms(branch) | call_transforms(branch) | dropping_transforms(branch)))
    if draw(st.booleans()):
        condition = draw(st.sampled_from(CONDITIONS))
        routes = {"true": "s1", "false": "continue"}
        gates.append({"name": "leave", "branch": "a", "condition": condition, "routes": routes})
    joins: list[dict[str, Any]] = [
        {"name": "meet", "branches": ["a", "b", "c"]} | draw(st.sampled_from(POLICIES)) | draw(st.sampled_from(MERGES))
    ]
    branches = ["a", "b", "c"]
    if draw(st.booleans()):
        inner = {"name": "inner", "branch": "c", "condition": "True", "routes": {"true": "fork", "false": "continue"}}
        gates.append(inner | {"fork_to": ["d", "e"]})
        joins.append({"name": "inner_meet", "branches": ["d", "e"], "policy": draw(st.sampled_from(INNER_POLICIES))})
        branches += ["d", "e"]
    waiting = [
        draw(waiting_aggregations(branch))
        for branch in draw(st.lists(st.sampled_from(branches), unique=True, max_size=2))
    ]
    sections: dict[str, object] = {
        "row_plugins": [{"plugin": "mark", "options": {"field": "seen", "on_error": "bad"}}, *transforms],
        "aggregations": draw(st.lists(aggregations(), max_size=1)) + waiting,
        "gates": gates,
        "coalesce": joins,
        "retry": {"max_attempts": 2, "initial_delay_seconds": 0.001},
    }
    return graph_settings(directory, rows, *SINKS, **sections)

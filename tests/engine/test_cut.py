"""Which steps a worker can do."""

from __future__ import annotations

from pathlib import Path

from elspeth.engine.cut import cut_graph
from tests.engine.drawn import EXPLODE
from tests.engine.pipelines import PLUGINS, Settings, build, graph_settings

JOIN = {"name": "meet", "branches": ["a", "b"]}
FORK = {"name": "fork", "condition": "True", "routes": {"true": "fork", "false": "continue"}, "fork_to": ["a", "b"]}
WAIT = {"name": "wait", "plugin": "batch_replicate", "output_mode": "passthrough", "options": {"copies_field": "none"}}
DISTINCT = {"plugin": "dedupe", "options": {"key": ["id"]}}
MARK = {"plugin": "mark", "options": {"field": "m"}}


def ordered_names(directory: Path, settings: Settings) -> set[str]:
    """Return the names of the ordered nodes."""
    pipeline = build(directory, settings, *PLUGINS)
    return {pipeline.nodes[place].name for place in cut_graph(pipeline).ordered}


def test_only_sinks_are_ordered_if_all_steps_are_row_local(tmp_path: Path) -> None:
    settings = graph_settings(tmp_path, [], row_plugins=[MARK, EXPLODE], gates=[FORK], coalesce=[JOIN])
    settings["sinks"]["bad"] = settings["sinks"]["out"] | {"options": {"path": str(tmp_path / "bad.jsonl")}}
    assert ordered_names(tmp_path, settings) == {"out", "bad"}


def test_steps_behind_one_that_is_not_row_local_are_ordered(tmp_path: Path) -> None:
    settings = graph_settings(tmp_path, [], row_plugins=[MARK, DISTINCT, MARK])
    assert ordered_names(tmp_path, settings) == {"dedupe_1", "mark_2", "out"}


def test_a_coalesce_of_a_branch_with_an_aggregation_is_ordered(tmp_path: Path) -> None:
    waits = {"aggregations": [WAIT | {"branch": "a"}], "row_plugins": [MARK | {"branch": "b"}]}
    settings = graph_settings(tmp_path, [], gates=[FORK], coalesce=[JOIN], **waits)
    assert ordered_names(tmp_path, settings) == {"wait", "meet", "out"}

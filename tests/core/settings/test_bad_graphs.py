"""Graphs that cannot run, with the messages about them."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from elspeth.core.settings import SettingsError, load_settings
from elspeth.plugins.manager import PluginManager

DOCUMENT = yaml.safe_load((Path(__file__).parents[2] / "data" / "bad_graphs.yaml").read_text())
PLUGINS = PluginManager.installed()


def changed(changes: dict[str, Any]) -> dict[str, Any]:
    """Return the right graph with changes at paths."""
    graph: dict[str, Any] = deepcopy(DOCUMENT["graph"])
    for path, value in changes.items():
        *way, last = [int(part) if part.isdecimal() else part for part in path.split(".")]
        target: Any = graph
        for part in way:
            target = target[part]
        if value is None:
            del target[last]
        elif isinstance(target, list) and last == len(target):
            target.append(value)
        else:
            target[last] = value
    return graph


def problems(directory: Path, graph: dict[str, Any]) -> list[str]:
    path = directory / "settings.yaml"
    path.write_text(yaml.safe_dump(graph, sort_keys=False))
    try:
        load_settings(path, environ={}, plugins=PLUGINS)
    except SettingsError as error:
        return [str(problem) for problem in error.problems]
    return []


def test_the_base_graph_is_valid(tmp_path: Path) -> None:
    assert problems(tmp_path, DOCUMENT["graph"]) == []


@pytest.mark.parametrize("bad", DOCUMENT["bad"], ids=lambda bad: str(bad["set"]))
def test_each_mistake_has_its_message(tmp_path: Path, bad: dict[str, Any]) -> None:
    assert problems(tmp_path, changed(bad["set"])) == bad.get("messages", [bad.get("message")])


def test_the_graph_of_the_guide_is_valid(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[3] / "docs" / "pipelines.md").read_text(encoding="utf-8")
    (shown,) = [block for block in guide.split("```") if block.startswith("yaml\nsources:")]
    assert problems(tmp_path, yaml.safe_load(shown.removeprefix("yaml"))) == []

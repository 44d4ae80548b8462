"""The valid sections of a file, and their form."""

from __future__ import annotations

import pytest

from elspeth.core.settings._yaml_file import PlainValue
from elspeth.core.settings.parts import Parts, form_of

WIRED: list[dict[str, PlainValue]] = [
    {"source": {}},
    {"sources": {}},
    {"transforms": []},
    {"queues": {}},
    {"sources": {}, "datasource": {}},
    {"gates": [{"name": "g", "input": "a"}]},
    {"aggregations": [{"name": "a"}, {"name": "b", "input": "a"}]},
]
POSITIONAL: list[dict[str, PlainValue]] = [
    {},
    {"datasource": {}},
    {"gates": [{"name": "g"}]},
    {"gates": [{"name": "g", "input": "a"}], "output_sink": "out"},
    {"aggregations": [{"input": "a"}], "row_plugins": []},
    {"gates": "input", "aggregations": ["input"]},
]


@pytest.mark.parametrize("tree", [*WIRED, *POSITIONAL], ids=str)
def test_settings_are_wired_by_what_only_wired_settings_have(tree: dict[str, PlainValue]) -> None:
    assert form_of(tree).__name__ == ("WiredSettings" if tree in WIRED else "PositionalSettings")


def test_an_invalid_part_does_not_move_the_others() -> None:
    gate: PlainValue = {"name": "g", "condition": "True", "routes": {"true": "out", "false": "out"}}
    parts = Parts.from_tree({"datasource": 7, "gates": [7, gate, {}, gate], "sinks": {"a": 7, "b": {"plugin": "null"}}})
    assert (parts.sources, list(parts.gates), parts.sinks["a"]) == ({}, [1, 3], None)
    assert parts.sinks["b"] is not None

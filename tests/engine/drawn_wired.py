"""Pipelines drawn at random, whose steps are wired by names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from elspeth.contracts.rows import RowData
from tests.engine.drawn import (
    CONDITIONS,
    EXPLODE,
    MERGES,
    POLICIES,
    SINKS,
    aggregations,
    call_transforms,
    mark_transforms,
    waiting_aggregations,
)
from tests.engine.pipelines import Settings, wired_settings

__all__ = ["wired_graphs"]


class _Sketch:
    """A pipeline to which steps are added, each behind another."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw
        self._number = 0
        self.sections: dict[str, list[dict[str, Any]]] = {
            "transforms": [],
            "gates": [],
            "aggregations": [],
            "coalesce": [],
        }

    def fresh(self) -> str:
        """Return a new name for a step or connection."""
        self._number += 1
        return f"n{self._number}"

    def step(self, before: str, part: dict[str, Any], section: str = "transforms") -> str:
        """Add a step, and return where it leads."""
        after = self.fresh()
        part.pop("branch", None)
        self.sections[section].append({**part, "name": self.fresh(), "input": before, "on_success": after})
        return after

    def gate(self, before: str, leaving: str) -> str:
        """Add a gate, and return where other rows go."""
        after = self.fresh()
        routes = {"true": leaving, "false": after}
        self.sections["gates"].append(
            {"name": self.fresh(), "input": before, "condition": self._condition(), "routes": routes}
        )
        return after

    def fork(self, before: str, *, is_inner: bool = False) -> str:
        """Add a fork and a coalesce; other rows leave."""
        branches = [self.fresh() for _ in "abc"]
        routes = {"true": "fork", "false": "s1"}
        gate = {"name": self.fresh(), "input": before, "condition": self._condition(), "routes": routes}
        self.sections["gates"].append(gate | {"fork_to": self._draw(st.permutations([*branches, "s2"]))})
        arrivals = {branch: self.branch(branch, is_inner=is_inner) for branch in branches}
        merge = self._draw(st.sampled_from(MERGES))
        if "select_branch" in merge:
            merge = merge | {"select_branch": branches[1]}
        after = self.fresh()
        join = {"name": self.fresh(), "branches": arrivals, "on_success": after}
        self.sections["coalesce"].append(join | self._draw(st.sampled_from(POLICIES)) | merge)
        return after

    def branch(self, connection: str, *, is_inner: bool) -> str:
        """Add steps to a branch, which keep rows single."""
        if not is_inner and self._draw(st.integers(0, 3)) == 0:
            return self.fork(connection, is_inner=True)
        if self._draw(st.booleans()):
            connection = self.step(connection, self._draw(mark_transforms() | call_transforms()))
        if self._draw(st.booleans()):
            connection = self.gate(connection, "s1")
        if self._draw(st.booleans()):
            connection = self.step(connection, self._draw(waiting_aggregations(connection)), "aggregations")
        return connection

    def reached(self) -> set[object]:
        """Return the sinks to which rows may go."""
        gates = self.sections["gates"]
        found = {target for gate in gates for target in (*gate["routes"].values(), *gate.get("fork_to", ()))}
        steps = (*self.sections["transforms"], *self.sections["aggregations"])
        return found | {step["options"].get("on_error") for step in steps}

    def _condition(self) -> str:
        return self._draw(st.sampled_from(CONDITIONS))


@st.composite
def wired_graphs(draw: st.DrawFn, directory: Path, sources: Mapping[str, list[RowData]]) -> Settings:
    """Draw settings with steps in any order."""
    sketch = _Sketch(draw)
    connection = "rows"
    kinds = st.lists(
        st.sampled_from(["mark", "ask", "explode", "gate", "fork", "aggregate"]),
        max_size=4,
        unique_by=lambda kind: kind,
    )
    for kind in ["fork", *draw(kinds)] if draw(st.booleans()) else draw(kinds):
        if kind == "gate":
            connection = sketch.gate(connection, "s1")
        elif kind == "fork":
            connection = sketch.fork(connection)
        elif kind == "aggregate":
            connection = sketch.step(connection, draw(aggregations()), "aggregations")
        else:
            part = {"mark": mark_transforms(), "ask": call_transforms(), "explode": st.just(EXPLODE)}[kind]
            connection = sketch.step(connection, draw(part))
    for sink in sorted({*SINKS} - sketch.reached()):  # all are read afterwards
        connection = sketch.gate(connection, sink)
    last = {"name": "last", "plugin": "mark", "input": connection, "on_success": "out", "options": {"field": "last"}}
    sketch.sections["transforms"].append(last)
    retry = {"max_attempts": 2, "initial_delay_seconds": 0.001}
    return wired_settings(directory, sources, "out", *SINKS, queues={"rows": {}}, retry=retry, **sketch.sections)

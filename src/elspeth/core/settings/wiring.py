"""The graph that settings describe, in either form.

Its nodes are places in the settings. All checks, and the engine, work on this graph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from graphlib import TopologicalSorter

from elspeth.contracts.enums import RoutingMode
from elspeth.core.settings.problems import Location

__all__ = ["Place", "Wire", "Wiring", "sink_place"]

Place = Location
"""A node, as the place in the settings that defines it: ``("gates", 0)``, ``("sinks", "output")``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """An edge, with its origin, label, target and mode.

    A decision or an error names the label of the edge by which a token leaves. A token that reaches a sink by a wire
    that `completes` has completed; other tokens were routed to the sink. `connection` is the name of the connection, if
    there is one.
    """

    origin: Place
    label: str
    target: Place
    mode: RoutingMode
    completes: bool = False
    connection: str | None = None


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """All edges of a pipeline, and where its branches meet.

    `sources` are in the order in which they are read. `joins` maps each branch to the place of the coalesce that waits
    for it.
    """

    sources: Sequence[Place]
    wires: Sequence[Wire]
    joins: Mapping[str, Place]

    @cached_property
    def _leaving(self) -> Mapping[Place, list[Wire]]:
        found: dict[Place, list[Wire]] = {}
        for wire in self.wires:
            found.setdefault(wire.origin, []).append(wire)
        return found

    def leaving(self, place: Place) -> Sequence[Wire]:
        """Return the edges that begin at a place."""
        return self._leaving.get(place, [])

    def places(self) -> list[Place]:
        """Return all places, each after those that lead to it.

        The order depends on the sources and on the edges that leave each place, not on the order of steps in the
        settings. Raises graphlib.CycleError if there is a cycle.
        """
        sorter: TopologicalSorter[Place] = TopologicalSorter()
        for source in self.sources:
            sorter.add(source)
        for wire in self.wires:
            sorter.add(wire.target, wire.origin)
        return list(sorter.static_order())

    def reached(self) -> set[Place]:
        """Return the places that a row can reach."""
        reached, waiting = set(self.sources), list(self.sources)
        while waiting:
            place = waiting.pop()
            for wire in self.leaving(place):
                if wire.target not in reached:
                    reached.add(wire.target)
                    waiting.append(wire.target)
        return reached


def sink_place(name: str) -> Place:
    """Return the place of a sink."""
    return ("sinks", name)

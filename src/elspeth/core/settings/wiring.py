"""The edges that settings imply.

Rows run along *lines*. The main line leads from the source to the output sink; each branch of a fork is a line of its
own. On a line stand, in this order, its transforms, aggregations and gates, each kind in the order of the file. A
branch ends at the coalesce that lists it, else at the sink of its name. What a coalesce merges goes on behind the gate
that forked it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter

from elspeth.contracts.enums import RoutingMode
from elspeth.contracts.routing import CONTINUE, DISCARD, FORK, ON_ERROR, QUARANTINE
from elspeth.core.settings.model import AggregationSettings, GateSettings, Settings, TransformSettings
from elspeth.core.settings.problems import Location

__all__ = ["SOURCE", "Place", "Wire", "Wiring", "sink_place", "wire"]

Place = Location
"""A node, by the place in the settings that asks for it: ``("gates", 0)``, ``("sinks", "output")``."""

SOURCE: Place = ("datasource",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """One edge: origin, label, target and mode.

    A decision or an error makes a token leave by an edge whose label it has. `is_onward` marks the edge to what comes
    next on the line.
    """

    origin: Place
    label: str
    target: Place
    mode: RoutingMode
    is_onward: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """All edges of a pipeline, and where its branches meet.

    `joins` has the place of the coalesce that waits for a branch.
    """

    wires: tuple[Wire, ...]
    joins: Mapping[str, Place]

    def leaving(self, place: Place) -> list[Wire]:
        """Return the edges that begin at a place."""
        return [wire for wire in self.wires if wire.origin == place]

    def places(self) -> list[Place]:
        """Return all places, each after those that lead to it.

        Raises graphlib's CycleError if there is a cycle.
        """
        sorter: TopologicalSorter[Place] = TopologicalSorter()
        for wire in self.wires:
            sorter.add(wire.target, wire.origin)
        return list(sorter.static_order())

    def reached(self) -> set[Place]:
        """Return the places that a row can reach."""
        reached, waiting = {SOURCE}, [SOURCE]
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


def wire(settings: Settings) -> Wiring:
    """Return the wiring of a pipeline.

    All names in the settings must resolve.
    """
    wirer = _WiringBuilder(settings)
    return Wiring(wires=tuple(wirer.wires()), joins=wirer.joins)


_PartOnLine = TransformSettings | AggregationSettings | GateSettings


class _WiringBuilder:
    """Finds the edges of a pipeline.

    A line is a list of places, by the name of its branch; that of the main line is None.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.joins: dict[str, Place] = {
            branch: ("coalesce", index) for index, join in enumerate(settings.coalesce) for branch in join.branches
        }
        self._lines: dict[str | None, list[Place]] = {}
        for place, part in self._parts_on_lines():
            self._lines.setdefault(part.branch, []).append(place)
        self._line_of = {place: branch for branch, line in self._lines.items() for place in line}

    def wires(self) -> Iterator[Wire]:
        source = self._settings.datasource
        yield _onward(SOURCE, CONTINUE, self._beginning(None))
        yield from _diversion(SOURCE, QUARANTINE, source.options.get("on_validation_failure"))
        for place, part in self._parts_on_lines():
            if isinstance(part, GateSettings):
                yield from self._of_gate(place, part)
            else:
                yield _onward(place, CONTINUE, self._following(place))
                yield from _diversion(place, ON_ERROR, part.options.get("on_error"))
        for index, join in enumerate(self._settings.coalesce):
            fork = next(
                ("gates", number)
                for number, gate in enumerate(self._settings.gates)
                if join.branches[0] in (gate.fork_to or ())
            )
            yield _onward(("coalesce", index), CONTINUE, self._following(fork))

    def _parts_on_lines(self) -> Iterator[tuple[Place, _PartOnLine]]:
        """Yield everything on lines, in order."""
        sections: tuple[tuple[str, Sequence[_PartOnLine]], ...] = (
            ("row_plugins", self._settings.row_plugins),
            ("aggregations", self._settings.aggregations),
            ("gates", self._settings.gates),
        )
        for section, parts in sections:
            for index, part in enumerate(parts):
                yield (section, index), part

    def _of_gate(self, place: Place, gate: GateSettings) -> Iterator[Wire]:
        for label, destination in gate.routes.items():
            if destination == CONTINUE:
                yield _onward(place, label, self._following(place))
            elif destination != FORK:
                yield Wire(origin=place, label=label, target=sink_place(destination), mode=RoutingMode.MOVE)
        for branch in gate.fork_to or ():
            yield Wire(origin=place, label=branch, target=self._beginning(branch), mode=RoutingMode.COPY)

    def _beginning(self, branch: str | None) -> Place:
        line = self._lines.get(branch)
        return line[0] if line else self._end(branch)

    def _following(self, place: Place) -> Place:
        branch = self._line_of[place]
        line = self._lines[branch]
        position = line.index(place) + 1
        return line[position] if position < len(line) else self._end(branch)

    def _end(self, branch: str | None) -> Place:
        if branch is None:
            return sink_place(self._settings.output_sink)
        return self.joins.get(branch, sink_place(branch))


def _onward(place: Place, label: str, target: Place) -> Wire:
    return Wire(origin=place, label=label, target=target, mode=RoutingMode.MOVE, is_onward=True)


def _diversion(place: Place, label: str, destination: object) -> Iterator[Wire]:
    if isinstance(destination, str) and destination != DISCARD:
        yield Wire(origin=place, label=label, target=sink_place(destination), mode=RoutingMode.DIVERT)

"""The graph of settings in the positional form.

Rows run along *lines*. The main line leads from the source to the output sink, and each branch of a fork is a line of
its own. A line consists of its transforms, then its aggregations, then its gates, each kind in the order of the file. A
branch ends at the coalesce that lists it, or else at the sink of its name. The rows that a coalesce merges continue
behind the gate that forked them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from elspeth.contracts.enums import RoutingMode
from elspeth.contracts.routing import CONTINUE, FORK
from elspeth.core.settings.model import PositionalSettings
from elspeth.core.settings.steps import (
    PositionalAggregationSettings,
    PositionalGateSettings,
    PositionalTransformSettings,
)
from elspeth.core.settings.wiring import Place, Wire, sink_place

__all__ = ["PositionalGraph"]

_PartOnLine = PositionalTransformSettings | PositionalAggregationSettings | PositionalGateSettings


class PositionalGraph:
    """The edges of a pipeline that follow from positions.

    A line is a list of places, stored by the name of its branch, or by None for the main line. All names in the
    settings must resolve.
    """

    def __init__(self, settings: PositionalSettings) -> None:
        self._settings = settings
        self.joins: dict[str, Place] = {
            branch: ("coalesce", index) for index, join in enumerate(settings.coalesce) for branch in join.branches
        }
        self._lines: dict[str | None, list[Place]] = {}
        for place, part in self._parts_on_lines():
            self._lines.setdefault(part.branch, []).append(place)
        self._line_of = {place: branch for branch, line in self._lines.items() for place in line}

    def wires(self) -> Iterator[Wire]:
        """Yield the edges that rows take unless they fail."""
        yield self._wire(("datasource",), CONTINUE, self._beginning(None), None)
        for place, part in self._parts_on_lines():
            if isinstance(part, PositionalGateSettings):
                yield from self._of_gate(place, part)
            else:
                yield self._wire(place, CONTINUE, self._following(place), part.branch)
        for index, join in enumerate(self._settings.coalesce):
            fork = next(
                ("gates", number)
                for number, gate in enumerate(self._settings.gates)
                if join.branches[0] in (gate.fork_to or ())
            )
            yield self._wire(("coalesce", index), CONTINUE, self._following(fork), self._line_of[fork])

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

    def _of_gate(self, place: Place, gate: PositionalGateSettings) -> Iterator[Wire]:
        for label, destination in gate.routes.items():
            if destination == CONTINUE:
                yield self._wire(place, label, self._following(place), gate.branch)
            elif destination != FORK:
                yield Wire(origin=place, label=label, target=sink_place(destination), mode=RoutingMode.MOVE)
        for branch in gate.fork_to or ():
            yield self._wire(place, branch, self._beginning(branch), branch, RoutingMode.COPY)

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

    def _wire(
        self, place: Place, label: str, target: Place, branch: str | None, mode: RoutingMode = RoutingMode.MOVE
    ) -> Wire:
        """Return an edge along a line.

        An edge into a coalesce has the name of the branch.
        """
        return Wire(
            origin=place,
            label=label,
            target=target,
            mode=mode,
            completes=mode is RoutingMode.MOVE and target == sink_place(self._settings.output_sink),
            connection=branch if target[0] == "coalesce" else None,
        )

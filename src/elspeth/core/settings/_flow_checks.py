"""Checks of the ways that rows take through the graph.

They run on settings in which all names resolve.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError

from elspeth.contracts.enums import RoutingMode
from elspeth.contracts.plugins import PluginCatalogue
from elspeth.core.settings._branch_checks import place_of_branch
from elspeth.core.settings.graph import wire
from elspeth.core.settings.model import PositionalSettings, Settings
from elspeth.core.settings.problems import Problem, location_text
from elspeth.core.settings.steps import WiredCoalesceSettings
from elspeth.core.settings.wiring import Place, Wiring, sink_place

__all__ = ["flow_problems"]


def flow_problems(settings: Settings, plugins: PluginCatalogue) -> Iterator[Problem]:
    """Yield cycles, unreachable parts, and joins that cannot work."""
    wiring = wire(settings)
    try:
        order = wiring.places()
    except CycleError as error:
        way = " -> ".join(location_text(place) for place in reversed(error.args[1]))
        yield Problem(location=error.args[1][0], message=f"rows would go in a circle: {way}")
        return
    unreachable = list(_unreachable(settings, wiring))
    yield from unreachable
    if not unreachable:
        yield from _Branches(settings, wiring, plugins).problems(order)


def _unreachable(settings: Settings, wiring: Wiring) -> Iterator[Problem]:
    reached = wiring.reached()
    targets = {each.target for each in wiring.wires}
    places: list[Place] = [*settings.transform_parts]
    for section in ("aggregations", "gates", "coalesce"):
        places += [(section, index) for index in range(len(getattr(settings, section)))]
    cut_off = [place for place in places if place not in reached]
    for place in cut_off:
        if place not in targets:  # places behind an unreachable one are not reported
            last = _last_reached(settings, place, reached)
            why = f"no route of {last} continues" if last else "nothing leads to it"
            yield Problem(location=place, message=f"no row comes here: {why}")
    if not cut_off:
        export = settings.landscape.export
        for name in settings.sinks:
            if sink_place(name) not in reached and not (export.enabled and name == export.sink):
                message = "no row comes here: no route leads to this sink"
                yield Problem(location=sink_place(name), message=message)


def _last_reached(settings: Settings, place: Place, reached: set[Place]) -> str | None:
    """Return the gate before a place, if rows reach it."""
    section, index = place
    if section != "gates" or not isinstance(index, int) or not isinstance(settings, PositionalSettings):
        return None
    branch = settings.gates[index].branch
    line = [number for number, gate in enumerate(settings.gates[:index]) if gate.branch == branch]
    return f"gates[{line[-1]}]" if line and ("gates", line[-1]) in reached else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Branch:
    """A branch that a coalesce waits for."""

    gate: Place
    name: str


_Inside = set[_Branch | None]
"""The innermost branches on which rows may be, or None for rows on no branch that is joined."""


class _Branches:
    """Finds the branches on which rows may be.

    A row that is to be joined must stay a single row, and must reach its own coalesce.
    """

    def __init__(self, settings: Settings, wiring: Wiring, plugins: PluginCatalogue) -> None:
        self._settings = settings
        self._wiring = wiring
        self._plugins = plugins
        self._inside: dict[Place, _Inside] = {source: {None} for source in wiring.sources}
        self._arriving: dict[Place, dict[str | None, _Inside]] = {}

    def problems(self, order: list[Place]) -> Iterator[Problem]:
        """Yield the problems that keep branches from being joined.

        `order` holds each place after all places that lead to it.
        """
        for place in order:
            inside = self._inside.get(place, set())
            if place[0] == "coalesce":
                yield from self._join_problems(place)
                inside = self._after_join(place)
            else:
                yield from self._step_problems(place, inside)
            for each in self._wiring.leaving(place):
                if each.mode is RoutingMode.DIVERT:
                    continue
                leaving = inside
                if each.mode is RoutingMode.COPY:
                    leaving = {_Branch(gate=place, name=each.label) if each.label in self._wiring.joins else None}
                self._inside.setdefault(each.target, set()).update(leaving)
                arriving = self._arriving.setdefault(each.target, {})
                arriving.setdefault(each.connection, set()).update(leaving)

    def _after_join(self, place: Place) -> _Inside:
        """Return the branches around the fork that is joined."""
        found: _Inside = set()
        for branch in self._inside.get(place, set()):
            if branch is not None and self._wiring.joins[branch.name] == place:
                found |= self._inside[branch.gate]
        return found or {None}

    def _step_problems(self, place: Place, inside: _Inside) -> Iterator[Problem]:
        """Yield problems of steps that multiply or absorb rows."""
        joined = sorted(branch.name for branch in inside if branch is not None)
        if not joined:
            return
        cannot = f"rows of the branch {joined[0]!r} are joined again, each with those of its own fork"
        if place in self._settings.transform_parts:
            step = self._settings.transform_parts[place]
            if self._plugins.expands(step.plugin, step.options):
                yield Problem(
                    location=place_of_branch(self._settings, place),
                    message=f"{step.plugin!r} may make several rows of one, but {cannot}",
                )
        elif place[0] == "aggregations" and isinstance(place[1], int):
            mode = self._settings.aggregations[place[1]].output_mode
            if mode != "passthrough":
                message = f"expected 'passthrough', got {mode!r}: {cannot}"
                yield Problem(location=(*place, "output_mode"), message=message)
        elif place[0] == "gates":
            copies = [each.label for each in self._wiring.leaving(place) if each.mode is RoutingMode.COPY]
            meeting = {self._wiring.joins[label] for label in copies if label in self._wiring.joins}
            if len(meeting) > 1:
                message = f"meets again at {len(meeting)} coalesce steps, but {cannot}: expected at most one"
                yield Problem(location=(*place, "fork_to"), message=message)

    def _join_problems(self, place: Place) -> Iterator[Problem]:
        """Yield problems of a coalesce that gets other branches' rows."""
        index = place[-1]
        join = self._settings.coalesce[index] if isinstance(index, int) else None
        if not isinstance(join, WiredCoalesceSettings):
            return  # in the positional form, a branch leads to its coalesce by its name
        for key, (branch, connection) in enumerate(join.arrivals.items()):
            location = (*place, "branches", branch if isinstance(join.branches, dict) else key)
            arriving = self._arriving.get(place, {}).get(connection, set())
            others = sorted({"no branch" if each is None else repr(each.name) for each in arriving} - {repr(branch)})
            if others:
                message = f"rows of {' and '.join(others)} come here by the connection {connection!r}"
                yield Problem(location=location, message=f"{message}: expected only those of the branch {branch!r}")
            elif not arriving:
                message = f"no row of the branch {branch!r} comes here by the connection {connection!r}"
                yield Problem(location=location, message=message)

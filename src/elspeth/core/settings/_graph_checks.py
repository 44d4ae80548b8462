"""Checks of the graph that settings describe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from graphlib import CycleError
from itertools import chain

from elspeth.contracts.plugins import PluginCatalogue, PluginKind
from elspeth.contracts.routing import CONTINUE, FORK
from elspeth.core.settings.model import CoalesceSettings, GateSettings, Parts, Settings
from elspeth.core.settings.problems import Location, Problem, did_you_mean
from elspeth.core.settings.wiring import Place, Wiring, sink_place, wire

__all__ = ["branch_problems", "coalesce_problems", "wiring_problems"]


def branch_problems(parts: Parts, plugins: PluginCatalogue) -> Iterator[Problem]:
    """Yield branches without a fork, an end or a join."""
    joined = {branch for join in parts.coalesce.values() for branch in join.branches}
    for index, gate in parts.gates.items():
        yield from _fork_problems(("gates", index), gate, parts, joined)
    forked = {branch for gate in parts.gates.values() for branch in gate.fork_to or ()}
    for place, branch in _parts_on_lines(parts):
        if branch is not None and branch not in forked:
            message = f"no gate forks to {branch!r}: expected one of {', '.join(sorted(forked)) or 'no branch at all'}"
            yield Problem(location=(*place, "branch"), message=message + did_you_mean(branch, forked))
    yield from _multiplying_problems(parts, plugins, joined)


def _fork_problems(place: Place, gate: GateSettings, parts: Parts, joined: set[str]) -> Iterator[Problem]:
    branches = gate.fork_to or []
    if FORK in gate.routes.values() and not branches:
        yield Problem(location=(*place, "fork_to"), message="is required when a route forks: name the branches")
    if branches and FORK not in gate.routes.values():
        message = "names branches, but no route forks: expected a route with the destination 'fork'"
        yield Problem(location=(*place, "fork_to"), message=message)
    for position, branch in enumerate(branches):
        location: Location = (*place, "fork_to", position)
        if branch in branches[:position]:
            yield Problem(location=location, message=f"branch {branch!r} is named twice")
        elif branch in gate.routes or branch == CONTINUE:
            message = f"{branch!r} is a route of this gate already: give the branch another name"
            yield Problem(location=location, message=message)
        elif branch in joined and branch in parts.sinks:
            message = f"{branch!r} is both a sink and a branch of a coalesce: give one of them another name"
            yield Problem(location=location, message=message)
        elif branch == parts.export_sink:
            message = f"sink {branch!r} takes the export of the audit trail: rows need another sink"
            yield Problem(location=location, message=message)
        elif branch not in joined and branch not in parts.sinks:
            known = [*joined, *parts.sinks]
            message = f"branch {branch!r} leads nowhere: no coalesce lists it, and no sink has its name"
            yield Problem(location=location, message=message + did_you_mean(branch, known))


def coalesce_problems(parts: Parts) -> Iterator[Problem]:
    """Yield coalesce steps that cannot work."""
    forks: dict[str, list[int]] = {}
    for index, gate in parts.gates.items():
        for branch in set(gate.fork_to or ()):
            forks.setdefault(branch, []).append(index)
    taken: dict[str, int] = {}
    for index, join in parts.coalesce.items():
        yield from _option_problems(("coalesce", index), join)
        origins: set[int] = set()
        for position, branch in enumerate(join.branches):
            location: Location = ("coalesce", index, "branches", position)
            gates = forks.get(branch, [])
            origins.update(gates)
            if not gates:
                known = ", ".join(sorted(forks)) or "no branch at all"
                message = f"no gate forks to {branch!r}: expected one of {known}{did_you_mean(branch, forks)}"
                yield Problem(location=location, message=message)
            elif len(gates) > 1:
                names = " and ".join(f"gates[{gate}]" for gate in gates)
                message = f"{names} fork to {branch!r}: a branch that is joined needs one fork"
                yield Problem(location=location, message=message)
            elif taken.setdefault(branch, index) != index or branch in join.branches[:position]:
                message = f"branch {branch!r} is listed by coalesce[{taken[branch]}] already: a branch is joined once"
                yield Problem(location=location, message=message)
        if len(origins) > 1 and all(len(forks.get(branch, [])) == 1 for branch in join.branches):
            names = " and ".join(f"gates[{gate}]" for gate in sorted(origins))
            message = f"the branches come from {names}: branches that meet must come from one fork"
            yield Problem(location=("coalesce", index, "branches"), message=message)


def _option_problems(place: Place, join: CoalesceSettings) -> Iterator[Problem]:
    if join.policy == "quorum" and join.quorum_count is None:
        yield Problem(location=(*place, "quorum_count"), message="is required by the policy 'quorum'")
    if join.policy != "quorum" and join.quorum_count is not None:
        message = f"belongs to the policy 'quorum', got the policy {join.policy!r}"
        yield Problem(location=(*place, "quorum_count"), message=message)
    if join.quorum_count is not None and join.quorum_count > len(join.branches):
        message = f"expected at most the {len(join.branches)} branches, got {join.quorum_count}"
        yield Problem(location=(*place, "quorum_count"), message=message)
    if join.policy == "best_effort" and join.timeout_seconds is None:
        yield Problem(location=(*place, "timeout_seconds"), message="is required by the policy 'best_effort'")
    if join.merge == "select" and join.select_branch not in join.branches:
        message = f"expected one of the branches {', '.join(join.branches)}, got {join.select_branch!r}"
        yield Problem(location=(*place, "select_branch"), message=message)
    if join.merge != "select" and join.select_branch is not None:
        message = f"belongs to the merge 'select', got the merge {join.merge!r}"
        yield Problem(location=(*place, "select_branch"), message=message)


def _multiplying_problems(parts: Parts, plugins: PluginCatalogue, joined: set[str]) -> Iterator[Problem]:
    """Yield parts of joined branches that multiply or absorb tokens.

    A token that is to be joined has to stay one token.
    """
    cannot = "rows of this branch are joined again, each with those of its own fork"
    for index, transform in parts.row_plugins.items():
        known = transform.plugin in plugins.names(PluginKind.TRANSFORM)
        if transform.branch in joined and known and plugins.expands(transform.plugin):
            message = f"{transform.plugin!r} may make several rows of one, but {cannot}"
            yield Problem(location=("row_plugins", index, "branch"), message=message)
    for index, aggregation in parts.aggregations.items():
        if aggregation.branch in joined and aggregation.output_mode != "passthrough":
            message = f"expected 'passthrough', got {aggregation.output_mode!r}: {cannot}"
            yield Problem(location=("aggregations", index, "output_mode"), message=message)
    for index, gate in parts.gates.items():
        meeting = {
            number for number, join in parts.coalesce.items() if not set(join.branches).isdisjoint(gate.fork_to or ())
        }
        if gate.branch in joined and len(meeting) > 1:
            message = f"meets again at {len(meeting)} coalesce steps, but {cannot}: expected at most one"
            yield Problem(location=("gates", index, "fork_to"), message=message)


def _parts_on_lines(parts: Parts) -> Iterator[tuple[Place, str | None]]:
    """Yield the place and branch of everything on lines."""
    for index, transform in parts.row_plugins.items():
        yield ("row_plugins", index), transform.branch
    for index, aggregation in parts.aggregations.items():
        yield ("aggregations", index), aggregation.branch
    for index, gate in parts.gates.items():
        yield ("gates", index), gate.branch


def wiring_problems(settings: Settings) -> Iterator[Problem]:
    """Yield cycles and parts that no row can reach.

    All names in the settings must resolve.
    """
    wiring = wire(settings)
    try:
        wiring.places()
    except CycleError as error:
        way = " -> ".join(Problem(location=place, message="").path for place in reversed(error.args[1]))
        yield Problem(location=error.args[1][0], message=f"rows would go in a circle: {way}")
        return
    yield from _unreachable(settings, wiring)


def _unreachable(settings: Settings, wiring: Wiring) -> Iterator[Problem]:
    reached = wiring.reached()
    before: Mapping[Place, list[str]] = _origins(wiring)
    places = chain(
        (("row_plugins", index) for index in range(len(settings.row_plugins))),
        (("aggregations", index) for index in range(len(settings.aggregations))),
        (("gates", index) for index in range(len(settings.gates))),
        (("coalesce", index) for index in range(len(settings.coalesce))),
    )
    cut_off = [place for place in places if place not in reached]
    for place in cut_off:
        if not before.get(place):  # what follows an unreachable part is unreachable because of it
            last = _last_reached(settings, place, reached)
            why = f"no route of {last} continues" if last else "nothing leads to it"
            yield Problem(location=place, message=f"no row comes here: {why}")
    if not cut_off:
        export = settings.landscape.export
        for name in settings.sinks:
            if sink_place(name) not in reached and not (export.enabled and name == export.sink):
                message = "no row comes here: no route leads to this sink"
                yield Problem(location=sink_place(name), message=message)


def _origins(wiring: Wiring) -> dict[Place, list[str]]:
    origins: dict[Place, list[str]] = {}
    for each in wiring.wires:
        origins.setdefault(each.target, []).append(each.label)
    return origins


def _last_reached(settings: Settings, place: Place, reached: set[Place]) -> str | None:
    """Return the gate before a place, if rows reach it."""
    section, index = place
    if section != "gates" or not isinstance(index, int):
        return None
    branch = settings.gates[index].branch
    line = [number for number, gate in enumerate(settings.gates[:index]) if gate.branch == branch]
    return f"gates[{line[-1]}]" if line and ("gates", line[-1]) in reached else None

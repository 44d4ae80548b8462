"""Checks of forks and of coalesces."""

from __future__ import annotations

from collections.abc import Iterator

from elspeth.contracts.routing import CONTINUE, FORK
from elspeth.core.settings.model import PositionalSettings, Settings
from elspeth.core.settings.parts import Parts
from elspeth.core.settings.problems import Location, Problem
from elspeth.core.settings.steps import (
    CoalesceSettings,
    GateSettings,
    PositionalAggregationSettings,
    PositionalGateSettings,
    PositionalTransformSettings,
)
from elspeth.core.settings.wiring import Place
from elspeth.core.suggestions import did_you_mean

__all__ = ["branch_problems", "coalesce_problems", "place_of_branch"]


def branch_problems(parts: Parts) -> Iterator[Problem]:
    """Yield problems of branches without a fork, end or join."""
    joined = {branch for join in parts.coalesce.values() for branch in join.branches}
    for index, gate in parts.gates.items():
        yield from _fork_problems(("gates", index), gate, parts, joined)
    if parts.is_wired:
        return
    forked = {branch for gate in parts.gates.values() for branch in gate.fork_to or ()}
    for place, branch in _parts_on_lines(parts):
        if branch is not None and branch not in forked:
            message = f"no gate forks to {branch!r}: expected one of {', '.join(sorted(forked)) or 'no branch at all'}"
            yield Problem(location=(*place, "branch"), message=message + did_you_mean(branch, forked))


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
        elif parts.is_wired:
            continue  # a branch is a connection there
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
    """Yield problems of coalesce steps."""
    forks: dict[str, list[int]] = {}
    for index, gate in parts.gates.items():
        for branch in set(gate.fork_to or ()):
            forks.setdefault(branch, []).append(index)
    taken: dict[str, int] = {}
    for index, join in parts.coalesce.items():
        yield from _option_problems(("coalesce", index), join)
        origins: set[int] = set()
        branches = list(join.branches)
        for position, branch in enumerate(branches):
            key = branch if isinstance(join.branches, dict) else position
            location: Location = ("coalesce", index, "branches", key)
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
            elif taken.setdefault(branch, index) != index or branch in branches[:position]:
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
    if join.merge != "union" and join.union_collision_policy is not None:
        message = f"belongs to the merge 'union', got the merge {join.merge!r}"
        yield Problem(location=(*place, "union_collision_policy"), message=message)


def _parts_on_lines(parts: Parts) -> Iterator[tuple[Place, str | None]]:
    """Yield the place and branch of everything on lines."""
    steps: dict[Place, object] = {**parts.transforms}
    steps |= {("aggregations", index): each for index, each in parts.aggregations.items()}
    steps |= {("gates", index): each for index, each in parts.gates.items()}
    for place, step in steps.items():
        if isinstance(step, PositionalTransformSettings | PositionalAggregationSettings | PositionalGateSettings):
            yield place, step.branch


def place_of_branch(settings: Settings, place: Place) -> Location:
    """Return the location of the key for a step's branch."""
    return (*place, "branch" if isinstance(settings, PositionalSettings) else "input")

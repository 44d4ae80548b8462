"""Finds the writers and the reader of each connection.

They are read from the tree of a settings file, so that an invalid section does not hide the problems of another one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from elspeth.contracts.enums import RoutingMode
from elspeth.contracts.routing import CONTINUE, FORK
from elspeth.core.settings.model import WiredSettings
from elspeth.core.settings.problems import Location
from elspeth.core.settings.wiring import Place, Wire, sink_place

__all__ = ["Connections", "Use", "WiredGraph"]

_Tree = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """A place in the settings that names a connection.

    `label` and `mode` are those of the edge along which it writes; they mean nothing for a place that reads.
    """

    connection: str
    place: Place
    location: Location
    label: str = CONTINUE
    mode: RoutingMode = RoutingMode.MOVE


@dataclass(frozen=True, kw_only=True)
class Connections:
    """The connections of a pipeline.

    The connections that are read do not include sinks. `lacks_writer` and `lacks_reader` say that some step does not
    name the connection that it writes to or reads.
    """

    writes: Sequence[Use]
    reads: Sequence[Use]
    sinks: Sequence[str]
    queues: Sequence[str]
    lacks_writer: bool
    lacks_reader: bool

    @classmethod
    def of(cls, tree: _Tree) -> Connections:
        """Read the connections of a settings tree, valid or not."""
        writes, reads = tuple(_writes(tree)), tuple(_reads(tree))
        steps = {
            place
            for section in ("transforms", "aggregations", "gates", "coalesce")
            for place, _ in _steps(tree, section)
        }
        sources = {place for place, _ in _sources(tree)}
        mute = [
            gate
            for _, gate in _steps(tree, "gates")
            if not gate.get("fork_to") and FORK in _mapping(gate.get("routes")).values()
        ]
        return cls(
            writes=writes,
            reads=reads,
            lacks_writer=bool(mute) or not sources or not sources | steps <= {use.place for use in writes},
            lacks_reader=not steps <= {use.place for use in reads},
            sinks=tuple(_mapping(tree.get("sinks"))),
            queues=tuple(_mapping(tree.get("queues"))),
        )

    @cached_property
    def readers(self) -> Mapping[str, Place]:
        """Return the reader of each connection, including sinks."""
        found = {use.connection: use.place for use in reversed(self.reads)}
        return found | {name: sink_place(name) for name in self.sinks}


class WiredGraph:
    """The edges of a pipeline that its connections imply.

    All names in the settings must resolve.
    """

    def __init__(self, settings: WiredSettings) -> None:
        self._connections = Connections.of(settings.model_dump())
        self.joins: dict[str, Place] = {
            branch: ("coalesce", index) for index, join in enumerate(settings.coalesce) for branch in join.branches
        }

    def wires(self) -> Iterator[Wire]:
        """Yield the edges that rows take unless they fail."""
        readers = self._connections.readers
        for use in self._connections.writes:
            target = readers[use.connection]
            yield Wire(
                origin=use.place,
                label=use.label,
                target=target,
                mode=use.mode,
                completes=use.location[0] != "gates" and target[0] == "sinks",
                connection=None if target[0] == "sinks" else use.connection,
            )


def _writes(tree: _Tree) -> Iterator[Use]:
    for place, source in _sources(tree):
        yield from _use(source, place, "on_success")
    for section in ("transforms", "aggregations"):
        for place, step in _steps(tree, section):
            yield from _use(step, place, "on_success")
    for place, gate in _steps(tree, "gates"):
        for label, target in _mapping(gate.get("routes")).items():
            if isinstance(target, str) and target != FORK:
                yield Use(connection=target, place=place, location=(*place, "routes", label), label=label)
        branches = gate.get("fork_to")
        for position, branch in enumerate(branches if isinstance(branches, list) else []):
            if isinstance(branch, str):
                location: Location = (*place, "fork_to", position)
                yield Use(connection=branch, place=place, location=location, label=branch, mode=RoutingMode.COPY)
    for place, join in _steps(tree, "coalesce"):
        yield from _use(join, place, "name" if join.get("on_success") is None else "on_success")


def _reads(tree: _Tree) -> Iterator[Use]:
    for section in ("transforms", "aggregations", "gates"):
        for place, step in _steps(tree, section):
            yield from _use(step, place, "input")
    for place, join in _steps(tree, "coalesce"):
        match join.get("branches"):
            case list() as names:
                arrivals: Sequence[tuple[str | int, object]] = list(enumerate(names))
            case dict() as mapping:
                arrivals = list(mapping.items())
            case _:
                arrivals = []
        for key, connection in arrivals:
            if isinstance(connection, str):
                yield Use(connection=connection, place=place, location=(*place, "branches", key))


def _sources(tree: _Tree) -> Iterator[tuple[Place, _Tree]]:
    if isinstance(source := tree.get("source"), dict):
        yield ("source",), source
    for name, source in _mapping(tree.get("sources")).items():
        if isinstance(source, dict):
            yield ("sources", name), source


def _steps(tree: _Tree, section: str) -> Iterator[tuple[Place, _Tree]]:
    steps = tree.get(section)
    for index, step in enumerate(steps if isinstance(steps, list) else []):
        if isinstance(step, dict):
            yield (section, index), step


def _use(step: _Tree, place: Place, key: str) -> Iterator[Use]:
    connection = step.get(key)
    if isinstance(connection, str):
        yield Use(connection=connection, place=place, location=(*place, key))


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}

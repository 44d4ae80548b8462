"""Checks of the connections by which steps are wired."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from elspeth.contracts.enums import RoutingMode
from elspeth.contracts.routing import CONTINUE, DISCARD, FORK
from elspeth.core.settings._connections import Connections, Use
from elspeth.core.settings.parts import Parts
from elspeth.core.settings.problems import Location, Problem, location_text
from elspeth.core.settings.wiring import Place
from elspeth.core.suggestions import did_you_mean, nearest

__all__ = ["connection_problems"]

_RESERVED = (CONTINUE, DISCARD, FORK)


def connection_problems(tree: Mapping[str, object], parts: Parts) -> Iterator[Problem]:
    """Yield problems of connections without clear ends."""
    connections = Connections.of(tree)
    if not tree.get("source") and not tree.get("sources"):
        yield Problem(location=("sources",), message="is required but missing: name at least one source")
    yield from _name_problems(tree)
    reading, writing = list(_reading_problems(connections)), list(_writer_problems(connections))
    yield from reading
    yield from _queue_problems(connections)
    ends = {*connections.readers, *_RESERVED}
    unread = [use for use in connections.writes if use.connection not in ends]
    for use in connections.writes:
        if use.connection in _RESERVED:
            yield Problem(location=use.location, message=_reserved_message(use, connections))
        elif use.connection == parts.export_sink:
            message = f"sink {use.connection!r} takes the export of the audit trail: rows need another sink"
            yield Problem(location=use.location, message=message)
    may_lack_writer = (
        bool(writing) or connections.lacks_writer or any(use.connection in _RESERVED for use in connections.writes)
    )
    yield from _end_problems(
        connections, unread, may_lack_writer=may_lack_writer, may_lack_reader=bool(reading) or connections.lacks_reader
    )
    yield from writing


def _reserved_message(use: Use, connections: Connections) -> str:
    advice = f"name the connection or sink to which rows go: one of {_listed(connections.readers)}"
    if use.connection == CONTINUE:
        return f"steps that are wired by names have no position to continue from: {advice}"
    if use.connection == DISCARD:
        return f"{DISCARD!r} is for rows that fail; others need a sink, such as one with the plugin 'null': {advice}"
    return f"{use.connection!r} is a route of gates, not a connection: {advice}"


def _name_problems(tree: Mapping[str, object]) -> Iterator[Problem]:
    """Yield steps with a name that another step has."""
    seen: dict[str, str] = {}
    for section in ("transforms", "aggregations", "gates", "coalesce"):
        steps = tree.get(section)
        for index, step in enumerate(steps if isinstance(steps, list) else []):
            name = step.get("name") if isinstance(step, dict) else None
            if not isinstance(name, str):
                continue
            if name in seen:
                message = f"the name {name!r} is taken by {seen[name]}: give each its own"
                yield Problem(location=(section, index, "name"), message=message)
            seen.setdefault(name, f"{section}[{index}]")


def _reading_problems(connections: Connections) -> Iterator[Problem]:
    """Yield inputs that are sinks or have another reader."""
    first: dict[str, Use] = {}
    for use in connections.reads:
        other = first.setdefault(use.connection, use)
        message = None
        if use.connection in connections.sinks:
            message = f"{use.connection!r} is a sink, from which no step reads: name the connection before it"
        elif use.connection in _RESERVED:
            message = f"the name {use.connection!r} is reserved: give the connection another one"
        elif other.place != use.place:
            where = location_text(other.place)
            message = f"the connection {use.connection!r} is read by {where} already: "
            message += "a row goes one way, and a gate with the route 'fork' copies it"
        elif other is not use:
            message = f"a branch arrives on the connection {use.connection!r} already: give each its own"
        if message is not None:
            yield Problem(location=use.location, message=message)


def _queue_problems(connections: Connections) -> Iterator[Problem]:
    """Yield queues that are sinks or unused."""
    read = {use.connection for use in connections.reads}
    written = {use.connection for use in connections.writes}
    for name in connections.queues:
        location: Location = ("queues", name)
        if name in connections.sinks:
            message = f"{name!r} is a sink, which takes rows of several steps without a queue: leave this out"
            yield Problem(location=location, message=message)
        elif name in _RESERVED:
            yield Problem(location=location, message=f"the name {name!r} is reserved: give the queue another one")
        elif name not in read and name not in written:
            known = read | written
            message = f"no step writes to the queue {name!r}, and none reads it{did_you_mean(name, sorted(known))}"
            yield Problem(location=location, message=message)


def _end_problems(
    connections: Connections, unread: Sequence[Use], *, may_lack_writer: bool, may_lack_reader: bool
) -> Iterator[Problem]:
    """Yield connections without a writer or a reader.

    A misspelt name causes both: then one problem is reported, at the reader. Nothing is reported about a writer or
    reader that may be missing because of another problem.
    """
    written = {use.connection for use in connections.writes}
    known = sorted(written - {*connections.sinks, *_RESERVED})
    loose = {use.connection: use for use in reversed(unread)}
    unwritten = [use for use in connections.reads if use.connection not in {*written, *connections.sinks, *_RESERVED}]
    for use in unwritten:
        only = next(iter(loose)) if len(loose) == len({each.connection for each in unwritten}) == 1 else None
        name = nearest(use.connection, sorted(loose)) or only
        message = f"no step writes to the connection {use.connection!r}"
        if name is not None:
            where = location_text(loose[name].location)
            message += f", and none reads that of {where}; did you mean {name!r}?"
            unread = [each for each in unread if each.connection != name]
            yield Problem(location=use.location, message=message)
        elif not may_lack_writer or nearest(use.connection, known):
            message += f": expected one of {_listed(known)}{did_you_mean(use.connection, known)}"
            yield Problem(location=use.location, message=message)
    readers = list(connections.readers)
    for use in unread:
        if not may_lack_reader or nearest(use.connection, readers):
            what = "branch" if use.mode is RoutingMode.COPY else "connection"
            message = f"no step reads the {what} {use.connection!r}, and no sink has this name"
            message += f": expected one of {_listed(readers)}{did_you_mean(use.connection, readers)}"
            yield Problem(location=use.location, message=message)


def _writer_problems(connections: Connections) -> Iterator[Problem]:
    """Yield connections that several steps write to without a queue."""
    first: dict[str, Place] = {}
    for use in connections.writes:
        if use.connection in connections.sinks or use.connection not in connections.readers:
            continue
        other = first.setdefault(use.connection, use.place)
        if other != use.place and use.connection not in connections.queues:
            where = location_text(other)
            message = (
                f"{where} writes to the connection {use.connection!r}, too: "
                f"a connection of several steps needs an entry in queues, as in queues: {{{use.connection}: {{}}}}"
            )
            yield Problem(location=use.location, message=message)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "nothing at all"

"""Builds the graph of a pipeline from its settings."""

from __future__ import annotations

from collections.abc import Iterator

from elspeth.contracts.enums import RoutingMode
from elspeth.contracts.routing import DISCARD, ON_ERROR, QUARANTINE
from elspeth.core.settings._connections import WiredGraph
from elspeth.core.settings._positions import PositionalGraph
from elspeth.core.settings.model import PositionalSettings, Settings, WiredSettings
from elspeth.core.settings.wiring import Place, Wire, Wiring, sink_place

__all__ = ["wire"]


def wire(settings: Settings) -> Wiring:
    """Return the graph of a pipeline.

    All names in the settings must resolve.
    """
    graph: PositionalGraph | WiredGraph
    if isinstance(settings, WiredSettings):
        graph = WiredGraph(settings)
    elif isinstance(settings, PositionalSettings):
        graph = PositionalGraph(settings)
    else:
        raise TypeError(f"expected settings in one of two forms, got {type(settings).__name__}")
    leaving: dict[Place, list[Wire]] = {}
    for each in graph.wires():
        leaving.setdefault(each.origin, []).append(each)
    for each in _diversions(settings):
        leaving.setdefault(each.origin, []).append(each)
    wires = [each for found in leaving.values() for each in found]
    return Wiring(sources=tuple(settings.source_parts), wires=wires, joins=graph.joins)


def _diversions(settings: Settings) -> Iterator[Wire]:
    """Yield the edges that rows take when they fail."""
    for place, source in settings.source_parts.items():
        yield from _diversion(place, QUARANTINE, source.options.get("on_validation_failure"))
    for place, transform in settings.transform_parts.items():
        yield from _diversion(place, ON_ERROR, transform.error_sink)
    for index, aggregation in enumerate(settings.aggregations):
        yield from _diversion(("aggregations", index), ON_ERROR, aggregation.error_sink)
    for name, sink in settings.sinks.items():
        yield from _diversion(sink_place(name), ON_ERROR, sink.on_write_failure)


def _diversion(place: Place, label: str, destination: object) -> Iterator[Wire]:
    if isinstance(destination, str) and destination != DISCARD:
        yield Wire(origin=place, label=label, target=sink_place(destination), mode=RoutingMode.DIVERT)

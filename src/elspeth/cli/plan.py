"""A pipeline as a plan to read before it is run."""

from __future__ import annotations

from collections.abc import Iterator

from elspeth.cli.text import aligned
from elspeth.core.secrets import mask_text, redact
from elspeth.core.settings.model import LandscapeSettings
from elspeth.engine.pipeline import DISCARD, Pipeline

__all__ = ["plan_as_data", "plan_as_text"]


def plan_as_text(pipeline: Pipeline) -> str:
    """The plan for people, a line for each part and each route. Shows no secrets."""
    return mask_text(aligned(_lines(pipeline)), redact)


def plan_as_data(pipeline: Pipeline) -> dict[str, object]:
    """The plan for programs: nodes, and edges between them."""
    return {
        "nodes": [
            {"node_id": node.node_id, "type": node.node_type, "name": node.name, "plugin": node.plugin_name}
            for node in pipeline.nodes
        ],
        "edges": [
            {"from": edge.from_node, "to": edge.to_node, "label": edge.label, "mode": edge.mode}
            for edge in pipeline.edges()
        ],
    }


def _lines(pipeline: Pipeline) -> Iterator[tuple[str, str]]:
    settings = pipeline.settings
    yield "source", _plugin(settings.datasource.plugin, settings.datasource.options.get("path"))
    invalid = pipeline.on_validation_failure
    yield "", "invalid rows: recorded and discarded" if invalid == DISCARD else f"invalid rows: to sink {invalid}"
    for gate in pipeline.gates:
        yield "gate", f"{gate.node.name}: {gate.condition.source}"
        for label, destination in gate.routes.items():
            yield "", f"{label}: {destination if destination == 'continue' else f'to sink {destination}'}"
    yield "output", f"to sink {settings.output_sink}"
    for name in pipeline.sinks:
        sink = settings.sinks[name]
        yield "sink", f"{name}: {_plugin(sink.plugin, sink.options.get('path'))}"
    yield from _landscape(settings.landscape, pipeline)


def _landscape(landscape: LandscapeSettings, pipeline: Pipeline) -> Iterator[tuple[str, str]]:
    yield "audit", landscape.url
    export = landscape.export
    if export.enabled and export.sink is not None:
        path = pipeline.settings.sinks[export.sink].options.get("path")
        yield "export", f"{export.sink}: {export.format} {path}, {'signed' if export.sign else 'not signed'}"


def _plugin(name: str, path: object) -> str:
    return name if path is None else f"{name} {path}"

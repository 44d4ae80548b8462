"""A pipeline as a plan to read before it is run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from elspeth.cli.text import aligned
from elspeth.contracts.enums import NodeType, RoutingMode
from elspeth.core.secrets import mask_text, redact
from elspeth.core.settings.model import AggregationSettings, CoalesceSettings, LandscapeSettings
from elspeth.core.settings.paths import export_form
from elspeth.core.settings.wiring import SOURCE, Place, Wire
from elspeth.engine.pipeline import Node, Pipeline

__all__ = ["plan_as_data", "plan_as_mermaid", "plan_as_text"]


def plan_as_text(pipeline: Pipeline) -> str:
    """The plan for people, a line for each part and each way out of it. Shows no secrets."""
    return mask_text(aligned(_lines(pipeline)), redact)


def plan_as_data(pipeline: Pipeline) -> dict[str, object]:
    """The plan for programs: nodes, and edges between them."""
    return {
        "nodes": [
            {"node_id": node.node_id, "type": node.node_type, "name": node.name, "plugin": node.plugin_name}
            for node in pipeline.nodes.values()
        ],
        "edges": [
            {"from": edge.from_node, "to": edge.to_node, "label": edge.label, "mode": edge.mode}
            for edge in pipeline.edges()
        ],
    }


def plan_as_mermaid(pipeline: Pipeline) -> str:
    """The graph as a Mermaid flowchart. Dotted lines are the ways of rows that failed."""
    ids = {place: f"n{number}" for number, place in enumerate(pipeline.nodes)}
    lines = ["flowchart TD"]
    for place, node in pipeline.nodes.items():
        opening, closing = _SHAPES.get(node.node_type, ("[", "]"))
        lines.append(f'    {ids[place]}{opening}"{_quoted(f"{node.node_type} {node.name}")}"{closing}')
    for wire in pipeline.wiring.wires:
        arrow = "-.->" if wire.mode is RoutingMode.DIVERT else "-->"
        label = "" if wire.is_onward and wire.label == "continue" else f'|"{_quoted(_way(wire))}"|'
        lines.append(f"    {ids[wire.origin]} {arrow}{label} {ids[wire.target]}")
    return mask_text("\n".join(lines), redact)


_SHAPES: Mapping[NodeType, tuple[str, str]] = {
    NodeType.SOURCE: ("([", "])"),
    NodeType.GATE: ("{", "}"),
    NodeType.SINK: ("[(", ")]"),
}


def _quoted(text: str) -> str:
    """Text inside the quotes of a Mermaid label, where entities are the only escapes."""
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")


def _lines(pipeline: Pipeline) -> Iterator[tuple[str, str]]:
    settings = pipeline.settings
    for place, node in pipeline.nodes.items():
        if node.node_type is not NodeType.SINK:
            yield from _part(pipeline, place, node)
    yield "output", f"to sink {settings.output_sink}"
    for name in pipeline.sinks:
        sink = settings.sinks[name]
        yield "sink", f"{name}: {_plugin(sink.plugin, sink.options.get('path'))}"
    yield from _landscape(settings.landscape, pipeline)


def _part(pipeline: Pipeline, place: Place, node: Node) -> Iterator[tuple[str, str]]:
    """A part of the pipeline and the ways out of it."""
    settings, index = pipeline.settings, place[-1] if isinstance(place[-1], int) else 0
    wires = pipeline.wiring.leaving(place)
    match node.node_type:
        case NodeType.SOURCE:
            yield "source", _plugin(settings.datasource.plugin, settings.datasource.options.get("path"))
            yield from _failing(pipeline, wires, "invalid rows")
        case NodeType.TRANSFORM:
            yield "transform", node.plugin_name + _standing(settings.row_plugins[index].branch)
            yield from _failing(pipeline, wires, "rows that fail")
        case NodeType.AGGREGATION:
            aggregation = settings.aggregations[index]
            yield "aggregation", f"{node.name}: {node.plugin_name}{_standing(aggregation.branch)}"
            yield "", f"batches: {_trigger(aggregation)}; output {aggregation.output_mode}"
            yield from _failing(pipeline, wires, "rows that fail")
        case NodeType.GATE:
            gate = settings.gates[index]
            yield "gate", f"{node.name}: {gate.condition}{_standing(gate.branch)}"
            for label, destination in gate.routes.items():
                words = {"continue": "continue", "fork": f"fork to {', '.join(gate.fork_to or ())}"}
                yield "", f"{label}: {words.get(destination, f'to sink {destination}')}"
            for wire in wires:
                if wire.mode is RoutingMode.COPY:
                    yield "", f"branch {wire.label}: {_target(pipeline, wire)}"
        case NodeType.COALESCE:
            join = settings.coalesce[index]
            yield "coalesce", f"{node.name}: {', '.join(join.branches)}"
            yield "", f"{_policy(join)}; merge {join.merge}{f' {join.select_branch}' if join.select_branch else ''}"
            yield "", f"merged: {_target(pipeline, wires[0])}"


def _failing(pipeline: Pipeline, wires: list[Wire], what: str) -> Iterator[tuple[str, str]]:
    diverted = next((wire for wire in wires if wire.mode is RoutingMode.DIVERT), None)
    yield "", f"{what}: recorded and discarded" if diverted is None else f"{what}: {_target(pipeline, diverted)}"


def _target(pipeline: Pipeline, wire: Wire) -> str:
    node = pipeline.nodes[wire.target]
    return f"to {node.node_type} {node.name}"


def _standing(branch: str | None) -> str:
    return "" if branch is None else f" (on branch {branch})"


def _trigger(aggregation: AggregationSettings) -> str:
    trigger, ways = aggregation.trigger, []
    if trigger.count is not None:
        ways.append(f"of {trigger.count} rows")
    if trigger.timeout_seconds is not None:
        ways.append(f"after {trigger.timeout_seconds:g} seconds")
    if trigger.condition is not None:
        ways.append(f"when {trigger.condition}")
    return ", ".join([*ways, "at the end of the source"])


def _policy(join: CoalesceSettings) -> str:
    policy = f"quorum of {join.quorum_count}" if join.quorum_count is not None else join.policy
    return policy if join.timeout_seconds is None else f"{policy} within {join.timeout_seconds:g} seconds"


def _way(wire: Wire) -> str:
    if wire.mode is RoutingMode.DIVERT:
        return "invalid" if wire.origin == SOURCE else "error"
    return wire.label


def _landscape(landscape: LandscapeSettings, pipeline: Pipeline) -> Iterator[tuple[str, str]]:
    yield "audit", mask_text(landscape.url, redact)
    export = landscape.export
    if export.enabled:
        sink = "" if export.sink is None else f"{export.sink}: "
        path = export.path or str(pipeline.settings.sinks[export.sink or ""].options["path"])
        form = export_form(export, path)
        yield "export", f"{sink}{form} {path}, {'signed' if export.sign else 'not signed'}"


def _plugin(name: str, path: object) -> str:
    return name if path is None else f"{name} {path}"

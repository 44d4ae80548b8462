"""Shows the plans of pipelines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from elspeth.cli.terminal import aligned, printable
from elspeth.contracts.enums import NodeType, RoutingMode
from elspeth.contracts.input_paths import path_texts
from elspeth.contracts.routing import CONTINUE, FORK
from elspeth.core.secrets import mask_text, redact
from elspeth.core.settings.landscape import LandscapeSettings
from elspeth.core.settings.model import PositionalSettings
from elspeth.core.settings.paths import export_compression, export_form
from elspeth.core.settings.steps import AggregationSettings, CoalesceSettings, GateSettings
from elspeth.core.settings.wiring import Place, Wire, sink_place
from elspeth.engine.pipeline import Node, Pipeline

__all__ = [
    "plan_as_data",
    "plan_as_mermaid",
    "plan_as_svg",
    "plan_as_text",
    "wire_label",
]

_SHAPES: Mapping[NodeType, tuple[str, str]] = {
    NodeType.SOURCE: ("([", "])"),
    NodeType.GATE: ("{", "}"),
    NodeType.SINK: ("[(", ")]"),
}
"""The brackets of a node's shape in Mermaid, by type of node."""


def plan_as_text(pipeline: Pipeline) -> str:
    """Return the plan for people, without secrets.

    It has a line for each part of the pipeline and for each route from it.
    """
    return mask_text(aligned(_plan_lines(pipeline)), redact)


def plan_as_data(pipeline: Pipeline) -> dict[str, object]:
    """Return the plan for programs: nodes and edges."""
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
    """Return the graph as a Mermaid flowchart.

    Dotted lines are the routes of rows that fail.
    """
    ids = {place: f"n{number}" for number, place in enumerate(pipeline.nodes)}
    lines = ["flowchart TD"]
    for place, node in pipeline.nodes.items():
        opening, closing = _SHAPES.get(node.node_type, ("[", "]"))
        lines.append(f'    {ids[place]}{opening}"{_escape_label(f"{node.node_type} {node.name}")}"{closing}')
    for wire in pipeline.wiring.wires:
        arrow = "-.->" if wire.mode is RoutingMode.DIVERT else "-->"
        text = wire_label(pipeline, wire)
        label = f'|"{_escape_label(text)}"|' if text else ""
        lines.append(f"    {ids[wire.origin]} {arrow}{label} {ids[wire.target]}")
    return mask_text("\n".join(lines), redact)


def plan_as_svg(pipeline: Pipeline) -> str:
    """Return the graph as an SVG document.

    Dashed arrows are the routes of rows that fail.
    """
    from elspeth.core.diagrams import DiagramEdge, DiagramNode, draw_svg, node_detail  # noqa: PLC0415  start time

    def shown(text: str) -> str:
        return mask_text(text, redact)

    keys = {place: node.node_id for place, node in pipeline.nodes.items()}
    nodes = [
        DiagramNode(
            key=node.node_id,
            name=shown(node.name),
            kind=node.node_type,
            detail=shown(node_detail(node.node_type, node.plugin_name)),
        )
        for node in pipeline.nodes.values()
    ]
    edges = [
        DiagramEdge(
            origin=keys[wire.origin],
            target=keys[wire.target],
            label=shown(wire_label(pipeline, wire)),
            is_diverted=wire.mode is RoutingMode.DIVERT,
        )
        for wire in pipeline.wiring.wires
    ]
    return draw_svg(nodes, edges, title="The graph of the pipeline")


def _escape_label(text: str) -> str:
    """Escape text for a quoted Mermaid label.

    Entities are the only escapes in labels. Characters that could control a terminal are escaped as in the plan.
    """
    return printable(text).replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")


def _plan_lines(pipeline: Pipeline) -> Iterator[tuple[str, str]]:
    settings = pipeline.settings
    for place, node in pipeline.nodes.items():
        if node.node_type is not NodeType.SINK:
            yield from _node_lines(pipeline, place, node)
    if isinstance(settings, PositionalSettings):
        yield "output", f"to sink {settings.output_sink}"
    for name in pipeline.sinks:
        sink = settings.sinks[name]
        yield "sink", f"{name}: {_plugin(sink.plugin, sink.options.get('path'))}"
        for wire in pipeline.wiring.leaving(sink_place(name)):
            yield "", f"rows that it refuses: {_target(pipeline, wire)}"
    yield from _landscape_lines(settings.landscape, pipeline)


def _node_lines(pipeline: Pipeline, place: Place, node: Node) -> Iterator[tuple[str, str]]:
    """Yield the lines of a source or step."""
    settings, index = pipeline.settings, place[-1] if isinstance(place[-1], int) else 0
    wires = pipeline.wiring.leaving(place)
    match node.node_type:
        case NodeType.SOURCE:
            source = settings.source_parts[place]
            yield "source", f"{_name(node, place)}{_plugin(source.plugin, source.options.get('path'))}"
            if settings.limit is not None:
                yield "", f"at most {settings.limit:,} rows"
            yield from _onward_lines(pipeline, place)
            yield from _error_lines(pipeline, wires, "invalid rows")
        case NodeType.TRANSFORM:
            yield "transform", f"{_name(node, place)}{node.plugin_name}{_branch(settings.transform_parts[place])}"
            yield from _onward_lines(pipeline, place)
            yield from _error_lines(pipeline, wires, "rows that fail")
        case NodeType.AGGREGATION:
            aggregation = settings.aggregations[index]
            yield "aggregation", f"{node.name}: {node.plugin_name}{_branch(aggregation)}"
            yield from _onward_lines(pipeline, place)
            yield "", f"batches: {_trigger(aggregation)}; output {aggregation.output_mode}"
            yield from _error_lines(pipeline, wires, "rows that fail")
        case NodeType.GATE:
            yield from _gate_lines(pipeline, settings.gates[index], wires)
        case NodeType.COALESCE:
            join = settings.coalesce[index]
            yield "coalesce", f"{node.name}: {', '.join(join.branches)}"
            yield "", f"{_policy(join)}; merge {join.merge}{f' {join.select_branch}' if join.select_branch else ''}"
            yield "", f"merged: {_target(pipeline, wires[0])}"


def _gate_lines(pipeline: Pipeline, gate: GateSettings, wires: Sequence[Wire]) -> Iterator[tuple[str, str]]:
    yield "gate", f"{gate.name}: {gate.decides_by}{_branch(gate)}"
    targets = {wire.label: _target(pipeline, wire) for wire in wires}
    for label, destination in gate.routes.items():
        words = {CONTINUE: CONTINUE, FORK: f"fork to {', '.join(gate.fork_to or ())}"}
        yield "", f"{label}: {words.get(destination) or targets[label]}"
    for wire in wires:
        if wire.mode is RoutingMode.COPY:
            yield "", f"branch {wire.label}: {targets[wire.label]}"


def _name(node: Node, place: Place) -> str:
    """Return the name, unless it follows from the position."""
    return f"{node.name}: " if place[0] in {"source", "sources", "transforms"} else ""


def _onward_lines(pipeline: Pipeline, place: Place) -> Iterator[tuple[str, str]]:
    """Yield where rows go next, unless positions imply it."""
    if not isinstance(pipeline.settings, PositionalSettings):
        yield "", f"rows: {_target(pipeline, pipeline.wiring.leaving(place)[0])}"


def _error_lines(pipeline: Pipeline, wires: Sequence[Wire], what: str) -> Iterator[tuple[str, str]]:
    diverted = next((wire for wire in wires if wire.mode is RoutingMode.DIVERT), None)
    yield "", f"{what}: recorded and discarded" if diverted is None else f"{what}: {_target(pipeline, diverted)}"


def _target(pipeline: Pipeline, wire: Wire) -> str:
    node = pipeline.nodes[wire.target]
    return f"to {node.node_type} {node.name}"


def _branch(part: object) -> str:
    branch = getattr(part, "branch", None)
    return "" if branch is None else f" (on branch {branch})"


def _trigger(aggregation: AggregationSettings) -> str:
    trigger, parts = aggregation.trigger, []
    if trigger.count is not None:
        parts.append(f"of {trigger.count} rows")
    if trigger.timeout_seconds is not None:
        parts.append(f"after {trigger.timeout_seconds:g} seconds")
    if trigger.condition is not None:
        parts.append(f"when {trigger.condition}")
    return ", ".join([*parts, "at the end of the source"])


def _policy(join: CoalesceSettings) -> str:
    policy = f"quorum of {join.quorum_count}" if join.quorum_count is not None else join.policy
    return policy if join.timeout_seconds is None else f"{policy} within {join.timeout_seconds:g} seconds"


def wire_label(pipeline: Pipeline, wire: Wire) -> str:
    """Return an edge's label, or "" without a choice."""
    node_type = pipeline.nodes[wire.origin].node_type
    if wire.mode is RoutingMode.DIVERT:
        return "invalid" if node_type is NodeType.SOURCE else "error"
    return wire.label if node_type is NodeType.GATE else ""


def _landscape_lines(landscape: LandscapeSettings, pipeline: Pipeline) -> Iterator[tuple[str, str]]:
    yield "audit", mask_text(landscape.url, redact)
    export = landscape.export
    if export.enabled:
        sink = "" if export.sink is None else f"{export.sink}: "
        path = export.path or str(pipeline.settings.sinks[export.sink or ""].options["path"])
        form, compression = export_form(export, path), export_compression(export, path)
        what = form if compression is None else f"{form}, {compression}"
        yield "export", f"{sink}{what} {path}, {'signed' if export.sign else 'not signed'}"


def _plugin(name: str, path: object) -> str:
    return " ".join([name, ", ".join(path_texts(path))]).rstrip()

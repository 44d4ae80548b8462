"""Draws the graph of a run."""

from __future__ import annotations

from elspeth.core.diagrams import DiagramEdge, DiagramNode, draw_svg, node_detail
from elspeth.report.flow import Flow, FlowEdge
from elspeth_schema.contracts import NodeType, RoutingMode

__all__ = ["draw_flow"]


def draw_flow(flow: Flow, *, has_style: bool = False) -> str:
    """Return the graph of a run as SVG.

    Include the style of diagrams in the page, or a style of your own.
    """
    kinds = {node.node_id: node.node_type for node in flow.nodes}
    nodes = [
        DiagramNode(
            key=node.node_id,
            name=node.name,
            kind=node.node_type.value,
            detail=node_detail(node.node_type.value, node.plugin_name),
            failed=node.failed_visits,
            waiting=node.waiting,
        )
        for node in flow.nodes
    ]
    edges = [
        DiagramEdge(
            origin=edge.from_node_id,
            target=edge.to_node_id,
            label=_label(edge, kinds[edge.from_node_id]),
            count=edge.count,
            is_diverted=edge.mode is RoutingMode.DIVERT,
        )
        for edge in flow.edges
    ]
    return draw_svg(nodes, edges, title="The graph of the run, with the numbers of tokens", has_style=has_style)


def _label(edge: FlowEdge, origin: NodeType) -> str:
    """Return the label of an edge, empty without a choice."""
    if edge.mode is RoutingMode.DIVERT:
        return "invalid" if origin is NodeType.SOURCE else "error"
    return edge.label if origin is NodeType.GATE else ""

"""Drawings have the numbers of the flow."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from elspeth.core.diagrams import DiagramEdge, DiagramNode
from elspeth.report import drawing
from elspeth.report.flow import Flow, FlowEdge, FlowNode
from elspeth_schema.contracts import NodeType, RoutingMode


def node(node_id: str, node_type: NodeType, *, waiting: int = 0, failed_visits: int = 0) -> FlowNode:
    return FlowNode(
        node_id=node_id,
        name=f"the {node_id}",
        node_type=node_type,
        plugin_name="csv",
        plugin_version="1",
        began=0,
        entered=0,
        made=0,
        left=0,
        ended={},
        waiting=waiting,
        failed_visits=failed_visits,
    )


def edge(origin: str, target: str, label: str, mode: RoutingMode, count: int) -> FlowEdge:
    return FlowEdge(from_node_id=origin, to_node_id=target, label=label, mode=mode, count=count)


FLOW = Flow(
    nodes=(
        node("source", NodeType.SOURCE),
        node("gate", NodeType.GATE, waiting=3),
        node("map", NodeType.TRANSFORM, failed_visits=4),
        node("sink", NodeType.SINK),
    ),
    edges=(
        edge("source", "gate", "continue", RoutingMode.MOVE, 5),
        edge("source", "sink", "__quarantine__", RoutingMode.DIVERT, 1),
        edge("gate", "map", "left", RoutingMode.COPY, 2),
        edge("map", "sink", "__error__", RoutingMode.DIVERT, 0),
        edge("map", "sink", "continue", RoutingMode.MOVE, 6),
    ),
    strays=0,
)


def test_nodes_and_edges_are_drawn_with_their_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[Sequence[DiagramNode], Sequence[DiagramEdge], bool]] = []

    def draw(nodes: Sequence[DiagramNode], edges: Sequence[DiagramEdge], *, title: str, has_style: bool) -> str:
        drawn.append((nodes, edges, has_style))
        return title

    monkeypatch.setattr(drawing, "draw_svg", draw)
    assert drawing.draw_flow(FLOW, has_style=True) == "The graph of the run, with the numbers of tokens"
    drawing.draw_flow(FLOW)
    (nodes, edges, _), _ = drawn
    assert [has_style for _, _, has_style in drawn] == [True, False]
    assert [(each.key, each.name, each.kind, each.detail, each.failed, each.waiting) for each in nodes] == [
        ("source", "the source", "source", "source · csv", 0, 0),
        ("gate", "the gate", "gate", "gate", 0, 3),
        ("map", "the map", "transform", "transform · csv", 4, 0),
        ("sink", "the sink", "sink", "sink · csv", 0, 0),
    ]
    assert [(each.origin, each.target, each.label, each.count, each.is_diverted) for each in edges] == [
        ("source", "gate", "", 5, False),
        ("source", "sink", "invalid", 1, True),
        ("gate", "map", "left", 2, False),
        ("map", "sink", "error", 0, True),
        ("map", "sink", "", 6, False),
    ]

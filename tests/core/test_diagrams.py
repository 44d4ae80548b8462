"""Graphs drawn as SVG."""

from __future__ import annotations

import re
from graphlib import CycleError
from itertools import combinations
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth.core.diagrams import DiagramEdge, DiagramNode, draw_svg
from tests.fixtures.effort import law

SVG = "{http://www.w3.org/2000/svg}"


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[DiagramNode], list[DiagramEdge]]:
    """Draw nodes, and edges from earlier ones to later ones."""
    texts = draw(st.lists(st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cn", "Cc"])), max_size=8))
    nodes = [DiagramNode(key=str(number), text=text, kind="gate") for number, text in enumerate(texts)]
    pairs = list(combinations([node.key for node in nodes], 2))
    chosen = draw(st.lists(st.sampled_from(pairs), max_size=10)) if pairs else []
    edges = [DiagramEdge(origin=origin, target=target, text="x" * draw(st.integers(0, 3))) for origin, target in chosen]
    return draw(st.permutations(nodes)), edges


@law(30)
@given(graphs())
def test_boxes_do_not_overlap_and_arrows_lead_downwards(graph: tuple[list[DiagramNode], list[DiagramEdge]]) -> None:
    nodes, edges = graph
    text = draw_svg(nodes, edges, title="A <graph>")
    assert draw_svg(nodes, edges, title="A <graph>") == text
    root = ET.fromstring(text)  # noqa: S314  our own output
    groups = root.findall(f"{SVG}g")
    assert [group.findtext(f"{SVG}text") for group in groups] == [node.text for node in nodes]
    boxes = [{name: float(value) for name, value in group[0].attrib.items()} for group in groups]
    for one, other in combinations(boxes, 2):
        assert one["y"] != other["y"] or one["x"] + one["width"] < other["x"] or other["x"] + other["width"] < one["x"]
    tops = {node.key: box["y"] for node, box in zip(nodes, boxes, strict=True)}
    assert all(tops[edge.origin] < tops[edge.target] for edge in edges)
    paths = [path.attrib["d"] for path in root.findall(f"{SVG}path")]
    assert len(paths) == len(edges)
    for path in paths:
        heights = [float(pair.split()[1]) for pair in re.findall(r"-?\d+ -?\d+", path)]
        assert heights == sorted(heights)
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= float(root.attrib["width"]) for box in boxes)


def test_a_cycle_is_not_drawn() -> None:
    nodes = [DiagramNode(key=key, text=key, kind="gate") for key in "ab"]
    edges = [DiagramEdge(origin="a", target="b"), DiagramEdge(origin="b", target="a")]
    with pytest.raises(CycleError):
        draw_svg(nodes, edges, title="")

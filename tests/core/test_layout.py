"""Graphs laid out in layers."""

from __future__ import annotations

import random
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth.core.layout import LayoutEdge, lay_out
from tests.fixtures.effort import law

HEIGHT, LABEL = 40.0, 18.0

Graph = tuple[dict[str, float], list[LayoutEdge]]


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Draw nodes, and edges from earlier to later ones."""
    widths = draw(st.lists(st.integers(1, 300), max_size=9))
    pairs = list(combinations(range(len(widths)), 2))
    chosen = draw(st.lists(st.sampled_from(pairs), max_size=12)) if pairs else []
    edges = [LayoutEdge(origin=str(a), target=str(b), label=draw(st.sampled_from([0, 50]))) for a, b in chosen]
    order = draw(st.permutations(range(len(widths))))
    return {str(key): float(widths[key]) for key in order}, edges


@law(40)
@given(graphs())
def test_nothing_overlaps_and_edges_lead_downwards(graph: Graph) -> None:
    widths, edges = graph
    layout = lay_out(widths, edges, node_height=HEIGHT, label_height=LABEL)
    boxes = [(*layout.nodes[key], width, HEIGHT) for key, width in widths.items()]
    boxes += [(*place, edge.label, LABEL) for edge, place in zip(edges, layout.labels, strict=True) if edge.label]
    for (x, y, width, height), (other_x, other_y, other_width, other_height) in combinations(boxes, 2):
        is_beside = abs(x - other_x) >= (width + other_width) / 2 - 1e-6
        assert is_beside or abs(y - other_y) >= (height + other_height) / 2
    for x, y, width, height in boxes:
        assert x - width / 2 >= -1e-6
        assert x + width / 2 <= layout.width + 1e-6
        assert height / 2 <= y <= layout.height - height / 2
    for edge, way in zip(edges, layout.edges, strict=True):
        (x, y), (last_x, last_y) = layout.nodes[edge.origin], layout.nodes[edge.target]
        assert (way[0], way[-1]) == ((x, y + HEIGHT / 2), (last_x, last_y - HEIGHT / 2))
        heights = [height for _, height in way]
        assert heights == sorted(heights)
        for key, (box_x, box_y) in layout.nodes.items():
            if box_y not in {y, last_y}:
                beside = [each for each, height in way if abs(height - box_y) <= HEIGHT / 2]
                assert all(abs(each - box_x) >= widths[key] / 2 for each in beside)
                assert len(beside) in {0, 2}, "an edge passes a layer from its top to its bottom"
    assert lay_out(widths, edges, node_height=HEIGHT, label_height=LABEL) == layout


def drawn(nodes: int, seed: int) -> Graph:
    """Return a graph with few edges, to near nodes."""
    choose = random.Random(1000 * seed + nodes)  # noqa: S311  the same graphs each time
    edges = [
        LayoutEdge(origin=str(before), target=str(node))
        for node in range(1, nodes)
        for before in choose.sample(range(max(0, node - 6), node), min(node, choose.choice([1, 1, 1, 2])))
    ]
    return {str(node): 80.0 for node in range(nodes)}, edges


@pytest.mark.parametrize(("nodes", "dagre"), [(10, 7), (20, 15), (30, 26), (50, 45), (80, 74)])
def test_at_most_as_many_edges_cross_as_in_the_layout_of_dagre(nodes: int, dagre: int) -> None:
    """The figures are sums by @dagrejs/dagre 3.1.3."""
    layouts = [lay_out(*drawn(nodes, seed), node_height=HEIGHT, label_height=LABEL) for seed in range(4)]
    assert sum(layout.crossings for layout in layouts) <= dagre


def test_a_chain_is_straight_and_a_ring_has_the_fewest_crossings() -> None:
    names = "abcd"
    chain = [LayoutEdge(origin=one, target=other) for one, other in pairwise(names)]
    layout = lay_out(
        {name: 50.0 + 10 * place for place, name in enumerate(names)}, chain, node_height=1, label_height=1
    )
    assert len({round(x, 3) for x, _ in layout.nodes.values()}) == 1
    both = [("a", "d"), ("a", "c"), ("b", "c"), ("b", "d2"), ("c2", "d"), ("c2", "d2")]
    edges = [LayoutEdge(origin=one, target=other) for one, other in both]
    ring = lay_out(dict.fromkeys(["a", "b", "c2", "c", "d", "d2"], 10.0), edges, node_height=1, label_height=1)
    assert ring.crossings == 2, "a ring of 2n nodes in two layers has n - 1 crossings"


def edge(origin: str, target: str, label: float = 0.0, weight: float = 1.0) -> LayoutEdge:
    return LayoutEdge(origin=origin, target=target, label=label, weight=weight)


def places(widths: dict[str, float], *edges: LayoutEdge) -> dict[str, tuple[float, float]]:
    layout = lay_out(widths, edges, node_height=HEIGHT, label_height=LABEL)
    return {key: (round(x, 2), round(y, 2)) for key, (x, y) in layout.nodes.items()}


def test_boxes_and_layers_are_as_close_as_is_allowed() -> None:
    assert places({"a": 100, "b": 60}) == {"a": (50, 20), "b": (158, 20)}
    assert places({"a": 100, "b": 60}, edge("a", "b")) == {"a": (50, 20), "b": (50, 108)}
    assert places({"a": 100, "b": 60}, edge("a", "b", label=9)) == {"a": (50, 20), "b": (50, 126)}
    alone = lay_out({"a": 100, "b": 60}, [edge("a", "b", label=180)], node_height=HEIGHT, label_height=LABEL)
    assert (alone.labels, alone.width, alone.height) == (((90, 73),), 180, 146)


def test_a_box_stands_between_its_neighbours_and_nearer_to_those_of_heavy_edges() -> None:
    row = dict.fromkeys("abc", 50.0)
    found = places(row, edge("a", "b"), edge("a", "c"))
    assert found["a"][0] == (found["b"][0] + found["c"][0]) / 2
    assert found["c"][0] - found["b"][0] == 50 + 28
    alike, heavy = (
        places(dict.fromkeys("abcdx", 50.0), *(edge(name, "x", weight=weight if name == "a" else 1) for name in "abcd"))
        for weight in (1, 9)
    )
    assert alike["x"][0] - alike["b"][0] == alike["c"][0] - alike["x"][0]
    assert heavy["x"][0] < alike["x"][0]


def test_an_edge_passes_beside_the_boxes_between_its_ends() -> None:
    widths = dict.fromkeys("abc", 50.0)
    chain = [edge("a", "b", label=30), edge("b", "c"), edge("a", "c", weight=3)]
    layout = lay_out(widths, chain, node_height=HEIGHT, label_height=LABEL)
    (_, beside, below, _) = layout.edges[2]
    assert (beside[1], below[1]) == (layout.nodes["b"][1] - HEIGHT / 2, layout.nodes["b"][1] + HEIGHT / 2)
    assert round(beside[0], 2) == round(below[0], 2) == round(layout.nodes["b"][0] + 25 + 14, 2)
    assert [len(way) for way in layout.edges] == [3, 2, 4]
    assert layout.edges[0][1] == layout.labels[0]
    assert layout.crossings == 0


PLACES = {
    "source": (174, 20),
    "gate": (172, 126),
    "a": (118, 232),
    "b": (231, 232),
    "c": (25, 232),
    "join": (155, 338),
    "sums": (144, 426),
    "out": (102, 532),
    "failed": (269, 532),
}
WAYS = [
    [174, 173, 172],
    [172, 231],
    [172, 144, 118],
    [118, 155],
    [231, 191, 155],
    [25, 69, 69, 75, 75, 102],
    [155, 144],
    [144, 124, 102],
    [172, 98, 25],
    [174, 265, 288, 288, 304, 304, 303, 303, 301, 301, 269],
    [231, 281, 281, 286, 286, 269],
    [144, 211, 269],
    [172, 266, 290, 290, 236, 236, 213, 213, 102],
]
"""The x of every point of every edge."""


def test_a_pipeline_is_laid_out_as_it_was() -> None:
    """Look at drawn diagrams before changing these numbers."""
    widths = {"source": 120, "gate": 60, "a": 80, "b": 90, "c": 50, "join": 70, "sums": 110, "out": 100, "failed": 95}
    sound = [("source", "gate", 30), ("gate", "b", 0), ("gate", "a", 40), ("a", "join", 0), ("b", "join", 25)]
    sound += [("c", "out", 0), ("join", "sums", 0), ("sums", "out", 35)]
    rare = [
        ("gate", "c", 20),
        ("source", "failed", 60),
        ("b", "failed", 0),
        ("sums", "failed", 15),
        ("gate", "out", 10),
    ]
    edges = [edge(*each, weight=weight) for some, weight in ((sound, 50), (rare, 1)) for each in some]
    layout = lay_out(widths, edges, node_height=HEIGHT, label_height=LABEL)
    assert {key: (round(x), round(y)) for key, (x, y) in layout.nodes.items()} == PLACES
    assert [[round(x) for x, _ in way] for way in layout.edges] == WAYS
    assert (layout.crossings, round(layout.width), round(layout.height)) == (2, 316, 552)


@pytest.mark.parametrize(("origin", "target"), [("a", "x"), ("x", "a")])
def test_an_edge_of_an_unknown_node_is_refused(origin: str, target: str) -> None:
    with pytest.raises(KeyError, match="x"):
        lay_out({"a": 50}, [edge(origin, target)], node_height=HEIGHT, label_height=LABEL)


def test_an_empty_graph_has_no_size() -> None:
    layout = lay_out({}, [], node_height=HEIGHT, label_height=LABEL)
    assert (layout.nodes, layout.width, layout.height) == ({}, 0.0, 0.0)

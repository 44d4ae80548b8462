"""Graphs drawn as SVG."""

from __future__ import annotations

from graphlib import CycleError
from itertools import combinations
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth.core.diagrams import STYLE, DiagramEdge, DiagramNode, draw_svg, node_detail
from tests.fixtures.effort import law

SVG = "{http://www.w3.org/2000/svg}"


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[DiagramNode], list[DiagramEdge]]:
    """Draw nodes, and edges from earlier ones to later ones."""
    texts = draw(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=8))
    kinds = st.sampled_from(["source", "transform", "gate", "aggregation", "coalesce", "sink"])
    counts = st.integers(0, 10**9)
    nodes = [
        DiagramNode(key=str(key), name=text, kind=draw(kinds), failed=draw(counts), waiting=draw(counts))
        for key, text in enumerate(texts)
    ]
    pairs = list(combinations([node.key for node in nodes], 2))
    chosen = draw(st.lists(st.sampled_from(pairs), max_size=10)) if pairs else []
    edges = [
        DiagramEdge(
            origin=origin,
            target=target,
            label="x" * draw(st.integers(0, 3)),
            count=draw(st.none() | counts),
            is_diverted=draw(st.booleans()),
        )
        for origin, target in chosen
    ]
    return draw(st.permutations(nodes)), edges


@law(30)
@given(graphs())
def test_any_graph_is_well_formed_and_reproducible(
    graph: tuple[list[DiagramNode], list[DiagramEdge]],
) -> None:
    nodes, edges = graph
    text = draw_svg(nodes, edges, title="A <graph>")
    assert draw_svg(nodes, edges, title="A <graph>") == text
    assert all(each.isprintable() or each == "\n" for each in text)
    root = ET.fromstring(text)  # noqa: S314  our own output
    groups = root.findall(f"{SVG}g")
    boxes = [group for group in groups if "node" in group.attrib["class"].split()]
    assert [group.attrib["class"] for group in boxes] == [f"node {node.kind}" for node in nodes]
    arrows = [group.attrib["class"].split() for group in groups if group.find(f"{SVG}path[@class='arrow']") is not None]
    assert ["diverted" in classes for classes in arrows] == [edge.is_diverted for edge in edges]
    labels = [each.text for each in root.iter(f"{SVG}text") if each.attrib.get("class") == "label"]
    assert labels == [edge.text for edge in edges if edge.text]


def test_numbers_and_failures_are_shown_by_text_and_shape() -> None:
    nodes = [
        DiagramNode(key="a", name="read", kind="source", detail="source · csv", failed=1234, waiting=2),
        DiagramNode(key="b", name="bad", kind="sink"),
    ]
    edges = [DiagramEdge(origin="a", target="b", label="invalid", count=1234, is_diverted=True)]
    root = ET.fromstring(draw_svg(nodes, edges, title="t", has_style=False))  # noqa: S314  our own output
    texts = [each.text for each in root.iter(f"{SVG}text")]
    assert texts == ["invalid · 1,234", "read", "source · csv", "1,234 failed", "2 waiting", "bad"]
    assert root.find(f".//{SVG}path[@class='open-head']") is not None
    assert root.find(f".//{SVG}style") is None
    badges = {group.attrib["class"]: group[0].tag for group in root.iter(f"{SVG}g") if "badge" in group.attrib["class"]}
    assert badges == {"badge failed": f"{SVG}path", "badge waiting": f"{SVG}rect"}


def test_every_text_is_escaped_wherever_it_stands() -> None:
    text = "<b> & \"c\" 'd'"
    nodes = [DiagramNode(key=text, name=text, kind="source", detail=text), DiagramNode(key="t", name="t", kind=text)]
    edges = [DiagramEdge(origin=text, target="t", label=text, count=0)]
    root = ET.fromstring(draw_svg(nodes, edges, title=text, has_style=False))  # noqa: S314  our own output
    source, target = (each for each in root.iter(f"{SVG}g") if "data-node" in each.attrib)
    assert (source.attrib["data-node"], target.attrib["class"]) == (text, f"node {text}")
    assert (root.findtext(f"{SVG}title"), source.findtext(f"{SVG}title")) == (text, f"{text} · {text}")
    shown = [each.text for each in root.iter(f"{SVG}text")]
    assert shown == [f"{text} · 0", text, text, "t"]
    arrow, label = (each for each in root.iter(f"{SVG}g") if "data-from" in each.attrib)
    for each in (arrow, label):
        data = {name.removeprefix("data-"): value for name, value in each.attrib.items() if name != "class"}
        assert (data, each.attrib["class"]) == ({"from": text, "to": "t", "label": text}, "edge unused")


@pytest.mark.parametrize(("count", "classes"), [(None, "edge"), (0, "edge unused"), (1, "edge")])
def test_an_edge_is_unused_only_if_nothing_was_counted(count: int | None, classes: str) -> None:
    """Before a run, nothing was counted."""
    nodes = [DiagramNode(key=key, name=key, kind="gate") for key in "ab"]
    drawing = ET.fromstring(draw_svg(nodes, [DiagramEdge(origin="a", target="b", count=count)], title="t"))  # noqa: S314  ours
    arrow = next(each for each in drawing.iter(f"{SVG}g") if each.attrib["class"].startswith("edge"))
    width = next(each for each in arrow if each.attrib["class"] == "arrow").attrib["stroke-width"]
    assert (arrow.attrib["class"], float(width) > 1) == (classes, bool(count))
    assert [each.text for each in drawing.iter(f"{SVG}text") if each.attrib["class"] == "label"] == (
        [] if count is None else [str(count)]
    )


def test_a_drawing_needs_no_style_attribute_or_other_file() -> None:
    """A page that allows neither can show it."""
    text = draw_svg([DiagramNode(key="a", name='<b style="x">', kind="gate")], [], title="t", has_style=False)
    assert " style=" not in text.replace("&lt;b style=", "")
    assert "url(" not in text + STYLE
    assert "href" not in text


@pytest.mark.parametrize(
    ("name", "drawn"),
    [("x" * 50, "x" * 22 + "…" + "x" * 11), ("a\u202eb\x00", "a\\u202eb\\x00"), ("漢" * 10, "漢" * 10)],
)
def test_long_and_hostile_names_are_cut_and_escaped(name: str, drawn: str) -> None:
    root = ET.fromstring(draw_svg([DiagramNode(key="a", name=name, kind="gate")], [], title="t"))  # noqa: S314  our own
    assert root.findtext(f".//{SVG}text") == drawn


def test_a_box_is_as_wide_as_its_texts() -> None:
    def width(name: str, detail: str = "") -> float:
        box = DiagramNode(key="a", kind="gate", name=name, detail=detail)
        return float(ET.fromstring(draw_svg([box], [], title="t")).attrib["width"])  # noqa: S314  our own

    narrow = width("a")
    assert width("a", detail="plugin of a long name") > narrow
    assert width("x" * 30) > narrow
    assert width("\u6f22" * 20) == width("\uff21" * 20) > width("A" * 20)


def test_every_kind_of_node_has_its_own_shape() -> None:
    kinds = ["source", "transform", "gate", "coalesce", "aggregation", "sink"]
    drawn = {kind: draw_svg([DiagramNode(key="a", name="a", kind=kind)], [], title="t") for kind in kinds}
    assert len({text.replace(f"node {kind}", "node") for kind, text in drawn.items()}) == len(kinds)


@pytest.mark.parametrize(
    ("node_type", "plugin", "detail"),
    [("gate", "config_gate", "gate"), ("coalesce", "coalesce", "coalesce"), ("sink", "csv", "sink · csv")],
)
def test_the_detail_of_a_node_is_its_type_and_plugin(node_type: str, plugin: str, detail: str) -> None:
    assert node_detail(node_type, plugin) == detail


def test_a_cycle_is_not_drawn() -> None:
    nodes = [DiagramNode(key=key, name=key, kind="gate") for key in "ab"]
    edges = [DiagramEdge(origin="a", target="b"), DiagramEdge(origin="b", target="a")]
    with pytest.raises(CycleError):
        draw_svg(nodes, edges, title="")


def test_badges_are_inside_the_picture() -> None:
    """The badge of a first node is the highest shape."""
    root = ET.fromstring(draw_svg([DiagramNode(key="a", name="a", kind="source", failed=1)], [], title="t"))  # noqa: S314  ours
    _, top, _, _ = map(float, root.attrib["viewBox"].split())
    badge = next(each for each in root.iter(f"{SVG}g") if each.attrib["class"] == "badge failed")
    start = badge.find(f"{SVG}path")
    assert start is not None
    _, y = start.attrib["d"].removeprefix("M").partition("h")[0].split()
    assert float(y) - 1 >= top, "with half of its line"

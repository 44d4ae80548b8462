"""Draws a graph with its numbers as SVG.

The same graph always yields the same text. Colours are variables, which a page may set; `STYLE` defines them for light
and dark pages. No meaning depends on colour alone: failures also have cut corners, and diverted rows have dashed arrows
with an open head.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files

from elspeth.core.layout import LayoutEdge, Point, lay_out
from elspeth.evidence.format.errors import printable

__all__ = ["STYLE", "DiagramEdge", "DiagramNode", "draw_svg", "node_detail"]

_MARGIN = 12.0
_HEIGHT = 46.0
_HALF = _HEIGHT / 2
_LABEL = 20.0
_MIN_WIDTH = 108.0
_STRAIGHT = 50.0
"""The weight that keeps the edges of rows without failures straighter than diverted edges."""

_LONGEST = 34
"""The largest number of characters of a text that are shown. The title of the node has all."""

_WITHOUT_PLUGIN = ("gate", "coalesce")

STYLE = files("elspeth.core").joinpath("diagrams.css").read_text(encoding="utf-8")
"""The style of all diagrams; a page includes it once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagramNode:
    """A box with a name, a detail and badges.

    `kind` is the type of the node; it is used as the CSS class, and determines the shape. `failed` and `waiting` are
    numbers of tokens, each shown in a badge unless it is 0.
    """

    key: str
    name: str
    kind: str
    detail: str = ""
    failed: int = 0
    waiting: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagramEdge:
    """An arrow between boxes.

    Its label and its count may be missing. A diverted edge carries the rows that fail.
    """

    origin: str
    target: str
    label: str = ""
    count: int | None = None
    is_diverted: bool = False

    @property
    def text(self) -> str:
        """Return the text that is written on the edge."""
        parts = [_shorten(self.label)] if self.label else []
        return " · ".join(parts if self.count is None else [*parts, f"{self.count:,}"])


def node_detail(node_type: str, plugin_name: str) -> str:
    """Return the type and the plugin of a node.

    Gates and coalesces have no plugin.
    """
    return node_type if node_type in _WITHOUT_PLUGIN else f"{node_type} · {plugin_name}"


def draw_svg(nodes: Sequence[DiagramNode], edges: Sequence[DiagramEdge], *, title: str, has_style: bool = True) -> str:
    """Return a graph as an SVG document.

    Without its style, the document is meant for a page that includes `STYLE`. Its elements then have attributes for the
    scripts of the page: `data-node` for a node, and `data-from`, `data-to` and `data-label` for an edge.

    Raises graphlib.CycleError if there is a cycle, and KeyError for an edge of an unknown node.
    """
    layout = lay_out(
        {node.key: _node_width(node) for node in nodes},
        [
            LayoutEdge(
                origin=edge.origin,
                target=edge.target,
                label=_label_width(edge),
                weight=1.0 if edge.is_diverted or edge.count == 0 else _STRAIGHT,
            )
            for edge in edges
        ],
        node_height=_HEIGHT,
        label_height=_LABEL,
    )
    width, height = layout.width + 2 * _MARGIN, layout.height + 2 * _MARGIN
    most = max((edge.count or 0 for edge in edges), default=0)
    lines = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="diagram" width="{width:.0f}" height="{height:.0f}"'
            f' viewBox="{-_MARGIN:.0f} {-_MARGIN:.0f} {width:.0f} {height:.0f}" role="img">'
        ),
        f"<title>{_text(title)}</title>",
    ]
    if has_style:
        lines += [f"<style>\n{STYLE}svg.diagram{{background:var(--back)}}\n</style>"]
    for edge, way in zip(edges, layout.edges, strict=True):
        lines.append(_arrow(edge, way, most, named=not has_style))
    for edge, place in zip(edges, layout.labels, strict=True):
        lines += _label(edge, place, named=not has_style)
    for node in nodes:
        lines += _box(node, layout.nodes[node.key], named=not has_style)
    return "\n".join([*lines, "</svg>"]) + "\n"


# -- edges -----------------------------------------------------------------------------------------------------------


def _group(edge: DiagramEdge, *, named: bool) -> str:
    """Return the start of the group of an edge."""
    diverted, unused = edge.is_diverted, edge.count == 0
    classes = " ".join(["edge", *(["diverted"] if diverted else []), *(["unused"] if unused else [])])
    data = {"from": edge.origin, "to": edge.target, "label": _shorten(edge.label)} if named else {}
    return f'<g class="{classes}"{_data(data)}>'


def _data(values: Mapping[str, str]) -> str:
    return "".join(f' data-{name}="{escape(value)}"' for name, value in values.items())


def _arrow(edge: DiagramEdge, way: Sequence[Point], most: int, *, named: bool) -> str:
    """Return an arrow, wider for more tokens."""
    (x, y), *rest = way
    steps = [f"M{x:.0f} {y:.0f}"]
    *bends, (last_x, last_y) = rest
    for next_x, next_y in [*bends, (last_x, last_y - 6)]:
        if abs(next_x - x) < 1:
            steps.append(f"V{next_y:.0f}")
        else:
            half = (y + next_y) / 2
            steps.append(f"C{x:.0f} {half:.0f} {next_x:.0f} {half:.0f} {next_x:.0f} {next_y:.0f}")
        x, y = next_x, next_y
    width = 1.0 if not edge.count else 1.25 + 2.5 * math.log1p(edge.count) / math.log1p(most)
    if edge.is_diverted:
        head = f'<path class="open-head" d="M{last_x - 5:.0f} {last_y - 8:.0f}l5 7 5-7"/>'
    else:
        size = 3.5 + width / 2
        head = (
            f'<path class="head" d="M{last_x - size:.1f} {last_y - 8:.0f}h{2 * size:.1f}L{last_x:.0f} {last_y:.0f}z"/>'
        )
    arrow = f'<path class="arrow" stroke-width="{width:.1f}" d="{"".join(steps)}"/>'
    return f"{_group(edge, named=named)}{arrow}{head}</g>"


def _label(edge: DiagramEdge, place: Point, *, named: bool) -> Iterator[str]:
    """Yield the label on a box that hides the arrow."""
    if edge.text:
        x, y, width = *place, _label_width(edge)
        radius = 2 if edge.is_diverted else 10
        box = (
            f'<rect class="label-box" x="{x - width / 2:.0f}" y="{y - _LABEL / 2:.0f}" width="{width:.0f}"'
            f' height="{_LABEL:.0f}" rx="{radius}"/>'
        )
        text = f'<text class="label" x="{x:.0f}" y="{y + 4:.0f}">{_text(edge.text)}</text>'
        yield f"{_group(edge, named=named)}{box}{text}</g>"


def _label_width(edge: DiagramEdge) -> float:
    return _text_width(edge.text, 11) + 14 if edge.text else 0.0


# -- nodes -----------------------------------------------------------------------------------------------------------


def _node_width(node: DiagramNode) -> float:
    name, detail = _text_width(_shorten(node.name), 13.5), _text_width(_shorten(node.detail), 11)
    badges = sum(_text_width(text, 11) + 22 for text in _badges(node).values())
    return max(_MIN_WIDTH, name + 32, detail + 32, 2 * badges + 12 if badges else 0.0)  # right of the arrows


def _badges(node: DiagramNode) -> dict[str, str]:
    numbers = {"failed": node.failed, "waiting": node.waiting}
    return {kind: f"{number:,} {kind}" for kind, number in numbers.items() if number}


def _box(node: DiagramNode, centre: Point, *, named: bool) -> Iterator[str]:
    x, y = centre
    half = _node_width(node) / 2
    name, detail = _shorten(node.name), _shorten(node.detail)
    title = " · ".join(filter(None, [node.name, node.detail]))
    data = _data({"node": node.key} if named else {})
    yield f'<g class="node {escape(node.kind)}"{data}><title>{_text(title)}</title>'
    yield from _shape(node.kind, x - half, y - _HALF, 2 * half)
    baseline = y - 3 if detail else y + 5
    yield f'<text class="name" x="{x:.0f}" y="{baseline:.0f}">{_text(name)}</text>'
    if detail:
        yield f'<text class="detail" x="{x:.0f}" y="{y + 13:.0f}">{_text(detail)}</text>'
    right = x + half + 6
    for kind, text in _badges(node).items():
        width = _text_width(text, 11) + 18
        yield _badge(kind, text, right - width, y - _HALF - 11, width)
        right -= width + 4
    yield "</g>"


def _shape(kind: str, left: float, top: float, width: float) -> Iterator[str]:
    """Yield the outline of a node of a kind."""
    box = f'x="{left:.0f}" y="{top:.0f}" width="{width:.0f}" height="{_HEIGHT:.0f}"'
    match kind:
        case "source":
            yield f'<rect class="shape" {box} rx="{_HALF:.0f}"/>'
        case "gate":
            side = width - 24
            outline = f"h{side:.0f}l12 {_HALF:.0f}-12 {_HALF:.0f}h{-side:.0f}l-12-{_HALF:.0f}z"
            yield f'<path class="shape" d="M{left + 12:.0f} {top:.0f}{outline}"/>'
        case "coalesce":
            yield f'<path class="shape" d="M{left:.0f} {top:.0f}h{width:.0f}l-12 {_HEIGHT:.0f}h{24 - width:.0f}z"/>'
        case "aggregation":
            behind = f'x="{left + 4:.0f}" y="{top + 4:.0f}" width="{width:.0f}" height="{_HEIGHT:.0f}"'
            yield f'<rect class="shape" {behind} rx="4"/><rect class="shape" {box} rx="4"/>'
        case "sink":
            line = f"M{left + 4:.0f} {top + _HEIGHT - 4:.0f}h{width - 8:.0f}"
            yield f'<rect class="shape" {box} rx="2"/><path class="shape" d="{line}"/>'
        case _:
            yield f'<rect class="shape" {box} rx="8"/>'


def _badge(kind: str, text: str, left: float, top: float, width: float) -> str:
    """Return a badge: failures have cut corners."""
    height = 18.0
    if kind == "failed":
        side = width - 10
        shape = f'<path d="M{left + 5:.0f} {top:.0f}h{side:.0f}l5 5v8l-5 5h{-side:.0f}l-5-5v-8z"/>'
    else:
        shape = f'<rect x="{left:.0f}" y="{top:.0f}" width="{width:.0f}" height="{height:.0f}" rx="9"/>'
    words = f'<text x="{left + width / 2:.0f}" y="{top + 13:.0f}">{_text(text)}</text>'
    return f'<g class="badge {kind}">{shape}{words}</g>'


# -- text ------------------------------------------------------------------------------------------------------------


def _text(text: str) -> str:
    return escape(printable(text), quote=False)


def _shorten(text: str) -> str:
    shown = printable(text)
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 12]}…{shown[-11:]}"


def _text_width(text: str, size: float) -> float:
    """Estimate the width of a text in pixels."""
    return sum(1.0 if unicodedata.east_asian_width(each) in "WF" else 0.6 for each in text) * size

"""Draw a graph as SVG, in layers.

Nodes stand below all nodes that lead to them. The same graph always makes the same text.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from html import escape

__all__ = ["DiagramEdge", "DiagramNode", "draw_svg"]

_CHARACTER = 7.5
_HEIGHT = 34
_LAYER = 92
_GAP = 36
_MARGIN = 20
_PADDING = 12
_SWEEPS = 4
_STYLE = (
    "text{font:13px ui-monospace,monospace;fill:#1b1f24}"
    ".label{font-size:11px;fill:#57606a;paint-order:stroke;stroke:#fff;stroke-width:4px}"
    "rect{fill:#fff;stroke:#57606a}.source rect{fill:#ddf4ff}.sink rect{fill:#dafbe1}.gate rect{fill:#fff8c5}"
    "path{fill:none;stroke:#57606a}.dotted{stroke-dasharray:4 4}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagramNode:
    """A box: key, text, and kind, its CSS class."""

    key: str
    text: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagramEdge:
    """An arrow between boxes; its text may be empty."""

    origin: str
    target: str
    text: str = ""
    is_dotted: bool = False


@dataclass(slots=True)
class _Slot:
    """A place in a layer, of node or edge."""

    width: float
    x: float = 0.0


def draw_svg(nodes: Sequence[DiagramNode], edges: Sequence[DiagramEdge], *, title: str) -> str:
    """Return a graph as an SVG document.

    Raises graphlib's CycleError if there is a cycle, KeyError for an edge of an unknown node.
    """
    layout = _Layout(nodes, edges)
    lines = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{layout.width:.0f}" height="{layout.height:.0f}"'
            f' viewBox="0 0 {layout.width:.0f} {layout.height:.0f}" role="img">'
        ),
        f"<title>{escape(title)}</title>",
        f"<style>{_STYLE}</style>",
        (
            '<defs><marker id="end" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
            '<path d="M0 0 8 4 0 8z" style="fill:#57606a"/></marker></defs>'
        ),
        '<rect width="100%" height="100%" style="stroke:none"/>',
        *layout.paths(),
        *layout.boxes(),
        *layout.labels(),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


class _Layout:
    """The places of nodes, and the points that edges pass."""

    def __init__(self, nodes: Sequence[DiagramNode], edges: Sequence[DiagramEdge]) -> None:
        self._nodes = nodes
        self._edges = edges
        self._depths = _depths(nodes, edges)
        self._slots = {node.key: _Slot(len(node.text) * _CHARACTER + 2 * _PADDING) for node in nodes}
        self._ways: list[list[str]] = [self._way(number, edge) for number, edge in enumerate(edges)]
        layers: list[list[str]] = [[] for _ in range(max(self._depths.values(), default=0) + 1)]
        for key, depth in self._depths.items():
            layers[depth].append(key)
        self._place(layers)
        self.width = 2 * _MARGIN + max((slot.x + slot.width / 2 for slot in self._slots.values()), default=0.0)
        self.height = 2 * _MARGIN + _HEIGHT + _LAYER * (len(layers) - 1)

    def _way(self, number: int, edge: DiagramEdge) -> list[str]:
        """Return the slots of an edge, one in each layer."""
        first, last = self._depths[edge.origin], self._depths[edge.target]
        passed = [f"\0{number}.{depth}" for depth in range(first + 1, last)]
        for depth, key in enumerate(passed, start=first + 1):
            self._slots[key] = _Slot(len(edge.text) * _CHARACTER)
            self._depths[key] = depth
        return [edge.origin, *passed, edge.target]

    def _place(self, layers: list[list[str]]) -> None:
        """Order layers by neighbours, and give slots their x."""
        neighbours: dict[str, list[str]] = {key: [] for key in self._slots}
        for way in self._ways:
            for upper, lower in itertools.pairwise(way):
                neighbours[lower].append(upper)
                neighbours[upper].append(lower)
        for sweep in range(_SWEEPS):
            for depth, layer in enumerate(layers if sweep % 2 == 0 else reversed(layers)):
                if depth:
                    layer.sort(key=lambda key: self._middle(neighbours[key]))
                self._spread(layer)
        widest = max((self._end(layer) for layer in layers), default=0.0)
        for layer in layers:
            shift = (widest - self._end(layer)) / 2
            for key in layer:
                self._slots[key].x += shift

    def _middle(self, keys: Sequence[str]) -> float:
        return sum(self._slots[key].x for key in keys) / max(len(keys), 1)

    def _spread(self, layer: Sequence[str]) -> None:
        x = float(_MARGIN)
        for key in layer:
            slot = self._slots[key]
            slot.x = x + slot.width / 2
            x += slot.width + _GAP

    def _end(self, layer: Sequence[str]) -> float:
        return self._slots[layer[-1]].x + self._slots[layer[-1]].width / 2 if layer else 0.0

    def _y(self, key: str) -> float:
        return _MARGIN + _HEIGHT / 2 + _LAYER * self._depths[key]

    def paths(self) -> Iterator[str]:
        """Yield the arrows, as curves through their points."""
        for edge, way in zip(self._edges, self._ways, strict=True):
            x, y = self._slots[way[0]].x, self._y(way[0]) + _HEIGHT / 2
            steps = [f"M{x:.0f} {y:.0f}"]
            for key in way[1:]:
                below = self._y(key) - (_HEIGHT / 2 if key == way[-1] else 0)
                half, x, y = (y + below) / 2, self._slots[key].x, below
                steps.append(f"C{self._last_x(steps)} {half:.0f} {x:.0f} {half:.0f} {x:.0f} {y:.0f}")
            dotted = ' class="dotted"' if edge.is_dotted else ""
            yield f'<path{dotted} d="{" ".join(steps)}" marker-end="url(#end)"/>'

    @staticmethod
    def _last_x(steps: Sequence[str]) -> str:
        return steps[-1].lstrip("M").split()[-2]

    def boxes(self) -> Iterator[str]:
        """Yield the nodes."""
        for node in self._nodes:
            slot, y = self._slots[node.key], self._y(node.key)
            left, top = slot.x - slot.width / 2, y - _HEIGHT / 2
            box = f'<rect x="{left:.0f}" y="{top:.0f}" width="{slot.width:.0f}" height="{_HEIGHT}" rx="6"/>'
            text = f'<text x="{slot.x:.0f}" y="{y + 4:.0f}" text-anchor="middle">{escape(node.text)}</text>'
            yield f'<g class="{escape(node.kind)}">{box}{text}</g>'

    def labels(self) -> Iterator[str]:
        """Yield the texts of edges, which cover the arrows."""
        for edge, way in zip(self._edges, self._ways, strict=True):
            if edge.text:
                x = (self._slots[way[0]].x + self._slots[way[1]].x) / 2
                y = (self._y(way[0]) + self._y(way[1])) / 2
                yield f'<text class="label" x="{x:.0f}" y="{y:.0f}" text-anchor="middle">{escape(edge.text)}</text>'


def _depths(nodes: Sequence[DiagramNode], edges: Sequence[DiagramEdge]) -> dict[str, int]:
    """Return the layer of each node.

    It is one below the last node that leads to it.
    """
    before: Mapping[str, list[str]] = {node.key: [] for node in nodes}
    for edge in edges:
        before[edge.target].append(edge.origin)
    found: dict[str, int] = {}
    for key in TopologicalSorter(before).static_order():
        found[key] = max((found[origin] + 1 for origin in before[key]), default=0)
    return {node.key: found[node.key] for node in nodes}

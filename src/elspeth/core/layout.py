"""Lays out graphs in layers, without randomness.

The steps are those of Sugiyama, Tagawa and Toda (1981). A node is placed in the layer below the last node that leads to
it. An edge passes every layer between its ends in a slot of its own. Slots are ordered so that few edges cross; then
each slot is placed as near to its neighbours as the order allows. Between two layers of nodes there is a layer for the
labels of edges, so that no label covers anything.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right, insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter

__all__ = ["Layout", "LayoutEdge", "Point", "lay_out"]

Point = tuple[float, float]

_GAP = 28.0
"""The smallest distance between the boxes of a layer."""

_GAP_OF_EDGES = 14.0
"""The smallest distance between an edge and its neighbours."""

_RANK_GAP = 24.0
"""The distance between a layer of nodes and the labels below or above it."""

_ORDERINGS = 24
"""The number of sweeps over the layers that look for fewer crossings."""

_ALIGNMENTS = 40
"""The number of sweeps over the layers that move slots towards their neighbours."""

_PULLS = (1.0, 2.0, 8.0)
"""How strongly two slots of an edge attract each other, by how many of them are bends: bends make an edge straight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutEdge:
    """An edge, and the width of its label.

    The greater its weight, the straighter it is.
    """

    origin: str
    target: str
    label: float = 0.0
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The positions of nodes, edges and labels.

    `nodes` maps keys to the centres of boxes. `edges` holds the points that each edge passes, from the bottom of one
    box to the top of another, and `labels` the centres of the labels. `crossings` counts the crossings of edges.
    """

    nodes: Mapping[str, Point]
    edges: tuple[tuple[Point, ...], ...]
    labels: tuple[Point, ...]
    width: float
    height: float
    crossings: int


def lay_out(
    widths: Mapping[str, float], edges: Sequence[LayoutEdge], *, node_height: float, label_height: float
) -> Layout:
    """Lay out a graph, given the widths of its nodes.

    Raises graphlib.CycleError if there is a cycle, and KeyError for an edge of an unknown node.
    """
    ranks = _Ranks(widths, edges)
    crossings = ranks.order()
    xs = ranks.align()
    heights = [
        node_height if rank % 2 == 0 else label_height if any(ranks.widths[slot] for slot in layer) else 0.0
        for rank, layer in enumerate(ranks.layers)
    ]
    tops = list(itertools.accumulate((height + _RANK_GAP for height in heights[:-1]), initial=0.0))
    middles = [top + height / 2 for top, height in zip(tops, heights, strict=bool(heights))]
    half = node_height / 2
    nodes = {key: (xs[key], middles[ranks.rank[key]]) for key in widths}
    ways = []
    for way in ranks.ways:
        between = []
        for slot in way[1:-1]:
            if ranks.rank[slot] % 2 == 0:  # the edge passes the boxes of this layer in a straight line
                between += [(xs[slot], middles[ranks.rank[slot]] + side) for side in (-half, half)]
            elif ranks.widths[slot]:
                between.append((xs[slot], middles[ranks.rank[slot]]))
        (x, y), (last_x, last_y) = nodes[way[0]], nodes[way[-1]]
        ways.append(((x, y + half), *between, (last_x, last_y - half)))
    return Layout(
        nodes=nodes,
        edges=tuple(ways),
        labels=tuple((xs[way[1]], middles[ranks.rank[way[1]]]) for way in ranks.ways),
        width=max((xs[slot] + width / 2 for slot, width in ranks.widths.items()), default=0.0),
        height=tops[-1] + heights[-1] if heights else 0.0,
        crossings=crossings,
    )


class _Ranks:
    """The layers with their slots: nodes, and bends of edges.

    Nodes are in the even layers. The first bend of an edge, in the odd layer below its origin, holds its label.
    """

    def __init__(self, widths: Mapping[str, float], edges: Sequence[LayoutEdge]) -> None:
        self.widths = dict(widths)
        self.rank = {key: 2 * depth for key, depth in _depths(widths, edges).items()}
        self.layers: list[list[str]] = [[] for _ in range(max(self.rank.values(), default=-1) + 1)]
        for key, rank in self.rank.items():
            self.layers[rank].append(key)
        self.ways = [self._way(number, edge) for number, edge in enumerate(edges)]
        self._bends = self.widths.keys() - widths.keys()
        self._above: dict[str, list[str]] = {slot: [] for slot in self.widths}
        self._below: dict[str, list[str]] = {slot: [] for slot in self.widths}
        self._weights: dict[tuple[str, str], float] = {}
        for way, edge in zip(self.ways, edges, strict=True):
            for upper, lower in itertools.pairwise(way):
                self._below[upper].append(lower)
                self._above[lower].append(upper)
                self._weights[upper, lower] = self._weights[lower, upper] = edge.weight

    def _way(self, number: int, edge: LayoutEdge) -> list[str]:
        """Add the bends of an edge, returning all its slots."""
        first, last = self.rank[edge.origin], self.rank[edge.target]
        bends = []
        for rank in range(first + 1, last):
            bend = f"\0{number}.{rank}"
            self.widths[bend] = edge.label if rank == first + 1 else 0.0
            self.rank[bend] = rank
            self.layers[rank].append(bend)
            bends.append(bend)
        return [edge.origin, *bends, edge.target]

    # -- order -------------------------------------------------------------------------------------------------------

    def order(self) -> int:
        """Order the layers, and return the number of crossings."""
        self._order_by_depth_first()
        best, fewest = self._copy(), self._crossings()
        for sweep in range(_ORDERINGS):
            if not fewest:
                break
            downwards = sweep % 2 == 0
            for layer in self.layers if downwards else reversed(self.layers):
                self._sort(layer, self._above if downwards else self._below, reverse=sweep % 4 > 1)
            self._swap_neighbours()
            found = self._crossings()
            if found < fewest:
                best, fewest = self._copy(), found
        self.layers = best
        return fewest

    def _copy(self) -> list[list[str]]:
        return [[*layer] for layer in self.layers]

    def _order_by_depth_first(self) -> None:
        """Order slots as a depth-first walk meets them."""
        met: dict[str, None] = {}
        waiting = [slot for layer in reversed(self.layers) for slot in reversed(layer)]
        while waiting:
            slot = waiting.pop()
            if slot not in met:
                met[slot] = None
                waiting += reversed(self._below[slot])
        place = {slot: number for number, slot in enumerate(met)}
        for layer in self.layers:
            layer.sort(key=place.__getitem__)

    def _sort(self, layer: list[str], neighbours: Mapping[str, list[str]], *, reverse: bool) -> None:
        """Sort a layer by the median of neighbours in another.

        Slots without neighbours keep their positions. With `reverse`, slots with the same median change places.
        """
        place = {slot: number for other in self.layers for number, slot in enumerate(other)}
        middles = {
            slot: sum(place[each] for each in neighbours[slot]) / len(neighbours[slot])
            for slot in layer
            if neighbours[slot]
        }
        moved = [slot for slot in layer if slot in middles]
        if reverse:
            moved.reverse()
        moved.sort(key=middles.__getitem__)
        following = iter(moved)
        layer[:] = [next(following) if slot in middles else slot for slot in layer]

    def _swap_neighbours(self) -> None:
        """Swap adjacent slots as long as that removes crossings."""
        improved = True
        while improved:
            improved = False
            for layer in self.layers:
                place = {slot: number for other in self.layers for number, slot in enumerate(other)}
                for number in range(len(layer) - 1):
                    left, right = layer[number], layer[number + 1]
                    if self._pair_crossings(left, right, place) > self._pair_crossings(right, left, place):
                        layer[number], layer[number + 1] = right, left
                        improved = True

    def _pair_crossings(self, left: str, right: str, place: Mapping[str, int]) -> int:
        """Count the crossings of two slots' edges in this order."""
        return sum(
            place[one] > place[other]
            for side in (self._above, self._below)
            for one in side[left]
            for other in side[right]
        )

    def _crossings(self) -> int:
        total = 0
        for upper, lower in itertools.pairwise(self.layers):
            place = {slot: number for number, slot in enumerate(lower)}
            ends: list[int] = []
            for slot in upper:
                found = sorted(place[each] for each in self._below[slot])
                total += sum(len(ends) - bisect_right(ends, end) for end in found)
                for end in found:
                    insort(ends, end)
        return total

    # -- places ------------------------------------------------------------------------------------------------------

    def align(self) -> dict[str, float]:
        """Return the x of the centre of each slot."""
        xs = {slot: x for layer in self.layers for slot, x in zip(layer, self._packed(layer), strict=True)}
        for sweep in range(_ALIGNMENTS):
            downwards = sweep % 2 == 0
            both = sweep >= _ALIGNMENTS - 2
            for layer in self.layers if downwards else reversed(self.layers):
                self._align_layer(layer, xs, above=downwards or both, below=both or not downwards)
        left = min((xs[slot] - self.widths[slot] / 2 for slot in xs), default=0.0)
        return {slot: x - left for slot, x in xs.items()}

    def _packed(self, layer: Sequence[str]) -> list[float]:
        """Return centres that are as close together as allowed."""
        return list(itertools.accumulate(itertools.starmap(self._distance, itertools.pairwise(layer)), initial=0.0))

    def _distance(self, left: str, right: str) -> float:
        is_edge = left in self._bends or right in self._bends
        return (self.widths[left] + self.widths[right]) / 2 + (_GAP_OF_EDGES if is_edge else _GAP)

    def _align_layer(self, layer: Sequence[str], xs: dict[str, float], *, above: bool, below: bool) -> None:
        """Move the slots of a layer towards their neighbours.

        The sum of the squared distances becomes as small as the order and the widths allow. This is an isotonic
        regression of the wanted positions, after the packed positions are subtracted.
        """
        packed = self._packed(layer)
        wishes = []
        for slot, base in zip(layer, packed, strict=True):
            near = [*(self._above[slot] if above else ()), *(self._below[slot] if below else ())]
            pulls = [self._pull(slot, each) for each in near]
            weight = sum(pulls)
            wish = sum(pull * xs[each] for pull, each in zip(pulls, near, strict=True)) / weight if near else xs[slot]
            wishes.append((wish - base, weight or 0.01))
        for slot, base, x in zip(layer, packed, _isotonic(wishes), strict=True):
            xs[slot] = base + x

    def _pull(self, slot: str, other: str) -> float:
        return self._weights[slot, other] * _PULLS[(slot in self._bends) + (other in self._bends)]


def _isotonic(wishes: Iterable[tuple[float, float]]) -> list[float]:
    """Return the ascending values nearest to weighted wishes.

    They are nearest by least squares, and found by pooling adjacent violators.
    """
    blocks: list[tuple[float, float, int]] = []
    """The mean, weight and number of the wishes that share one value."""
    for wish, weight in wishes:
        mean, total, number = wish, weight, 1
        while blocks and blocks[-1][0] >= mean:
            before, other, count = blocks.pop()
            mean = (before * other + mean * total) / (other + total)
            total, number = total + other, number + count
        blocks.append((mean, total, number))
    return [mean for mean, _, number in blocks for _ in range(number)]


def _depths(nodes: Iterable[str], edges: Sequence[LayoutEdge]) -> dict[str, int]:
    """Return the number of layers above each node."""
    before: dict[str, list[str]] = {key: [] for key in nodes}
    for edge in edges:
        before[edge.origin]  # raises KeyError for an unknown origin
        before[edge.target].append(edge.origin)
    found: dict[str, int] = {}
    for key in TopologicalSorter(before).static_order():
        found[key] = max((found[origin] + 1 for origin in before[key]), default=0)
    return {key: found[key] for key in before}

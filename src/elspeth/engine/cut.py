"""Divides a graph into row-local and ordered steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from elspeth.core.settings.wiring import Place, Wiring
from elspeth.engine.pipeline import Pipeline

__all__ = ["Cut", "cut_graph"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """The ordered places, and the coalesces behind each place.

    The result at an ordered place depends on earlier rows, or on another ordered place before it. All other places are
    row-local: any process may take a row through them. `behind` also includes the place itself.
    """

    ordered: frozenset[Place]
    behind: Mapping[Place, frozenset[Place]]


def cut_graph(pipeline: Pipeline) -> Cut:
    """Return which places of a pipeline are ordered."""
    wiring = pipeline.wiring
    ordered = {place for place in wiring.places() if place[0] in {"sinks", "aggregations"}}
    ordered |= {place for place, each in pipeline.transforms.items() if not each.is_row_local}
    for place in wiring.places():
        if place in ordered:
            ordered |= {wire.target for wire in wiring.leaving(place)}
    return Cut(ordered=frozenset(ordered), behind=_coalesces_behind(wiring))


def _coalesces_behind(wiring: Wiring) -> dict[Place, frozenset[Place]]:
    found: dict[Place, frozenset[Place]] = {}
    for place in reversed(wiring.places()):
        itself = [place] if place[0] == "coalesce" else []
        found[place] = frozenset(itself).union(*(found[wire.target] for wire in wiring.leaving(place)))
    return found

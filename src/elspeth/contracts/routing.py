"""The routes and edges that tokens take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from elspeth.contracts.enums import RoutingKind, RoutingMode

__all__ = ["CONTINUE", "DISCARD", "FORK", "ON_ERROR", "QUARANTINE", "EdgeInfo", "RoutingAction", "RoutingSpec"]

CONTINUE = "continue"
"""The route to the next node, and the label of its edge."""

FORK = "fork"
"""The route along every branch at once."""

DISCARD = "discard"
"""The destination of rows that are only recorded."""

QUARANTINE = "__quarantine__"
"""The label of the edge that invalid rows take from the source."""

ON_ERROR = "__error__"
"""The label of the edge that rows take from a transform or aggregation that cannot process them."""

_NO_REASON: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class RoutingAction:
    """The decision of a gate about one token.

    Raises ValueError if kind and destinations contradict each other.
    """

    kind: RoutingKind
    destinations: tuple[str, ...]
    mode: RoutingMode
    reason: Mapping[str, object] = field(default_factory=lambda: _NO_REASON)

    def __post_init__(self) -> None:
        count = len(self.destinations)
        if self.kind is RoutingKind.CONTINUE and count != 0:
            raise ValueError(f"a token that continues has no destinations, got {self.destinations!r}")
        if self.kind is RoutingKind.ROUTE and count != 1:
            raise ValueError(f"a routed token has exactly one destination, got {self.destinations!r}")
        if self.kind is RoutingKind.FORK_TO_PATHS and (count == 0 or len(set(self.destinations)) != count):
            raise ValueError(f"a fork needs at least one path and no path twice, got {self.destinations!r}")
        if self.mode is RoutingMode.COPY and self.kind is not RoutingKind.FORK_TO_PATHS:
            raise ValueError(f"mode 'copy' belongs to forks: a token that takes {self.kind.value!r} moves")
        object.__setattr__(self, "reason", MappingProxyType(dict(self.reason)))

    @classmethod
    def continue_(cls, *, reason: Mapping[str, object] | None = None) -> RoutingAction:
        """Return the decision to go on to the next node."""
        return cls(RoutingKind.CONTINUE, (), RoutingMode.MOVE, reason or _NO_REASON)

    @classmethod
    def route(
        cls, label: str, *, mode: RoutingMode = RoutingMode.MOVE, reason: Mapping[str, object] | None = None
    ) -> RoutingAction:
        """Return the decision to take the edge with a label."""
        return cls(RoutingKind.ROUTE, (label,), mode, reason or _NO_REASON)

    @classmethod
    def fork_to_paths(cls, paths: Sequence[str], *, reason: Mapping[str, object] | None = None) -> RoutingAction:
        """Return the decision to send a copy along every path."""
        return cls(RoutingKind.FORK_TO_PATHS, tuple(paths), RoutingMode.COPY, reason or _NO_REASON)


@dataclass(frozen=True, slots=True)
class RoutingSpec:
    """One edge that a token takes."""

    edge_id: str
    mode: RoutingMode


@dataclass(frozen=True, slots=True)
class EdgeInfo:
    """One edge of the graph."""

    from_node: str
    to_node: str
    label: str
    mode: RoutingMode

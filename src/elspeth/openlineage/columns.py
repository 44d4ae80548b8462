"""Fields of outputs traced to fields of inputs.

Fields are followed through the steps that only rename, remove, coerce or pass them on. What any other step hands on is
not known, so nothing is said about the fields that come out of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from elspeth.contracts.plugins import Dataset
from elspeth.openlineage.records import LineageRecords
from elspeth_schema.contracts import Node, NodeType, RoutingMode

__all__ = ["trace_columns"]

_IDENTITY = "IDENTITY"
_TRANSFORMATION = "TRANSFORMATION"

_UNCHANGED = frozenset({"dedupe", "filter", "keyword_filter", "passthrough"})
_COERCING = frozenset({"cast", "truncate"})
"""Transforms that change values and keep the names of fields."""

_CLOSED_MODES = frozenset({"fixed", "strict"})


@dataclass(frozen=True, slots=True, order=True)
class _Origin:
    """A field of an input, and what became of it."""

    namespace: str
    name: str
    field: str
    subtype: str = _IDENTITY

    def to_json(self) -> dict[str, object]:
        kind = {"type": "DIRECT", "subtype": self.subtype}
        return {"namespace": self.namespace, "name": self.name, "field": self.field, "transformations": [kind]}


_Origins = frozenset[_Origin]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fields:
    """The origins of fields at a place of the graph.

    `known` has those that are named somewhere. All others but those `gone` have their own names in the datasets that
    are `open`.
    """

    known: Mapping[str, _Origins] = field(default_factory=dict)
    open: frozenset[Dataset] = frozenset()
    gone: frozenset[str] = frozenset()

    def origins(self, name: str) -> _Origins:
        """Return where the values of a field come from."""
        if name in self.known or name in self.gone:
            return self.known.get(name, frozenset())
        return frozenset(_Origin(each.namespace, each.name, name) for each in self.open)

    def renamed(self, names: Mapping[str, str]) -> _Fields:
        """Return the fields under new names."""
        moved = {new: self.origins(old) for old, new in names.items()}
        kept = {name: origins for name, origins in self.known.items() if name not in names}
        return _Fields(known=kept | moved, open=self.open, gone=(self.gone | set(names)) - set(moved))

    def selected(self, names: Mapping[str, str]) -> _Fields:
        """Return some fields under new names, and no others."""
        return _Fields(known={new: self.origins(old) for old, new in names.items()})

    def without(self, names: Iterable[str]) -> _Fields:
        """Return the fields without some of them."""
        lost = set(names)
        kept = {name: origins for name, origins in self.known.items() if name not in lost}
        return _Fields(known=kept, open=self.open, gone=self.gone | lost)

    def coerced(self) -> _Fields:
        """Return the fields with values that may have changed."""
        known = {
            name: frozenset(replace(each, subtype=_TRANSFORMATION) for each in origins)
            for name, origins in self.known.items()
        }
        return _Fields(known=known)


def trace_columns(records: LineageRecords) -> dict[str, dict[str, list[dict[str, object]]]]:
    """Return the origins of each sink's fields, by node id.

    Sinks of which nothing is known are left out.
    """
    tracer = _Tracer(records)
    found: dict[str, dict[str, list[dict[str, object]]]] = {}
    for sink in records.nodes_of(NodeType.SINK):
        fields = tracer.arriving(sink.node_id)
        known = {} if fields is None else {name: sorted(origins) for name, origins in fields.known.items() if origins}
        if known:
            found[sink.node_id] = {name: [each.to_json() for each in known[name]] for name in sorted(known)}
    return found


class _Tracer:
    """Follows fields along the edges of a graph.

    Rows that leave their path after an error are not followed.
    """

    def __init__(self, records: LineageRecords) -> None:
        self._records = records
        self._nodes = {node.node_id: node for node in records.nodes}
        self._before: dict[str, list[str]] = {}
        for edge in records.edges:
            if edge.default_mode is not RoutingMode.DIVERT:
                self._before.setdefault(edge.to_node_id, []).append(edge.from_node_id)
        self._leaving: dict[str, _Fields | None] = {}

    def arriving(self, node_id: str) -> _Fields | None:
        """Return the fields that reach a node, None if unknown."""
        found = [self.leaving(each) for each in dict.fromkeys(self._before.get(node_id, []))]
        known = [each for each in found if each is not None]
        return _merged(known) if known and len(known) == len(found) else None

    def leaving(self, node_id: str) -> _Fields | None:
        """Return the fields that a node hands on."""
        if node_id not in self._leaving:
            self._leaving[node_id] = self._compute(self._nodes[node_id])
        return self._leaving[node_id]

    def _compute(self, node: Node) -> _Fields | None:
        if node.node_type is NodeType.SOURCE:
            return _of_source(node, self._records.datasets(node))
        fields = self.arriving(node.node_id)
        if fields is None or node.node_type is NodeType.GATE:
            return fields
        options = self._records.configs[node.node_id].get("options")
        return _after(node, options if isinstance(options, dict) else {}, fields)


def _of_source(node: Node, datasets: Sequence[Dataset]) -> _Fields | None:
    """Return the fields of a source that reads one dataset."""
    if len(datasets) != 1:
        return None
    (dataset,) = datasets
    names = [each["name"] for each in json.loads(node.schema_fields_json or "[]")]
    known = {name: frozenset({_Origin(dataset.namespace, dataset.name, name)}) for name in names}
    return _Fields(known=known, open=frozenset() if node.schema_mode in _CLOSED_MODES else frozenset({dataset}))


def _after(node: Node, options: Mapping[str, object], fields: _Fields) -> _Fields | None:
    """Return the fields after a built-in transform, None if unknown."""
    match node.node_type, node.plugin_name, options:
        case NodeType.TRANSFORM, name, _ if name in _UNCHANGED:
            return fields
        case NodeType.TRANSFORM, name, _ if name in _COERCING:
            return fields.coerced()
        case NodeType.TRANSFORM, "rename", {"fields": dict() as names}:
            return fields.renamed(names)
        case NodeType.TRANSFORM, "select", {"fields": list() as names}:
            return fields.selected({name: name for name in names})
        case NodeType.TRANSFORM, "drop", {"fields": list() as names}:
            return fields.without(names)
        case NodeType.TRANSFORM, "field_mapper", _:
            return _mapped(options, fields)
        case _:
            return None


def _mapped(options: Mapping[str, object], fields: _Fields) -> _Fields:
    names = options.get("mappings") or options.get("mapping") or {}
    computed = options.get("computed") or {}
    known_names = names if isinstance(names, dict) else {}
    changed = fields.selected(known_names) if options.get("select_only") else fields.renamed(known_names)
    return changed.without(computed if isinstance(computed, dict) else {})


def _merged(ways: Sequence[_Fields]) -> _Fields:
    """Return the fields of rows that come several ways."""
    if len(ways) == 1:
        return ways[0]
    names = {name for way in ways for name in way.known}
    known = {name: frozenset(origin for way in ways for origin in way.origins(name)) for name in names}
    gone = frozenset.intersection(*(way.gone for way in ways))
    return _Fields(known=known, open=frozenset(each for way in ways for each in way.open), gone=gone)

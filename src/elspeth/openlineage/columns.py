"""Traces fields of outputs to fields of inputs.

Transforms declare from which fields those of their results come, and gates change no fields. Fields that leave any
other kind of step are not traced.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from elspeth.contracts.plugins import Dataset, FieldOrigins
from elspeth.openlineage.records import LineageRecords
from elspeth_schema.contracts import Node, NodeType, RoutingMode

__all__ = ["trace_columns"]

_IDENTITY = "IDENTITY"
_TRANSFORMATION = "TRANSFORMATION"

_CLOSED_MODES = frozenset({"fixed", "strict"})


@dataclass(frozen=True, slots=True, order=True)
class _Origin:
    """A field of an input, and whether its values changed."""

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
    """The origins of fields at one place of the graph.

    `known` holds the fields that some step names. All other fields, except those in `gone`, come from the fields of
    the same name in the datasets `open`; the values of those in `changed` differ.
    """

    known: Mapping[str, _Origins] = field(default_factory=dict)
    open: frozenset[Dataset] = frozenset()
    gone: frozenset[str] = frozenset()
    changed: frozenset[str] = frozenset()

    def origins(self, name: str) -> _Origins:
        """Return the origins of the values of a field.

        The name may be that of a value inside a field that is an object.
        """
        if name in self.known or name in self.gone:
            return self.known.get(name, frozenset())
        head = _head(name)
        if head in self.known or head in self.gone:
            return _derived(self.known.get(head, frozenset()))
        subtype = _IDENTITY if self.changed.isdisjoint({name, head}) else _TRANSFORMATION
        return frozenset(_Origin(each.namespace, each.name, name, subtype) for each in self.open)

    def behind(self, step: FieldOrigins) -> _Fields:
        """Return the fields behind a transform."""
        made = {name: self.origins(origin) for name, origin in step.same.items()}
        for name, read in step.derived.items():
            made[name] = _derived(frozenset(origin for each in read for origin in self.origins(each)))
        if not step.keeps_others:
            return _Fields(known=made)
        gone, changed = frozenset(step.removed), frozenset(step.changed)
        touched = {_head(name) for name in gone | changed} | changed
        kept = {
            name: _derived(origins) if name in touched else origins
            for name, origins in self.known.items()
            if name not in gone
        }
        return _Fields(known=kept | made, open=self.open, gone=self.gone | gone, changed=self.changed | touched)


def _head(name: str) -> str:
    """Return the field with which a nested name begins."""
    return name.partition(".")[0]


def _derived(origins: _Origins) -> _Origins:
    return frozenset(replace(each, subtype=_TRANSFORMATION) for each in origins)


def trace_columns(records: LineageRecords) -> dict[str, dict[str, list[dict[str, object]]]]:
    """Return the origins of each sink's fields, by node id.

    Sinks whose fields cannot be traced are omitted.
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
        """Return the fields that reach a node, or None."""
        found = [self.leaving(each) for each in dict.fromkeys(self._before.get(node_id, []))]
        known = [each for each in found if each is not None]
        return _merged(known) if known and len(known) == len(found) else None

    def leaving(self, node_id: str) -> _Fields | None:
        """Return the fields that leave a node."""
        if node_id not in self._leaving:
            self._leaving[node_id] = self._compute(self._nodes[node_id])
        return self._leaving[node_id]

    def _compute(self, node: Node) -> _Fields | None:
        if node.node_type is NodeType.SOURCE:
            return _of_source(node, self._records.datasets(node))
        fields = self.arriving(node.node_id)
        if fields is None or node.node_type is NodeType.GATE:
            return fields
        origins = self._records.field_origins(node)
        return None if origins is None else fields.behind(origins)


def _of_source(node: Node, datasets: Sequence[Dataset]) -> _Fields | None:
    """Return the fields of a source that reads one dataset."""
    if len(datasets) != 1:
        return None
    (dataset,) = datasets
    names = [each["name"] for each in json.loads(node.schema_fields_json or "[]")]
    known = {name: frozenset({_Origin(dataset.namespace, dataset.name, name)}) for name in names}
    return _Fields(known=known, open=frozenset() if node.schema_mode in _CLOSED_MODES else frozenset({dataset}))


def _merged(ways: Sequence[_Fields]) -> _Fields:
    """Merge the fields of rows that arrive along several edges."""
    if len(ways) == 1:
        return ways[0]
    names = {name for way in ways for name in way.known}
    known = {name: frozenset(origin for way in ways for origin in way.origins(name)) for name in names}
    return _Fields(
        known=known,
        open=frozenset(each for way in ways for each in way.open),
        gone=frozenset.intersection(*(way.gone for way in ways)),
        changed=frozenset(name for way in ways for name in way.changed),
    )

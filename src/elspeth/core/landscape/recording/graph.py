"""The run's graph: nodes and the edges between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from elspeth.contracts.schema import SchemaConfig
from elspeth.core.canonical import canonical_json, stable_hash
from elspeth.core.landscape.recording.base import RecorderPart, json_or_none, member_of, new_id, now
from elspeth_schema import records
from elspeth_schema.contracts import Determinism, Edge, Node, NodeType, RoutingMode
from elspeth_schema.tables import edges_table, nodes_table

__all__ = ["GraphRecording"]


class GraphRecording(RecorderPart):
    """Calls about nodes and edges."""

    def register_node(
        self,
        run_id: str,
        plugin_name: str,
        node_type: NodeType | str,
        plugin_version: str,
        config: Mapping[str, Any],
        *,
        node_id: str | None = None,
        sequence: int | None = None,
        schema_hash: str | None = None,
        determinism: Determinism | str = Determinism.DETERMINISTIC,
        schema_config: SchemaConfig,
        input_contract: Mapping[str, Any] | None = None,
        output_contract: Mapping[str, Any] | None = None,
    ) -> Node:
        """Record a node with its configuration, which must hold no secrets."""
        fields = None if schema_config.fields is None else [field.to_dict() for field in schema_config.fields]
        node = Node(
            run_id=run_id,
            node_id=node_id or new_id(),
            plugin_name=plugin_name,
            node_type=member_of(NodeType, node_type, call="register_node"),
            plugin_version=plugin_version,
            determinism=member_of(Determinism, determinism, call="register_node"),
            config_hash=stable_hash(config),
            config_json=canonical_json(config),
            schema_hash=schema_hash,
            sequence_in_pipeline=sequence,
            registered_at=now(),
            schema_mode="dynamic" if schema_config.is_dynamic else schema_config.mode,
            schema_fields_json=json_or_none(fields),
            input_contract_json=json_or_none(input_contract),
            output_contract_json=json_or_none(output_contract),
        )
        self._store.add(node)
        return node

    def register_edge(
        self,
        run_id: str,
        from_node_id: str,
        to_node_id: str,
        label: str,
        mode: RoutingMode | str,
        *,
        edge_id: str | None = None,
    ) -> Edge:
        """Record an edge; labels are unique among the edges that leave a node."""
        edge = Edge(
            run_id=run_id,
            edge_id=edge_id or new_id(),
            from_node_id=from_node_id,
            to_node_id=to_node_id,
            label=label,
            default_mode=member_of(RoutingMode, mode, call="register_edge"),
            created_at=now(),
        )
        self._store.add(edge)
        return edge

    def get_node(self, node_id: str, run_id: str | None = None) -> Node | None:
        """The node, or None. Give the run: runs of one pipeline use the same node ids."""
        return self._store.get(records.NODE, node_id, run_id=run_id)

    def get_nodes(self, run_id: str) -> list[Node]:
        """The run's nodes in pipeline order; nodes without a place in it come last."""
        found = self._store.select(records.NODE, nodes_table.c.run_id == run_id)
        return sorted(found, key=lambda node: (node.sequence_in_pipeline is None, node.sequence_in_pipeline or 0))

    def get_edge(self, edge_id: str, *, run_id: str | None = None) -> Edge:
        """The edge; AuditIntegrityError if there is none."""
        return self._store.require(records.EDGE, edge_id, run_id=run_id)

    def get_edges(self, run_id: str) -> list[Edge]:
        """The run's edges in the order they were registered."""
        found = self._store.select(records.EDGE, edges_table.c.run_id == run_id)
        return sorted(found, key=lambda edge: (edge.created_at, edge.edge_id))

    def get_edge_map(self, run_id: str) -> dict[tuple[str, str], str]:
        """Edge ids by (from node, label)."""
        return {(edge.from_node_id, edge.label): edge.edge_id for edge in self.get_edges(run_id)}

"""A pipeline made from its settings: plugins, compiled gates, and the graph that joins them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from elspeth.contracts.enums import Determinism, NodeType, RoutingMode
from elspeth.contracts.routing import EdgeInfo
from elspeth.contracts.schema import SchemaConfig
from elspeth.core.canonical import stable_hash
from elspeth.core.expressions import Expression, compile_expression
from elspeth.core.secrets import mask_secrets, redact
from elspeth.core.settings import Settings
from elspeth.core.settings.model import GateSettings
from elspeth.plugins.base import Plugin, Sink, Source
from elspeth.plugins.manager import PluginManager

__all__ = ["CONTINUE", "DISCARD", "QUARANTINE", "Gate", "Node", "Pipeline", "build_pipeline"]

CONTINUE = "continue"
"""The route to the next node, and the label of edges that lead there."""

DISCARD = "discard"
"""The destination of rows that are recorded and go nowhere."""

QUARANTINE = "__quarantine__"
"""The label of the edge that invalid rows take from the source; settings cannot name a route so."""

_MAX_NODE_ID = 64
_DYNAMIC = SchemaConfig(mode=None, fields=None, is_dynamic=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One node of the graph, as it is registered in the audit trail. `config` may hold secrets."""

    node_id: str
    node_type: NodeType
    name: str
    plugin_name: str
    plugin_version: str
    determinism: Determinism
    schema: SchemaConfig
    config: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A condition and the destination (`CONTINUE` or a sink's name) for each of its labels."""

    node: Node
    condition: Expression
    routes: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """Everything a run needs: the plugins, and the nodes that stand for them. Sinks are by name."""

    settings: Settings
    source: Source
    source_node: Node
    on_validation_failure: str
    gates: tuple[Gate, ...]
    sinks: Mapping[str, Sink]
    sink_nodes: Mapping[str, Node]

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes, in the order rows meet them."""
        return (self.source_node, *(gate.node for gate in self.gates), *self.sink_nodes.values())

    def edges(self) -> Iterator[EdgeInfo]:
        """Every edge that a row can take."""
        output = self.sink_nodes[self.settings.output_sink]
        following = [*(gate.node for gate in self.gates), output]
        yield EdgeInfo(self.source_node.node_id, following[0].node_id, CONTINUE, RoutingMode.MOVE)
        if self.on_validation_failure != DISCARD:
            quarantine = self.sink_nodes[self.on_validation_failure]
            yield EdgeInfo(self.source_node.node_id, quarantine.node_id, QUARANTINE, RoutingMode.DIVERT)
        for gate, following_node in zip(self.gates, following[1:], strict=True):
            for label, destination in gate.routes.items():
                target = following_node if destination == CONTINUE else self.sink_nodes[destination]
                yield EdgeInfo(gate.node.node_id, target.node_id, label, RoutingMode.MOVE)


def build_pipeline(settings: Settings, plugins: PluginManager) -> Pipeline:
    """Make the plugins of valid settings and join them. Touches nothing outside."""
    export = settings.landscape.export
    source = plugins.source(settings.datasource.plugin, settings.datasource.options)
    row_sinks = {name: sink for name, sink in settings.sinks.items() if not (export.enabled and name == export.sink)}
    sinks = {name: plugins.sink(sink.plugin, sink.options) for name, sink in row_sinks.items()}
    source_config = settings.datasource.model_dump()
    sink_configs = {name: {"name": name, **sink.model_dump()} for name, sink in row_sinks.items()}
    return Pipeline(
        settings=settings,
        source=source,
        source_node=_plugin_node(NodeType.SOURCE, source.name, source, source_config),
        on_validation_failure=source.options.on_validation_failure,
        gates=tuple(map(_gate, settings.gates)),
        sinks=sinks,
        sink_nodes={name: _plugin_node(NodeType.SINK, name, sink, sink_configs[name]) for name, sink in sinks.items()},
    )


def _plugin_node(node_type: NodeType, name: str, plugin: Plugin, config: Mapping[str, object]) -> Node:
    return Node(
        node_id=_node_id(node_type, name, config),
        node_type=node_type,
        name=name,
        plugin_name=plugin.name,
        plugin_version=plugin.plugin_version,
        determinism=plugin.determinism,
        schema=plugin.options.schema_config,
        config=config,
    )


def _gate(settings: GateSettings) -> Gate:
    config = settings.model_dump(exclude_none=True)
    node = Node(
        node_id=_node_id(NodeType.GATE, settings.name, config),
        node_type=NodeType.GATE,
        name=settings.name,
        plugin_name="config_gate",
        plugin_version="1.0.0",
        determinism=Determinism.DETERMINISTIC,
        schema=_DYNAMIC,
        config=config,
    )
    return Gate(node=node, condition=compile_expression(settings.condition), routes=settings.routes)


def _node_id(node_type: NodeType, name: str, config: Mapping[str, object]) -> str:
    """Readable, the same in every run of the same settings, and telling nothing of secrets."""
    digest = stable_hash(mask_secrets(config, redact))[:8]
    return f"{node_type}_{name}"[: _MAX_NODE_ID - len(digest) - 1] + f"_{digest}"

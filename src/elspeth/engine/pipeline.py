"""Makes a pipeline from settings: plugins, conditions and graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from elspeth.contracts.enums import Determinism, NodeType, RoutingMode
from elspeth.contracts.expressions import Expression, compile_expression
from elspeth.contracts.plugins import Aggregation, Plugin, Sink, Source, Transform
from elspeth.contracts.python_functions import RowFunction, row_function
from elspeth.contracts.routing import EdgeInfo
from elspeth.contracts.schema import SchemaConfig
from elspeth.contracts.schema_option import DYNAMIC
from elspeth.core.canonical import stable_hash
from elspeth.core.placeholders import fill_placeholders, has_placeholders
from elspeth.core.secrets import without_secrets
from elspeth.core.settings import Settings
from elspeth.core.settings.graph import wire
from elspeth.core.settings.model import PositionalSettings
from elspeth.core.settings.steps import CoalesceSettings, GateSettings, SinkSettings
from elspeth.core.settings.wiring import Place, Wiring, sink_place
from elspeth.plugins.manager import PluginManager

__all__ = ["Node", "Pipeline", "build_pipeline", "fill_sink_paths"]

_MAX_NODE_ID = 64
_ONLY_SOURCE: Place = ("datasource",)
"""The source of settings in the positional form, which has no name other than that of its plugin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node of the graph, with the values to record.

    `config` may contain secrets.
    """

    node_id: str
    node_type: NodeType
    name: str
    plugin_name: str
    plugin_version: str
    determinism: Determinism
    schema: SchemaConfig
    config: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """A graph, with the plugins and conditions at its nodes.

    `nodes` are in the order in which rows can reach them, with sinks last. `sources` are in the order in which they are
    read. `conditions` are the conditions or functions of gates, and the conditions of aggregations' triggers.
    `error_sinks` are the sinks whose rows get the error fields. `catalogue` made the plugins.
    """

    settings: Settings
    wiring: Wiring
    nodes: Mapping[Place, Node]
    sources: Mapping[Place, Source]
    transforms: Mapping[Place, Transform]
    aggregations: Mapping[Place, Aggregation]
    conditions: Mapping[Place, Expression | RowFunction]
    sinks: Mapping[str, Sink]
    catalogue: PluginManager
    error_sinks: frozenset[str] = frozenset()

    def sink_node(self, name: str) -> Node:
        """Return the node of a sink."""
        return self.nodes[sink_place(name)]

    def source_name(self, place: Place) -> str:
        """Return the name of a source in messages."""
        return "the source" if len(self.sources) == 1 else f"the source {self.nodes[place].name!r}"

    def reading(self) -> Iterator[Source | Transform]:
        """Yield the plugins that read external data."""
        yield from self.sources.values()
        yield from self.transforms.values()

    def edges(self) -> Iterator[EdgeInfo]:
        """Yield every edge of the graph."""
        for each in self.wiring.wires:
            origin, target = self.nodes[each.origin], self.nodes[each.target]
            yield EdgeInfo(origin.node_id, target.node_id, each.label, each.mode)


def build_pipeline(settings: Settings, plugins: PluginManager) -> Pipeline:
    """Make the plugins of valid settings, and connect them.

    No file is opened and no external system is called.
    """
    export = settings.landscape.export
    sources = {place: plugins.source(each.plugin, each.options) for place, each in settings.source_parts.items()}
    transforms = {
        place: plugins.transform(each.plugin, each.options) for place, each in settings.transform_parts.items()
    }
    aggregations: dict[Place, Aggregation] = {
        ("aggregations", index): plugins.aggregation(each.plugin, each.options)
        for index, each in enumerate(settings.aggregations)
    }
    sinks = {
        name: plugins.sink(sink.plugin, sink.options)
        for name, sink in settings.sinks.items()
        if not (export.enabled and name == export.sink)
    }
    wiring = wire(settings)
    for name in {str(each.target[1]) for each in wiring.wires if each.mode is RoutingMode.DIVERT}:
        sinks[name].expect_failed_rows()
    error_sinks = frozenset(_error_sinks(settings, wiring, sinks))
    nodes = dict(_nodes(settings, sources, transforms, aggregations, sinks, error_sinks=error_sinks))
    order = [place for place in wiring.places() if place[0] != "sinks"] + [sink_place(name) for name in sinks]
    return Pipeline(
        settings=settings,
        wiring=wiring,
        nodes={place: nodes[place] for place in order},
        sources=sources,
        transforms=transforms,
        aggregations=aggregations,
        conditions=dict(_conditions(settings)),
        sinks=sinks,
        catalogue=plugins,
        error_sinks=error_sinks,
    )


def _error_sinks(settings: Settings, wiring: Wiring, sinks: Mapping[str, Sink]) -> Iterator[str]:
    """Yield the sinks whose rows get the error fields.

    By default these are the files to which only failed rows go, if their schemas allow further fields. A table may lack
    the columns, and nobody expects the fields in a file with other rows.
    """
    for name, sink in sinks.items():
        wanted = settings.sinks[name].error_fields
        if wanted is None:
            modes = {wire.mode for wire in wiring.wires if wire.target == sink_place(name)}
            is_file = hasattr(sink.options, "path")
            wanted = is_file and modes == {RoutingMode.DIVERT} and sink.options.schema_config.allows_extra_fields
        if wanted:
            yield name


def fill_sink_paths(pipeline: Pipeline, values: Mapping[str, str]) -> Pipeline:
    """Fill the placeholders in the paths of a pipeline's sinks."""
    return replace(pipeline, sinks={name: _fill_path(sink, values) for name, sink in pipeline.sinks.items()})


def _fill_path(sink: Sink, values: Mapping[str, str]) -> Sink:
    path = getattr(sink.options, "path", None)
    if not isinstance(path, str) or not has_placeholders(path):
        return sink
    return type(sink)(sink.options.model_copy(update={"path": fill_placeholders(path, values)}))


def _nodes(
    settings: Settings,
    sources: Mapping[Place, Source],
    transforms: Mapping[Place, Transform],
    aggregations: Mapping[Place, Aggregation],
    sinks: Mapping[str, Sink],
    *,
    error_sinks: frozenset[str],
) -> Iterator[tuple[Place, Node]]:
    names = settings.node_names
    for place, source in sources.items():
        config = settings.source_parts[place].model_dump()
        if place != _ONLY_SOURCE:
            config["name"] = names[place]
        yield place, _plugin_node(NodeType.SOURCE, names[place], source, config)
    for index, (place, transform) in enumerate(transforms.items()):
        config = settings.transform_parts[place].model_dump(exclude_none=True)
        if isinstance(settings, PositionalSettings):
            config["position"] = index
        yield place, _plugin_node(NodeType.TRANSFORM, names[place], transform, config)
    for index, (place, aggregation) in enumerate(aggregations.items()):
        config = settings.aggregations[index].model_dump(exclude_none=True)
        yield place, _plugin_node(NodeType.AGGREGATION, names[place], aggregation, config)
    for index, gate in enumerate(settings.gates):
        yield ("gates", index), _config_node(NodeType.GATE, "config_gate", gate)
    for index, join in enumerate(settings.coalesce):
        yield ("coalesce", index), _config_node(NodeType.COALESCE, "coalesce", join)
    for name, sink in sinks.items():
        config = _sink_config(name, settings.sinks[name], has_error_fields=name in error_sinks)
        yield sink_place(name), _plugin_node(NodeType.SINK, name, sink, config)


def _sink_config(name: str, sink: SinkSettings, *, has_error_fields: bool) -> dict[str, object]:
    """Return the configuration of a sink to record."""
    config: dict[str, object] = {"name": name, "plugin": sink.plugin, "options": sink.options}
    if sink.on_write_failure is not None:
        config["on_write_failure"] = sink.on_write_failure
    return config | ({"error_fields": True} if has_error_fields else {})


def _conditions(settings: Settings) -> Iterator[tuple[Place, Expression | RowFunction]]:
    for index, gate in enumerate(settings.gates):
        place = ("gates", index)
        if gate.function is not None:
            yield place, row_function(gate.function, gate.directory)
        elif gate.condition is not None:
            yield place, compile_expression(gate.condition)
    for index, aggregation in enumerate(settings.aggregations):
        if aggregation.trigger.condition is not None:
            yield ("aggregations", index), compile_expression(aggregation.trigger.condition)


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


def _config_node(node_type: NodeType, plugin_name: str, part: GateSettings | CoalesceSettings) -> Node:
    config = part.model_dump(exclude_none=True)
    calls_function = isinstance(part, GateSettings) and part.function is not None
    return Node(
        node_id=_node_id(node_type, part.name, config),
        node_type=node_type,
        name=part.name,
        plugin_name=plugin_name,
        plugin_version="1.0.0",
        determinism=Determinism.NON_DETERMINISTIC if calls_function else Determinism.DETERMINISTIC,
        schema=DYNAMIC,
        config=config,
    )


def _node_id(node_type: NodeType, name: str, config: Mapping[str, object]) -> str:
    """Return a readable id that depends only on settings.

    It reveals nothing about secrets.
    """
    digest = stable_hash(without_secrets(config))[:8]
    return f"{node_type}_{name}"[: _MAX_NODE_ID - len(digest) - 1] + f"_{digest}"

"""Finds the plugins of elspeth and of installed packages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import cast

from pydantic import BaseModel

from elspeth.contracts.plugins import Aggregation, CallingPlugin, Plugin, PluginKind, Sink, Source, Transform

__all__ = ["BUILTIN", "ENTRY_POINT_GROUP", "PluginManager", "PluginRegistrationError", "plugin_packages"]

ENTRY_POINT_GROUP = "elspeth.plugins"

BUILTIN: Mapping[PluginKind, Mapping[str, str]] = {
    PluginKind.SOURCE: {
        "csv": "elspeth.plugins.csv.CsvSource",
        "http": "elspeth.plugins.http.source.HttpSource",
        "json": "elspeth.plugins.json.JsonSource",
        "jsonl": "elspeth.plugins.json.JsonlSource",
        "null": "elspeth.plugins.null.NullSource",
        "parquet": "elspeth.plugins.parquet_source.ParquetSource",
        "sql": "elspeth.plugins.databases.SqlSource",
    },
    PluginKind.TRANSFORM: {
        "cast": "elspeth.plugins.transforms.cast.CastTransform",
        "dedupe": "elspeth.plugins.transforms.dedupe.DedupeTransform",
        "drop": "elspeth.plugins.transforms.choice.DropTransform",
        "field_mapper": "elspeth.plugins.transforms.field_mapper.FieldMapperTransform",
        "filter": "elspeth.plugins.transforms.expressions.FilterTransform",
        "flatten": "elspeth.plugins.transforms.shape.FlattenTransform",
        "http": "elspeth.plugins.http.transform.HttpTransform",
        "json_explode": "elspeth.plugins.transforms.json_explode.JsonExplodeTransform",
        "keyword_filter": "elspeth.plugins.transforms.keyword_filter.KeywordFilterTransform",
        "llm": "elspeth.plugins.llm.transform.LlmTransform",
        "lookup": "elspeth.plugins.transforms.lookup.LookupTransform",
        "passthrough": "elspeth.plugins.transforms.field_mapper.PassthroughTransform",
        "python": "elspeth.plugins.python_functions.PythonTransform",
        "rename": "elspeth.plugins.transforms.choice.RenameTransform",
        "select": "elspeth.plugins.transforms.choice.SelectTransform",
        "truncate": "elspeth.plugins.transforms.shape.TruncateTransform",
        "value_transform": "elspeth.plugins.transforms.expressions.ValueTransform",
    },
    PluginKind.AGGREGATION: {
        "batch_replicate": "elspeth.plugins.aggregations.BatchReplicateAggregation",
        "batch_stats": "elspeth.plugins.aggregations.BatchStatsAggregation",
        "python": "elspeth.plugins.python_functions.PythonAggregation",
    },
    PluginKind.SINK: {
        "csv": "elspeth.plugins.csv.CsvSink",
        "database": "elspeth.plugins.database_sink.DatabaseSink",
        "json": "elspeth.plugins.json.JsonSink",
        "jsonl": "elspeth.plugins.json.JsonlSink",
        "null": "elspeth.plugins.null.NullSink",
        "parquet": "elspeth.plugins.parquet.ParquetSink",
    },
}
"""The qualified names of the built-in classes, by kind and by their names in settings."""

_BASES: Mapping[PluginKind, type[Plugin]] = {
    PluginKind.SOURCE: Source,
    PluginKind.TRANSFORM: Transform,
    PluginKind.AGGREGATION: Aggregation,
    PluginKind.SINK: Sink,
}

_Places = Mapping[PluginKind, Mapping[str, str]]
"""Qualified names of plugin classes by kind and name."""


class PluginRegistrationError(Exception):
    """An installed plugin package cannot be used.

    The message names the package.
    """


class PluginManager:
    """The plugins that settings may name.

    It implements `PluginCatalogue`. Plugins in `places`, given only by qualified name, are imported on first use.
    """

    def __init__(self, plugins: Iterable[type[Plugin]], places: _Places = MappingProxyType({})) -> None:
        self._known: dict[PluginKind, dict[str, type[Plugin] | str]] = {
            kind: dict(places.get(kind, {})) for kind in PluginKind
        }
        for plugin in plugins:
            self._register(plugin)

    @classmethod
    def installed(cls) -> PluginManager:
        """Return all plugins of this installation.

        Raises PluginRegistrationError if the plugins of a package cannot be loaded.
        """
        return cls(_offered_plugins(), BUILTIN)

    def _register(self, plugin: type[Plugin]) -> None:
        kind = next((kind for kind, base in _BASES.items() if issubclass(plugin, base)), None)
        if kind is None:
            expected = "a subclass of Source, Transform, Aggregation or Sink"
            raise PluginRegistrationError(f"{_origin(plugin)} is not a plugin: expected {expected}")
        other = self._known[kind].setdefault(plugin.name, plugin)
        if other is not plugin and other != _origin(plugin):
            raise PluginRegistrationError(
                f"two {kind} plugins are named {plugin.name!r}: {_origin(other)} and {_origin(plugin)}; "
                "uninstall one of the packages"
            )

    def names(self, kind: PluginKind) -> Sequence[str]:
        """Return the names of the plugins of a kind, sorted."""
        return sorted(self._known[kind])

    def options_model(self, kind: PluginKind, name: str) -> type[BaseModel]:
        """Return the model that validates a plugin's options.

        Raises KeyError for an unknown name.
        """
        return self._load_class(kind, name).options_model

    def expands(self, name: str, options: Mapping[str, object]) -> bool:
        """Return whether a transform may expand a row into several.

        Raises KeyError for an unknown name, pydantic's ValidationError for bad options.
        """
        return self.transform(name, options).expands

    def calls(self, kind: PluginKind, name: str) -> bool:
        """Return whether a plugin makes calls that are recorded.

        Raises KeyError for an unknown name.
        """
        return issubclass(self._load_class(kind, name), CallingPlugin)

    def all(self) -> list[type[Plugin]]:
        """Return every plugin, by kind and name."""
        return [self._load_class(kind, name) for kind in PluginKind for name in self.names(kind)]

    def source(self, name: str, options: Mapping[str, object]) -> Source:
        """Make a source.

        Raises KeyError for an unknown name, pydantic's ValidationError for bad options.
        """
        return cast(Source, self._make(PluginKind.SOURCE, name, options))

    def transform(self, name: str, options: Mapping[str, object]) -> Transform:
        """Make a transform.

        Raises KeyError for an unknown name, pydantic's ValidationError for bad options.
        """
        return cast(Transform, self._make(PluginKind.TRANSFORM, name, options))

    def aggregation(self, name: str, options: Mapping[str, object]) -> Aggregation:
        """Make an aggregation.

        Raises KeyError for an unknown name, pydantic's ValidationError for bad options.
        """
        return cast(Aggregation, self._make(PluginKind.AGGREGATION, name, options))

    def sink(self, name: str, options: Mapping[str, object]) -> Sink:
        """Make a sink.

        Raises KeyError for an unknown name, pydantic's ValidationError for bad options.
        """
        return cast(Sink, self._make(PluginKind.SINK, name, options))

    def _make(self, kind: PluginKind, name: str, options: Mapping[str, object]) -> Plugin:
        plugin = self._load_class(kind, name)
        return plugin(plugin.options_model.model_validate(options))

    def _load_class(self, kind: PluginKind, name: str) -> type[Plugin]:
        found = self._known[kind][name]
        if isinstance(found, str):
            module, _, class_name = found.rpartition(".")
            found = self._known[kind][name] = cast(type[Plugin], getattr(import_module(module), class_name))
        return found


def _offered_plugins() -> Iterator[type[Plugin]]:
    """Yield the plugins of other packages."""
    modules = [(_load_module(entry_point), entry_point.value) for entry_point in entry_points(group=ENTRY_POINT_GROUP)]
    if not modules:
        return
    import pluggy  # noqa: PLC0415  start time

    from elspeth.plugins.hookspecs import PROJECT, PluginSpecification  # noqa: PLC0415

    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(PluginSpecification)
    for module, name in modules:
        manager.register(module, name)
    offers: list[Iterable[type[Plugin]]] = manager.hook.elspeth_plugins()
    for offer in offers:
        yield from offer


def plugin_packages() -> dict[str, str]:
    """Return the versions of the packages that offer plugins."""
    offering = [each.dist for each in entry_points(group=ENTRY_POINT_GROUP)]
    return {package.name: package.version for package in offering if package is not None}


def _load_module(entry_point: EntryPoint) -> object:
    try:
        return entry_point.load()
    except Exception as error:  # the import of a foreign package may raise anything
        package = entry_point.dist.name if entry_point.dist else "an installed package"
        raise PluginRegistrationError(
            f"plugin {entry_point.name!r} of {package} cannot be loaded: {type(error).__name__}: {error}"
        ) from error


def _origin(plugin: type[Plugin] | str) -> str:
    return plugin if isinstance(plugin, str) else f"{plugin.__module__}.{plugin.__qualname__}"

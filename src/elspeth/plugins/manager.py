"""Finding plugins: the ones that come with elspeth, and those that installed packages offer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

import pluggy
from pydantic import BaseModel

from elspeth.contracts.plugins import PluginKind
from elspeth.plugins.base import Aggregation, Plugin, Sink, Source, Transform
from elspeth.plugins.hookspecs import ENTRY_POINT_GROUP, PROJECT, PluginSpecification

__all__ = ["PluginManager", "PluginRegistrationError"]

PluginT = TypeVar("PluginT", bound=Plugin)

_BUILTIN = "elspeth.plugins.builtin"


class PluginRegistrationError(Exception):
    """An installed plugin package cannot be used. The message names it."""


class PluginManager:
    """The plugins that settings may name. Implements the catalogue that settings are checked against."""

    def __init__(self, plugins: Iterable[type[Plugin]]) -> None:
        self._sources: dict[str, type[Source]] = {}
        self._transforms: dict[str, type[Transform]] = {}
        self._aggregations: dict[str, type[Aggregation]] = {}
        self._sinks: dict[str, type[Sink]] = {}
        for plugin in plugins:
            self._register(plugin)

    @classmethod
    def installed(cls) -> PluginManager:
        """All plugins of this installation; PluginRegistrationError when a package's plugins cannot be loaded."""
        manager = pluggy.PluginManager(PROJECT)
        manager.add_hookspecs(PluginSpecification)
        manager.register(import_module(_BUILTIN), _BUILTIN)
        for entry_point in entry_points(group=ENTRY_POINT_GROUP):
            manager.register(_load(entry_point), entry_point.value)
        offers: list[Iterable[type[Plugin]]] = manager.hook.elspeth_plugins()
        return cls(plugin for offer in offers for plugin in offer)

    def _register(self, plugin: type[Plugin]) -> None:
        if issubclass(plugin, Source):
            _add(self._sources, plugin)
        elif issubclass(plugin, Transform):
            _add(self._transforms, plugin)
        elif issubclass(plugin, Aggregation):
            _add(self._aggregations, plugin)
        elif issubclass(plugin, Sink):
            _add(self._sinks, plugin)
        else:
            expected = "a subclass of Source, Transform, Aggregation or Sink"
            raise PluginRegistrationError(f"{_origin(plugin)} is no plugin: expected {expected}")

    def names(self, kind: PluginKind) -> Sequence[str]:
        """Names of the known plugins of a kind, sorted."""
        return sorted(self._of(kind))

    def options_model(self, kind: PluginKind, name: str) -> type[BaseModel]:
        """The model that validates a plugin's options; KeyError for an unknown name."""
        return self._of(kind)[name].options_model

    def expands(self, name: str) -> bool:
        """Whether a transform may make several rows of one; KeyError for an unknown name."""
        return self._transforms[name].expands

    def all(self) -> list[type[Plugin]]:
        """Every plugin, in the order of kinds in a pipeline, by name."""
        return [self._of(kind)[name] for kind in PluginKind for name in self.names(kind)]

    def source(self, name: str, options: Mapping[str, object]) -> Source:
        """Make a source; KeyError for an unknown name, pydantic's ValidationError for bad options."""
        return _made(self._sources[name], options)

    def transform(self, name: str, options: Mapping[str, object]) -> Transform:
        """Make a transform; KeyError for an unknown name, pydantic's ValidationError for bad options."""
        return _made(self._transforms[name], options)

    def aggregation(self, name: str, options: Mapping[str, object]) -> Aggregation:
        """Make an aggregation; KeyError for an unknown name, pydantic's ValidationError for bad options."""
        return _made(self._aggregations[name], options)

    def sink(self, name: str, options: Mapping[str, object]) -> Sink:
        """Make a sink; KeyError for an unknown name, pydantic's ValidationError for bad options."""
        return _made(self._sinks[name], options)

    def _of(self, kind: PluginKind) -> Mapping[str, type[Plugin]]:
        match kind:
            case PluginKind.SOURCE:
                return self._sources
            case PluginKind.TRANSFORM:
                return self._transforms
            case PluginKind.AGGREGATION:
                return self._aggregations
            case PluginKind.SINK:
                return self._sinks


def _made(plugin: type[PluginT], options: Mapping[str, object]) -> PluginT:
    return plugin(plugin.options_model.model_validate(options))


def _add(known: dict[str, type[PluginT]], plugin: type[PluginT]) -> None:
    other = known.setdefault(plugin.name, plugin)
    if other is not plugin:
        raise PluginRegistrationError(
            f"two {plugin.kind} plugins are named {plugin.name!r}: {_origin(other)} and {_origin(plugin)}; "
            "uninstall one of the packages"
        )


def _load(entry_point: EntryPoint) -> object:
    try:
        return entry_point.load()
    except Exception as error:  # whatever a foreign package raises while it is imported
        package = entry_point.dist.name if entry_point.dist else "an installed package"
        raise PluginRegistrationError(
            f"plugin {entry_point.name!r} of {package} cannot be loaded: {type(error).__name__}: {error}"
        ) from error


def _origin(plugin: type[Plugin]) -> str:
    return f"{plugin.__module__}.{plugin.__qualname__}"

"""The valid sections of a settings file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from elspeth.core.settings._yaml_file import PlainValue
from elspeth.core.settings.landscape import LandscapeSettings
from elspeth.core.settings.model import (
    PayloadStoreSettings,
    PositionalSettings,
    RateLimitSettings,
    Settings,
    WiredSettings,
)
from elspeth.core.settings.problems import Location
from elspeth.core.settings.steps import (
    AggregationSettings,
    CoalesceSettings,
    GateSettings,
    PluginSettings,
    PositionalAggregationSettings,
    PositionalCoalesceSettings,
    PositionalGateSettings,
    PositionalTransformSettings,
    SinkSettings,
    TransformSettings,
    WiredAggregationSettings,
    WiredCoalesceSettings,
    WiredGateSettings,
    WiredSourceSettings,
    WiredTransformSettings,
)

__all__ = ["WIRED_SECTIONS", "Parts", "form_of"]

_ModelT = TypeVar("_ModelT", bound=BaseModel)

WIRED_SECTIONS = frozenset({"source", "sources", "transforms", "queues"})
"""The top-level keys that only the wired form has."""

_POSITIONAL_SECTIONS = frozenset({"datasource", "row_plugins", "output_sink"})


def form_of(tree: Mapping[str, PlainValue]) -> type[PositionalSettings | WiredSettings]:
    """Return the form of a settings tree.

    It is the wired form if the tree has a section or key that only this form has.
    """
    if WIRED_SECTIONS & tree.keys():
        return WiredSettings
    steps = [each for key in ("gates", "aggregations") if isinstance(found := tree.get(key), list) for each in found]
    has_input = any(isinstance(each, dict) and "input" in each for each in steps)
    return WiredSettings if has_input and not _POSITIONAL_SECTIONS & tree.keys() else PositionalSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The sections of a settings file that are valid.

    Checks across sections use these, so that one report lists every problem of a file. An invalid section is None or
    absent. Lists are mappings by index.
    """

    form: type[PositionalSettings | WiredSettings]
    sources: Mapping[Location, PluginSettings]
    sinks: Mapping[str, SinkSettings | None]
    transforms: Mapping[Location, TransformSettings]
    gates: Mapping[int, GateSettings]
    aggregations: Mapping[int, AggregationSettings]
    coalesce: Mapping[int, CoalesceSettings]
    output_sink: str | None
    landscape: LandscapeSettings | None
    rate_limit: RateLimitSettings | None
    payload_store: PayloadStoreSettings | None
    keeps_rows: bool
    """Whether there is a section `payload_store`, with which the store also keeps the contents of rows."""

    @classmethod
    def from_tree(cls, tree: Mapping[str, PlainValue]) -> Parts:
        """Validate each section of a settings tree by itself."""
        form, output_sink = form_of(tree), tree.get("output_sink")
        is_wired = form is WiredSettings
        gates = WiredGateSettings if is_wired else PositionalGateSettings
        aggregations = WiredAggregationSettings if is_wired else PositionalAggregationSettings
        joins = WiredCoalesceSettings if is_wired else PositionalCoalesceSettings
        return cls(
            form=form,
            sources=_wired_sources(tree)
            if is_wired
            else _present({("datasource",): _valid(PluginSettings, tree.get("datasource"))}),
            sinks={name: _valid(SinkSettings, item) for name, item in _mapping(tree.get("sinks")).items()},
            transforms={
                (section, index): each
                for section, model in _TRANSFORMS[form].items()
                for index, each in _valid_items(model, tree.get(section)).items()
            },
            gates=_valid_items(gates, tree.get("gates")),
            aggregations=_valid_items(aggregations, tree.get("aggregations")),
            coalesce=_valid_items(joins, tree.get("coalesce")),
            output_sink=output_sink if isinstance(output_sink, str) and not is_wired else None,
            landscape=_valid(LandscapeSettings, tree.get("landscape") or {}),
            rate_limit=_valid(RateLimitSettings, tree.get("rate_limit") or {}),
            payload_store=_valid(PayloadStoreSettings, tree.get("payload_store") or {}),
            keeps_rows="payload_store" in tree,
        )

    @classmethod
    def from_settings(cls, settings: Settings) -> Parts:
        """Return all sections of valid settings."""
        is_wired = isinstance(settings, WiredSettings)
        return cls(
            form=WiredSettings if is_wired else PositionalSettings,
            sources=settings.source_parts,
            sinks=settings.sinks,
            transforms=settings.transform_parts,
            gates=dict(enumerate(settings.gates)),
            aggregations=dict(enumerate(settings.aggregations)),
            coalesce=dict(enumerate(settings.coalesce)),
            output_sink=settings.output_sink if isinstance(settings, PositionalSettings) else None,
            landscape=settings.landscape,
            rate_limit=settings.rate_limit,
            payload_store=settings.payload_store,
            keeps_rows="payload_store" in settings.model_fields_set,
        )

    @property
    def is_wired(self) -> bool:
        """Return whether the steps are wired by names."""
        return self.form is WiredSettings

    @property
    def export_sink(self) -> str | None:
        """Return the sink that takes the export instead of rows."""
        export = self.landscape.export if self.landscape else None
        return export.sink if export and export.enabled else None


_TRANSFORMS: Mapping[type[Settings], Mapping[str, type[TransformSettings]]] = {
    PositionalSettings: {"row_plugins": PositionalTransformSettings},
    WiredSettings: {"transforms": WiredTransformSettings},
}


def _wired_sources(tree: Mapping[str, PlainValue]) -> dict[Location, PluginSettings]:
    found: dict[Location, PluginSettings | None] = {}
    if tree.get("source") is not None:
        found["source",] = _valid(WiredSourceSettings, tree["source"])
    for name, item in _mapping(tree.get("sources")).items():
        found["sources", name] = _valid(WiredSourceSettings, item)
    return _present(found)


def _present(parts: Mapping[Location, PluginSettings | None]) -> dict[Location, PluginSettings]:
    return {place: part for place, part in parts.items() if part is not None}


def _mapping(value: PlainValue) -> Mapping[str, PlainValue]:
    return value if isinstance(value, dict) else {}


def _valid_items(model: type[_ModelT], items: PlainValue) -> dict[int, _ModelT]:
    """Return the valid items of a list by index."""
    found = enumerate(_valid(model, item) for item in (items if isinstance(items, list) else []))
    return {index: item for index, item in found if item is not None}


def _valid(model: type[_ModelT], value: PlainValue) -> _ModelT | None:
    try:
        return model.model_validate(value)
    except ValidationError:
        return None  # reported when the whole file is validated

"""The sections of a settings file that are valid by themselves.

Checks that need several sections run on these, so that one report can hold every problem of a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from elspeth.core.settings.model import (
    AggregationSettings,
    CoalesceSettings,
    GateSettings,
    LandscapeSettings,
    PayloadStoreSettings,
    PluginSettings,
    RateLimitSettings,
    Settings,
    TransformSettings,
)
from elspeth.core.settings.yaml_file import Plain

__all__ = ["Parts"]

ModelT = TypeVar("ModelT", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What could be read of a settings file; a part that is not valid is None or absent. Lists are by index."""

    datasource: PluginSettings | None
    sinks: Mapping[str, PluginSettings | None]
    row_plugins: Mapping[int, TransformSettings]
    gates: Mapping[int, GateSettings]
    aggregations: Mapping[int, AggregationSettings]
    coalesce: Mapping[int, CoalesceSettings]
    output_sink: str | None
    landscape: LandscapeSettings | None
    rate_limit: RateLimitSettings | None
    payload_store: PayloadStoreSettings | None
    keeps_rows: bool
    """Whether the file has a section `payload_store`: then the store holds the content of rows, too."""

    @classmethod
    def of(cls, tree: Mapping[str, Plain]) -> Parts:
        """Validate each section of a settings tree by itself."""
        sinks, output_sink = tree.get("sinks"), tree.get("output_sink")
        return cls(
            datasource=_valid(PluginSettings, tree.get("datasource")),
            sinks={name: _valid(PluginSettings, item) for name, item in sinks.items()}
            if isinstance(sinks, dict)
            else {},
            row_plugins=_valid_items(TransformSettings, tree.get("row_plugins")),
            gates=_valid_items(GateSettings, tree.get("gates")),
            aggregations=_valid_items(AggregationSettings, tree.get("aggregations")),
            coalesce=_valid_items(CoalesceSettings, tree.get("coalesce")),
            output_sink=output_sink if isinstance(output_sink, str) else None,
            landscape=_valid(LandscapeSettings, tree.get("landscape") or {}),
            rate_limit=_valid(RateLimitSettings, tree.get("rate_limit") or {}),
            payload_store=_valid(PayloadStoreSettings, tree.get("payload_store") or {}),
            keeps_rows="payload_store" in tree,
        )

    @classmethod
    def of_settings(cls, settings: Settings) -> Parts:
        """Return the sections of settings that are valid."""
        return cls(
            datasource=settings.datasource,
            sinks=settings.sinks,
            row_plugins=dict(enumerate(settings.row_plugins)),
            gates=dict(enumerate(settings.gates)),
            aggregations=dict(enumerate(settings.aggregations)),
            coalesce=dict(enumerate(settings.coalesce)),
            output_sink=settings.output_sink,
            landscape=settings.landscape,
            rate_limit=settings.rate_limit,
            payload_store=settings.payload_store,
            keeps_rows="payload_store" in settings.model_fields_set,
        )

    @property
    def export_sink(self) -> str | None:
        """The sink that takes the export of the audit trail instead of rows."""
        export = self.landscape.export if self.landscape else None
        return export.sink if export and export.enabled else None


def _valid_items(model: type[ModelT], items: Plain) -> dict[int, ModelT]:
    """The valid items of a list by index."""
    found = enumerate(_valid(model, item) for item in (items if isinstance(items, list) else []))
    return {index: item for index, item in found if item is not None}


def _valid(model: type[ModelT], value: Plain) -> ModelT | None:
    try:
        return model.model_validate(value)
    except ValidationError:
        return None  # reported with the structure of the whole file

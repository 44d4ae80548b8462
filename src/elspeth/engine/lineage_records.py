"""Collects what plugins say about their data, for lineage events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict

from elspeth.contracts.plugins import JsonObject, Plugin, Sink, Source, Transform
from elspeth.core.settings.wiring import Place, sink_place
from elspeth.engine.errors import blame
from elspeth.engine.pipeline import Pipeline
from elspeth.openlineage.records import DATASETS, FIELD_ORIGINS, record_origins

__all__ = ["describe_data"]


def describe_data(pipeline: Pipeline) -> Mapping[Place, JsonObject]:
    """Return the descriptions that plugins give of their data.

    Sources and sinks name their datasets, and transforms the origins of fields. The path of a file may reveal a user
    account. So the result is empty if the settings hide the account, unless they require that events are sent. Raises
    PluginError if a plugin fails.
    """
    settings = pipeline.settings
    if settings.openlineage is None and not settings.landscape.identity:
        return {}
    described: dict[Place, JsonObject] = {}
    for place, plugin in _plugins(pipeline):
        try:
            if found := _description(plugin):
                described[place] = found
        except Exception as error:
            raise blame(plugin.kind, plugin.name, error) from error
    return described


def _plugins(pipeline: Pipeline) -> Iterator[tuple[Place, Plugin]]:
    yield from pipeline.sources.items()
    yield from pipeline.transforms.items()
    for name, sink in pipeline.sinks.items():
        yield sink_place(name), sink


def _description(plugin: Plugin) -> JsonObject:
    match plugin:
        case Source():
            datasets = plugin.datasets()
        case Sink():
            dataset = plugin.dataset()
            datasets = [] if dataset is None else [dataset]
        case Transform():
            origins = plugin.field_origins()
            return {} if origins is None else {FIELD_ORIGINS: record_origins(origins)}
        case _:
            return {}
    return {DATASETS: [asdict(each) for each in datasets]} if datasets else {}

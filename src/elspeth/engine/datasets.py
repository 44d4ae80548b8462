"""The datasets of a run, named by sources and sinks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict

from elspeth.contracts.plugins import Dataset, JsonObject
from elspeth.core.settings.wiring import Place, sink_place
from elspeth.engine.errors import blame
from elspeth.engine.pipeline import Pipeline
from elspeth.openlineage.records import DATASETS

__all__ = ["name_datasets"]


def name_datasets(pipeline: Pipeline) -> Mapping[Place, JsonObject]:
    """Let sources and sinks name their datasets, for the record.

    The path of a file may tell whose directory it is in. So nothing is recorded where the settings hide the account,
    unless they ask for the names to be sent. Raises PluginError if a plugin cannot name them.
    """
    settings = pipeline.settings
    if settings.openlineage is None and not settings.landscape.identity:
        return {}
    return {place: {DATASETS: [asdict(each) for each in found]} for place, found in _datasets(pipeline) if found}


def _datasets(pipeline: Pipeline) -> Iterator[tuple[Place, list[Dataset]]]:
    for place, source in pipeline.sources.items():
        try:
            yield place, list(source.datasets())
        except Exception as error:
            raise blame(source.kind, source.name, error) from error
    for name, sink in pipeline.sinks.items():
        try:
            found = sink.dataset()
        except Exception as error:
            raise blame(sink.kind, sink.name, error) from error
        yield sink_place(name), [] if found is None else [found]

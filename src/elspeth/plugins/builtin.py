"""The plugins that come with elspeth."""

from __future__ import annotations

from elspeth.plugins.aggregations.batch_replicate import BatchReplicateAggregation
from elspeth.plugins.aggregations.batch_stats import BatchStatsAggregation
from elspeth.plugins.base import Plugin
from elspeth.plugins.hookspecs import hookimpl
from elspeth.plugins.sinks.csv import CsvSink
from elspeth.plugins.sinks.database import DatabaseSink
from elspeth.plugins.sinks.json import JsonSink
from elspeth.plugins.sinks.jsonl import JsonlSink
from elspeth.plugins.sinks.null import NullSink
from elspeth.plugins.sinks.parquet import ParquetSink
from elspeth.plugins.sources.csv import CsvSource
from elspeth.plugins.sources.json import JsonlSource, JsonSource
from elspeth.plugins.sources.null import NullSource
from elspeth.plugins.sources.parquet import ParquetSource
from elspeth.plugins.sources.sql import SqlSource
from elspeth.plugins.transforms.field_mapper import FieldMapperTransform
from elspeth.plugins.transforms.json_explode import JsonExplodeTransform
from elspeth.plugins.transforms.keyword_filter import KeywordFilterTransform
from elspeth.plugins.transforms.passthrough import PassthroughTransform

__all__ = ["elspeth_plugins"]


@hookimpl
def elspeth_plugins() -> list[type[Plugin]]:
    """The plugin classes of this package."""
    return [
        *(CsvSource, JsonSource, JsonlSource, NullSource, ParquetSource, SqlSource),
        *(FieldMapperTransform, JsonExplodeTransform, KeywordFilterTransform, PassthroughTransform),
        *(BatchReplicateAggregation, BatchStatsAggregation),
        *(CsvSink, DatabaseSink, JsonSink, JsonlSink, NullSink, ParquetSink),
    ]

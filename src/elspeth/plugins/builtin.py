"""The plugins that come with elspeth: where each is, so that only those a pipeline names are imported."""

from __future__ import annotations

from collections.abc import Mapping

from elspeth.contracts.plugins import PluginKind

__all__ = ["BUILTIN"]

BUILTIN: Mapping[PluginKind, Mapping[str, str]] = {
    PluginKind.SOURCE: {
        "csv": "elspeth.plugins.sources.csv.CsvSource",
        "json": "elspeth.plugins.sources.json.JsonSource",
        "jsonl": "elspeth.plugins.sources.json.JsonlSource",
        "null": "elspeth.plugins.sources.null.NullSource",
        "parquet": "elspeth.plugins.sources.parquet.ParquetSource",
        "sql": "elspeth.plugins.sources.sql.SqlSource",
    },
    PluginKind.TRANSFORM: {
        "field_mapper": "elspeth.plugins.transforms.field_mapper.FieldMapperTransform",
        "json_explode": "elspeth.plugins.transforms.json_explode.JsonExplodeTransform",
        "keyword_filter": "elspeth.plugins.transforms.keyword_filter.KeywordFilterTransform",
        "llm": "elspeth.plugins.transforms.llm.LlmTransform",
        "passthrough": "elspeth.plugins.transforms.passthrough.PassthroughTransform",
    },
    PluginKind.AGGREGATION: {
        "batch_replicate": "elspeth.plugins.aggregations.batch_replicate.BatchReplicateAggregation",
        "batch_stats": "elspeth.plugins.aggregations.batch_stats.BatchStatsAggregation",
    },
    PluginKind.SINK: {
        "csv": "elspeth.plugins.sinks.csv.CsvSink",
        "database": "elspeth.plugins.sinks.database.DatabaseSink",
        "json": "elspeth.plugins.sinks.json.JsonSink",
        "jsonl": "elspeth.plugins.sinks.jsonl.JsonlSink",
        "null": "elspeth.plugins.sinks.null.NullSink",
        "parquet": "elspeth.plugins.sinks.parquet.ParquetSink",
    },
}
"""The qualified name of each class by its kind and by the name that settings give it."""

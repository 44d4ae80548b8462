"""The base classes of plugins, and the values they exchange."""

from elspeth.contracts.plugins.bases import (
    Aggregation,
    DistinctTransform,
    Plugin,
    PluginCatalogue,
    PluginKind,
    Sink,
    Source,
    Transform,
)
from elspeth.contracts.plugins.calling import CallingPlugin, CallingSource, CallingTransform
from elspeth.contracts.plugins.datasets import Dataset, file_dataset, table_dataset
from elspeth.contracts.plugins.exchange import (
    CallError,
    JsonObject,
    PluginError,
    ReadInput,
    RowDrop,
    RowError,
    RowRejectedError,
    StagedOutput,
)
from elspeth.contracts.plugins.fields import FieldOrigins
from elspeth.contracts.plugins.options import (
    FilePath,
    LocalPath,
    PluginOptions,
    SourceOptions,
    TransformOptions,
    check_address,
)

__all__ = [
    "Aggregation",
    "CallError",
    "CallingPlugin",
    "CallingSource",
    "CallingTransform",
    "Dataset",
    "DistinctTransform",
    "FieldOrigins",
    "FilePath",
    "JsonObject",
    "LocalPath",
    "Plugin",
    "PluginCatalogue",
    "PluginError",
    "PluginKind",
    "PluginOptions",
    "ReadInput",
    "RowDrop",
    "RowError",
    "RowRejectedError",
    "Sink",
    "Source",
    "SourceOptions",
    "StagedOutput",
    "Transform",
    "TransformOptions",
    "check_address",
    "file_dataset",
    "table_dataset",
]

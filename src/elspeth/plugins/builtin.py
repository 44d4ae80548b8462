"""The plugins that come with elspeth."""

from __future__ import annotations

from elspeth.plugins.base import Plugin
from elspeth.plugins.hookspecs import hookimpl
from elspeth.plugins.sinks.csv import CsvSink
from elspeth.plugins.sinks.json import JsonSink
from elspeth.plugins.sinks.null import NullSink
from elspeth.plugins.sources.csv import CsvSource
from elspeth.plugins.sources.null import NullSource

__all__ = ["elspeth_plugins"]


@hookimpl
def elspeth_plugins() -> list[type[Plugin]]:
    """The plugin classes of this package."""
    return [CsvSource, NullSource, CsvSink, JsonSink, NullSink]

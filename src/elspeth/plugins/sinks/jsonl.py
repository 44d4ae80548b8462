"""Rows into a file of JSON lines."""

from __future__ import annotations

from elspeth.contracts.plugins import Row
from elspeth.plugins.sinks.file import FileSink, json_text

__all__ = ["JsonlSink"]


class JsonlSink(FileSink):
    """Rows as JSON objects in UTF-8, one per line."""

    name = "jsonl"
    plugin_version = "1.0.0"

    def render(self, row: Row) -> bytes:
        """The row as one line."""
        return json_text(row).encode() + b"\n"

    def ending(self) -> bytes:
        """Nothing."""
        return b""

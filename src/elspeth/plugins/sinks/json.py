"""Rows into a JSON file."""

from __future__ import annotations

from elspeth.contracts.plugins import JsonObject, Row
from elspeth.plugins.sinks.file import FileSink, FileSinkOptions, json_text

__all__ = ["JsonSink"]


class JsonSink(FileSink):
    """Rows as one JSON array of objects in UTF-8, an object on each line."""

    name = "json"
    plugin_version = "1.0.0"

    def __init__(self, options: FileSinkOptions) -> None:
        super().__init__(options)
        self._is_empty = True

    def render(self, row: Row) -> bytes:
        """The row as an element of the array."""
        content = json_text(row).encode()
        before = b"[\n" if self._is_empty else b",\n"
        self._is_empty = False
        return before + content

    def state(self) -> JsonObject:
        """Whether there is an element yet."""
        return {"is_empty": self._is_empty}

    def restore(self, state: JsonObject) -> None:
        """Whether there was one."""
        self._is_empty = bool(state["is_empty"])

    def ending(self) -> bytes:
        """The end of the array."""
        return b"[]\n" if self._is_empty else b"\n]\n"

"""Exported records as text or flat rows, for callers that write files themselves."""

from __future__ import annotations

from typing import Any, Protocol

from elspeth.core.canonical import canonical_json

__all__ = ["CSVFormatter", "ExportFormatter", "JSONFormatter"]


class ExportFormatter(Protocol):
    """Turns a record into what a writer takes."""

    def format(self, record: dict[str, Any]) -> str | dict[str, Any]:
        """The record, formatted."""


class JSONFormatter:
    """Records as lines of canonical JSON."""

    def format(self, record: dict[str, Any]) -> str:
        """The record as one line, without line feed."""
        return canonical_json(record)


class CSVFormatter:
    """Records as flat rows: nested objects become dotted names, lists JSON text; all else stays what it is."""

    def flatten(self, record: dict[str, Any], prefix: str = "") -> dict[str, Any]:
        """The record without nesting."""
        flat: dict[str, Any] = {}
        for name, value in record.items():
            if isinstance(value, dict):
                flat |= self.flatten(value, f"{prefix}{name}.")
            else:
                flat[f"{prefix}{name}"] = canonical_json(value) if isinstance(value, list) else value
        return flat

    def format(self, record: dict[str, Any]) -> dict[str, Any]:
        """The record as a flat row."""
        return self.flatten(record)

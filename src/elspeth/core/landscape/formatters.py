"""Formatters of exported records: a public path of the predecessor.

Other programs use them to write files of their own.
"""

from __future__ import annotations

from typing import Any, Protocol

from elspeth.core.canonical import canonical_json

__all__ = ["CSVFormatter", "ExportFormatter", "JSONFormatter"]


class ExportFormatter(Protocol):
    """Formats records for a writer."""

    def format(self, record: dict[str, Any]) -> str | dict[str, Any]:
        """Return the formatted record."""


class JSONFormatter:
    """Records as lines of canonical JSON."""

    def format(self, record: dict[str, Any]) -> str:
        """Return the record as one line without line feed."""
        return canonical_json(record)


class CSVFormatter:
    """Records as flat rows.

    Nested objects become dotted names, and lists JSON text; all other values stay as they are.
    """

    def flatten(self, record: dict[str, Any], prefix: str = "") -> dict[str, Any]:
        """Return the record without nesting."""
        flat: dict[str, Any] = {}
        for name, value in record.items():
            if isinstance(value, dict):
                flat |= self.flatten(value, f"{prefix}{name}.")
            else:
                flat[f"{prefix}{name}"] = canonical_json(value) if isinstance(value, list) else value
        return flat

    def format(self, record: dict[str, Any]) -> dict[str, Any]:
        """Return the record as a flat row."""
        return self.flatten(record)

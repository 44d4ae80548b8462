"""The forms of an export on disk."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["ExportFormat"]


class ExportFormat(StrEnum):
    """What an export looks like on disk."""

    JSON = "json"
    """A file: one array, a record per line."""

    JSONL = "jsonl"
    """A file: a record per line."""

    CSV = "csv"
    """A directory: a CSV file per record type. The one form that cannot be imported: null looks like empty text."""

    PARQUET = "parquet"
    """A directory: a Parquet file per record type."""

    BAG = "bag"
    """A directory, or a zip archive of it: evidence that a stranger can check. It never replaces anything."""

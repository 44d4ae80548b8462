"""The forms of an export on disk."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

__all__ = ["ExportFormat", "named_form", "unfit_name"]


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


_FORMS = {
    ".json": ExportFormat.JSON,
    ".jsonl": ExportFormat.JSONL,
    ".csv": ExportFormat.CSV,
    ".parquet": ExportFormat.PARQUET,
    ".zip": ExportFormat.BAG,
}


def named_form(path: Path) -> ExportFormat | None:
    """Return the form that the end of a name stands for, None if it stands for none. A bag in a zip file is `.zip`."""
    return _FORMS.get(path.suffix.lower())


def unfit_name(path: Path, form: ExportFormat) -> str | None:
    """Return what contradicts the form in the name, None if nothing does."""
    named = named_form(path)
    if named in (None, form):
        return None
    return f"the name ends in {path.suffix}, as of the form {named}, and the form is {form}: change one of them"

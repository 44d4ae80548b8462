"""The forms of exports, and their names."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

__all__ = ["ExportFormat", "guess_form", "name_problem"]


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


def guess_form(path: Path) -> ExportFormat | None:
    """Return the form that a name's ending stands for.

    None if it stands for none. `.zip` stands for a bag in a zip file.
    """
    return _FORMS.get(path.suffix.lower())


def name_problem(text: str, form: ExportFormat, *, is_given: bool, option: str) -> str | None:
    """Return how the name contradicts the form, or None.

    `is_given` says whether somebody asked for the form, `option` where that is done.
    """
    path = Path(text)
    named = guess_form(path)
    if named is None and path.suffix and not is_given:
        return f"the suffix is not that of a form: give one with {option}"
    if text.endswith("/") and form in (ExportFormat.JSON, ExportFormat.JSONL):
        return f"names a directory, and the form {form} is a file: change one of them"
    if named in (None, form):
        return None
    return f"the name ends in {path.suffix}, as of the form {named}, and the form is {form}: change one of them"

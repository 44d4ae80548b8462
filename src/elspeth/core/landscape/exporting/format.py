"""The forms of exports, and the file names for them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from elspeth.outputs.compression import Compression, guess_compression, missing_library

__all__ = ["FILES", "READABLE", "ExportFormat", "compression_problem", "guess_form", "name_problem", "object_problem"]


class ExportFormat(StrEnum):
    """The forms of an export on disk."""

    JSON = "json"
    """A file: a JSON array, with a record per line."""

    JSONL = "jsonl"
    """A file: JSON Lines, with a record per line."""

    CSV = "csv"
    """A directory: a CSV file per record type, for spreadsheets."""

    PARQUET = "parquet"
    """A directory: a Parquet file per record type."""

    NT = "nt"
    """A file: the records as RDF in N-Triples, for triple stores. It cannot be imported."""

    BAG = "bag"
    """A directory, or a zip archive of it: evidence that a stranger can check. It never replaces anything."""

    OPENLINEAGE = "openlineage"
    """A file: no records, but the lineage events of a run, one per line."""


FILES = frozenset({ExportFormat.JSON, ExportFormat.JSONL, ExportFormat.NT})
"""The forms that are one file, which may be a stream."""

READABLE = frozenset(ExportFormat) - {ExportFormat.NT, ExportFormat.OPENLINEAGE}
"""The forms that can be imported, explained and verified."""

_FORMS = {
    ".json": ExportFormat.JSON,
    ".jsonl": ExportFormat.JSONL,
    ".csv": ExportFormat.CSV,
    ".parquet": ExportFormat.PARQUET,
    ".nt": ExportFormat.NT,
    ".zip": ExportFormat.BAG,
}


def guess_form(path: Path) -> ExportFormat | None:
    """Return the form for the suffix of a file name.

    Returns None for a suffix without a form. `.zip` is a bag in a zip file. The suffix of a compression is ignored.
    """
    return _FORMS.get(_uncompressed(path).suffix.lower())


def compression_problem(form: ExportFormat, compression: Compression) -> str | None:
    """Return why a form forbids a compression, or None."""
    if form is ExportFormat.BAG:
        return "a bag is compressed as a zip file: give it a name that ends in .zip"
    if form is ExportFormat.PARQUET:
        return "the files of the format parquet are always compressed: leave this out"
    if form is ExportFormat.OPENLINEAGE:
        return "lineage events are few, and not compressed: leave this out"
    return missing_library(compression)


def object_problem(form: ExportFormat, *, archive: bool) -> str | None:
    """Return why an object cannot hold a form, or None.

    `archive` says that a bag is one file.
    """
    if form in FILES or archive:
        return None
    return f"the format {form} is a directory, and an object is one file: name it .zip, .jsonl, .json or .nt"


def name_problem(
    text: str, form: ExportFormat, compression: Compression | None = None, *, is_given: bool, option: str
) -> str | None:
    """Return how the name contradicts form or compression, or None.

    `is_given` says whether the user chose the form, and `option` is the option for that.
    """
    path = _uncompressed(Path(text))
    named = guess_form(path)
    if named is None and path.suffix and not is_given:
        return f"no format has this suffix: give a format with {option}"
    if text.endswith("/") and form in FILES:
        return f"names a directory, and the format {form} is a file: change one of them"
    if named in (None, form):
        return _compressed_name_problem(Path(text), form, compression)
    return f"the name ends in {path.suffix}, as of the format {named}, and the format is {form}: change one of them"


def _compressed_name_problem(path: Path, form: ExportFormat, compression: Compression | None) -> str | None:
    """Return how a compressed file's name contradicts, or None."""
    named = guess_compression(path)
    if named is None:
        return None
    if form not in FILES:
        problem = f"as of one compressed file, and the format {form} is none: leave {path.suffix} out"
    elif compression not in (None, named):
        problem = f"as of the compression {named}, and the compression is {compression}: change one of them"
    else:
        return None
    return f"the name ends in {path.suffix}, {problem}"


def _uncompressed(path: Path) -> Path:
    """Return the path without the suffix of a compression."""
    return path if guess_compression(path) is None else path.with_suffix("")

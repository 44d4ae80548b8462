"""What an export may take the place of: an earlier export, known by its content."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import orjson

from elspeth.core.landscape.exporting.format import ExportFormat
from elspeth.core.landscape.exporting.forms import MANIFEST_FILE
from elspeth.core.landscape.exporting.signing import MANIFEST
from elspeth.evidence.writer.bag import bag_policy
from elspeth.outputs.policy import Kind, OutputPolicy, Protected
from elspeth_schema.records import RECORD_TYPES, RUN

__all__ = ["export_policy"]

_DIRECTORY_FORMS = (ExportFormat.CSV, ExportFormat.PARQUET)
"""The forms that are directories; a record type's file is called after it, with the form as suffix."""

_OUR_FILES = frozenset({MANIFEST_FILE, *(f"{name}.{form}" for name in RECORD_TYPES for form in _DIRECTORY_FORMS)})

_LONGEST = 1 << 24
"""How much of a file is read to find its first record, in bytes: it holds the settings of a run."""


def export_policy(form: ExportFormat, *, protected: Sequence[Protected] = (), force: bool = False) -> OutputPolicy:
    """Return what an export of a form may replace: an export, or with `force` any file or directory of files.

    A bag never replaces anything.
    """
    if form is ExportFormat.BAG:
        return bag_policy(protected)
    is_directory = form in _DIRECTORY_FORMS
    kind = Kind.DIRECTORY if is_directory else Kind.FILE
    objection = _objection_to_directory if is_directory else _objection_to_file
    # A directory may hold anything: no word on the command line makes all of that go away.
    return OutputPolicy(kind=kind, objection=objection, protected=protected, force=force and not is_directory)


def _objection_to_file(path: Path) -> str | None:
    if _is_record(_first_line(path), RUN.name):
        return None
    return "is not an export, which a new one may replace: name another file, or use --force"


def _objection_to_directory(path: Path) -> str | None:
    entries = list(os.scandir(path))
    is_ours = all(each.name in _OUR_FILES and each.is_file(follow_symlinks=False) for each in entries)
    if is_ours and _is_record(_first_line(path / MANIFEST_FILE), MANIFEST):
        return None
    return "is not an export, which a new one may replace: name another directory"


def _first_line(path: Path) -> bytes:
    """The first line, or the second of a JSON array, whose first is a bracket; nothing if it cannot be read."""
    try:
        with path.open("rb") as file:
            line = file.readline(_LONGEST)
            return file.readline(_LONGEST).rstrip().removesuffix(b",") if line == b"[\n" else line
    except OSError:
        return b""


def _is_record(line: bytes, record_type: str) -> bool:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return isinstance(record, dict) and record.get("record_type") == record_type and "run_id" in record

"""What exports of several files share: a file for each record type that occurs, and the manifest in its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from elspeth.core.canonical import CanonicalError, canonical_bytes
from elspeth.core.landscape.exporting.forms import MANIFEST_FILE, ExportError, StoredRecord
from elspeth.core.landscape.exporting.record_forms import RecordForm
from elspeth.core.landscape.exporting.text_form import parse_line

__all__ = ["read_directory", "read_manifest", "stored_record"]

_MAX_MANIFEST = 1 << 20
"""The largest manifest that is read, in bytes."""


def read_directory(
    path: Path,
    form: str,
    types: Mapping[str, RecordForm],
    read_file: Callable[[Path, str, RecordForm], Iterator[StoredRecord]],
) -> Iterator[StoredRecord]:
    """Yield the records of an export in export order, the manifest last.

    `form` is the suffix of its files. Raises ExportError for a file that no export has, and what `read_file` raises.
    """
    files = {f"{name}.{form}": each for name, each in types.items()}
    for entry in sorted(path.iterdir()):
        if entry.name not in files and entry.name != MANIFEST_FILE:
            raise ExportError(path, entry.name, f"expected TYPE.{form} of a known record type, or {MANIFEST_FILE}")
    for file, each in files.items():
        if (path / file).exists():
            yield from read_file(path, file, each)
    if (path / MANIFEST_FILE).exists():
        yield read_manifest(path)


def read_manifest(path: Path) -> StoredRecord:
    """Return the manifest of an export; ExportError if it is none, OSError if it cannot be read."""
    with (path / MANIFEST_FILE).open("rb") as file:
        content = file.read(_MAX_MANIFEST + 1)
    line = content.removesuffix(b"\n")
    if line == content:
        raise ExportError(path, MANIFEST_FILE, "expected a line feed at its end: the file is truncated")
    return StoredRecord(MANIFEST_FILE, parse_line(path, MANIFEST_FILE, line), line)


def stored_record(path: Path, where: str, form: RecordForm, values: Mapping[str, object]) -> StoredRecord:
    """Return a record with its canonical JSON; ExportError for values that have none."""
    record = {"record_type": form.name, **values}
    try:
        return StoredRecord(where, record, canonical_bytes(record))
    except CanonicalError as error:
        raise ExportError(path, where, f"expected values that canonical JSON can hold: {error}") from error

"""The shared parts of all forms: stored records, manifest, errors."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import orjson

from elspeth.core.canonical import CanonicalError, canonical_bytes
from elspeth.core.landscape.database import LandscapeError
from elspeth.core.landscape.exporting._record_rules import RecordForm
from elspeth.evidence.format.canonical import describe_difference
from elspeth.evidence.format.errors import EvidenceError, excerpt
from elspeth.evidence.format.export_lines import MANIFEST_FILE

__all__ = [
    "FOUND_FILE",
    "MANIFEST_FILE",
    "PACKAGE_FILE",
    "ExportError",
    "ExportGroups",
    "StoredRecord",
    "check_canonical",
    "make_stored_record",
    "manifest_bytes",
    "parse_object",
    "read_directory",
    "read_manifest",
]

PACKAGE_FILE = "datapackage.json"
"""The description of the files of an export to CSV. The import does not read it."""

FOUND_FILE = re.compile(rf"{re.escape(MANIFEST_FILE)}|tables\.jsonl|table-[1-9][0-9]*\.(?:csv|parquet)")
"""The names of the files of a database as found."""

_MAX_MANIFEST = 1 << 20
"""The largest manifest that is read, in bytes."""


ExportGroups = Iterable[tuple[str, Iterator[Mapping[str, object]]]]
"""An export as record types, each with its records; the manifest is the last."""


class ExportError(LandscapeError):
    """An export cannot be written, or cannot be read.

    The message names the path, the place in it if there is one, the problem, what was expected and what was found.
    """

    def __init__(self, path: Path, where: str | None, problem: str) -> None:
        place = f"{path}, {where}" if where else str(path)
        super().__init__(f"{place}: {problem}")
        self.path = path
        self.where = where
        self.problem = problem

    @classmethod
    def of(cls, path: Path, error: EvidenceError) -> ExportError:
        """Convert an error about evidence to one about the export."""
        return cls(path, None if error.place == str(path) else error.place, error.problem)


class StoredRecord(NamedTuple):
    """A record of an export, as it was read.

    `line` is its canonical JSON. `position` is the byte at which its line begins, in forms that have lines. `is_sound`
    says that the record is known to keep the schema's rules.
    """

    where: str
    record: dict[str, object]
    line: bytes
    is_sound: bool = False
    position: int | None = None


def manifest_bytes(manifest: Mapping[str, object]) -> bytes:
    """Return the content of the manifest's own file."""
    return canonical_bytes(manifest) + b"\n"


def read_directory(
    path: Path,
    form: str,
    types: Mapping[str, RecordForm],
    read_file: Callable[[Path, str, RecordForm], Iterator[StoredRecord]],
    endings: Sequence[str] = (),
) -> Iterator[StoredRecord]:
    """Yield the records of several files, the manifest last.

    `form` is the suffix of the files; one of the `endings` may follow it. Raises ExportError for a file that does not
    belong to an export, and all errors of `read_file`.
    """
    files = {name: [f"{name}.{form}{ending}" for ending in ("", *endings)] for name in types}
    known = {MANIFEST_FILE, PACKAGE_FILE, *chain.from_iterable(files.values())}
    for entry in sorted(path.iterdir()):
        if entry.name not in known:
            raise ExportError(path, entry.name, f"expected TYPE.{form} of a known record type, or {MANIFEST_FILE}")
    for name, each in types.items():
        found = [file for file in files[name] if (path / file).exists()]
        if len(found) > 1:
            raise ExportError(path, found[1], f"expected one file for each record type, got {found[0]}, too")
        for file in found:
            yield from read_file(path, file, each)
    if (path / MANIFEST_FILE).exists():
        yield read_manifest(path)


def read_manifest(path: Path) -> StoredRecord:
    """Return the manifest of an export of several files.

    Raises ExportError if it is not a manifest, and OSError if it cannot be read.
    """
    with (path / MANIFEST_FILE).open("rb") as file:
        content = file.read(_MAX_MANIFEST + 1)
    line = content.removesuffix(b"\n")
    if line == content:
        raise ExportError(path, MANIFEST_FILE, "expected a line feed at its end: the file is truncated")
    record = parse_object(path, MANIFEST_FILE, line)
    check_canonical(path, MANIFEST_FILE, record, line)
    return StoredRecord(MANIFEST_FILE, record, line)


def make_stored_record(path: Path, where: str, form: RecordForm, values: Mapping[str, object]) -> StoredRecord:
    """Return a record with its canonical JSON.

    Raises ExportError for values that have no canonical JSON.
    """
    record = {"record_type": form.name, **values}
    try:
        return StoredRecord(where, record, canonical_bytes(record))
    except CanonicalError as error:
        raise ExportError(path, where, f"expected values that canonical JSON can hold: {error}") from error


def parse_object(path: Path, where: str, line: bytes) -> dict[str, object]:
    """Return the members of a JSON object.

    Raises ExportError for anything else.
    """
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ExportError(path, where, f"expected a record in canonical JSON, got no JSON: {error}") from error
    if not isinstance(record, dict):
        raise ExportError(path, where, f"expected a JSON object, got {excerpt(line)}")
    return record


def check_canonical(path: Path, where: str, record: dict[str, object], line: bytes) -> None:
    """Raise ExportError unless the line is its record's canonical JSON."""
    try:
        canonical = canonical_bytes(record)
    except CanonicalError as error:
        raise ExportError(path, where, f"expected a record in canonical JSON: {error}") from error
    if canonical != line:
        raise ExportError(path, where, f"is not canonical JSON: {describe_difference(canonical, line)}")

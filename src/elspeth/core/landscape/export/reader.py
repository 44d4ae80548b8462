"""Reads exports of every lossless form, and verifies them on the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from elspeth.core.landscape.export.forms import MANIFEST_FILE, ExportError, StoredRecord
from elspeth.core.landscape.export.text_form import read_text
from elspeth.core.landscape.export.verifier import Checked, ExportSummary, ExportVerifier, VerificationError
from elspeth.core.landscape.mapping import mapper
from elspeth_schema.contracts import AuditRecord
from elspeth_schema.records import RecordType

__all__ = ["ExportEntry", "ExportReader", "ExportRow", "read_export"]


class ExportEntry(NamedTuple):
    """A record of an export: where it stands, its values, and its contract (what is withheld is null there)."""

    where: str
    record: Mapping[str, object]
    contract: AuditRecord


class ExportRow(NamedTuple):
    """A record of an export: where it stands, its type, and its values by column, null for what is withheld."""

    where: str
    record_type: RecordType[AuditRecord]
    row: Mapping[str, object]


class ExportReader:
    """An export, to be iterated over once: every record in order, but for the manifest.

    Raises ExportError at the first record that is not as it was exported. Only an iteration that reaches the end has
    verified the export: what it gave out before is provisional. Memory does not grow with the export.
    """

    def __init__(self, path: Path, records: Iterator[StoredRecord], *, signing_key: bytes | None) -> None:
        self._path = path
        self._records = records
        self._verifier = ExportVerifier(signing_key)

    @property
    def summary(self) -> ExportSummary:
        """What was read; RuntimeError unless it was read to its end."""
        if self._verifier.summary is None:
            message = f"{self._path}: the export was not read to its end"
            raise RuntimeError(message)
        return self._verifier.summary

    def __iter__(self) -> Iterator[ExportEntry]:
        """Every record in order."""
        for stored, checked in self._checked():
            contract = checked.contract or mapper(checked.record_type).from_record(stored.record)
            yield ExportEntry(stored.where, stored.record, contract)

    def rows(self) -> Iterator[ExportRow]:
        """Every record in order, as the database takes it: in a third of the time."""
        for stored, checked in self._checked():
            row = stored.row
            if row is None:
                contract = checked.contract or mapper(checked.record_type).from_record(stored.record)
                row = mapper(checked.record_type).to_row(contract)
            yield ExportRow(stored.where, checked.record_type, row)

    def _checked(self) -> Iterator[tuple[StoredRecord, Checked]]:
        last = None
        for stored in self._records:
            try:
                checked = self._verifier.check(stored.record, stored.line, sound=stored.row is not None)
            except VerificationError as error:
                raise ExportError(self._path, stored.where, str(error)) from error
            last = f"after {stored.where}"
            if checked is not None:
                yield stored, checked
        if self._verifier.summary is None:
            raise ExportError(self._path, last, "expected the manifest, got the end: the export is incomplete")


def read_export(path: Path, *, signing_key: bytes | None = None) -> ExportReader:
    """An export of any form but CSV, to be read; ExportError if the path cannot be one.

    With a key every signature is checked, and an export without signatures is refused.
    """
    try:
        names = {entry.name for entry in path.iterdir()} if path.is_dir() else None
        if names is None:
            path.open("rb").close()
    except OSError as error:
        raise ExportError(path, None, f"cannot be read: {error.strerror}") from error
    if names is None:
        return ExportReader(path, read_text(path), signing_key=signing_key)
    if any(name.endswith(".csv") for name in names):
        problem = "is a CSV export, in which null and empty text look the same: use its json, jsonl or parquet form"
        raise ExportError(path, None, problem)
    if MANIFEST_FILE not in names:
        raise ExportError(path, None, f"is no export: expected a file, or a directory with {MANIFEST_FILE}")
    from elspeth.core.landscape.export.parquet_form import read_parquet  # noqa: PLC0415  pyarrow is an extra

    return ExportReader(path, read_parquet(path), signing_key=signing_key)

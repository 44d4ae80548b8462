"""Reads exports of every form and of every epoch so far, and verifies them on the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from elspeth.core.landscape.exporting.csv_form import HASH_REMARK
from elspeth.core.landscape.exporting.forms import ExportError, StoredRecord
from elspeth.core.landscape.exporting.source import ExportKind, ExportSource, find_source
from elspeth.core.landscape.exporting.verifier import (
    Checked,
    ExportSummary,
    ExportVerifier,
    RulesError,
    VerificationError,
)
from elspeth.core.landscape.records.mapping import mapper
from elspeth_schema.contracts import AuditRecord
from elspeth_schema.records import RECORD_TYPES

__all__ = ["ExportEntry", "ExportReader", "ExportRow", "read_export"]


class ExportEntry(NamedTuple):
    """A record of an export: where it stands, its values, and its contract (what is withheld is null there)."""

    where: str
    record: Mapping[str, object]
    contract: AuditRecord


class ExportRow(NamedTuple):
    """A record of an export: where it stands, its type, and its values by column, null for what is withheld."""

    where: str
    record_type: str
    row: Mapping[str, object]


class ExportReader:
    """An export, to be iterated over once: every record in order, but for the manifest.

    Raises ExportError at the first record that is not as it was exported. Only an iteration that reaches the end has
    verified the export: what it gave out before is provisional. Memory does not grow with the export.
    """

    def __init__(self, source: ExportSource, *, signing_key: bytes | None) -> None:
        self.source = source
        self._verifier = ExportVerifier(source.epoch, signing_key)

    @property
    def summary(self) -> ExportSummary:
        """What was read; RuntimeError unless it was read to its end."""
        if self._verifier.summary is None:
            message = f"{self.source.path}: the export was not read to its end"
            raise RuntimeError(message)
        return self._verifier.summary

    def __iter__(self) -> Iterator[ExportEntry]:
        """Yield every record in order; ExportError for an export of an older epoch, which has no contracts."""
        if not self.source.is_of_today:
            problem = f"is of epoch {self.source.epoch}, whose records have no contracts in this version: import it"
            raise ExportError(self.source.path, None, problem)
        for stored, checked in self._checked():
            contract = checked.contract or mapper(RECORD_TYPES[checked.record_type]).from_record(stored.record)
            yield ExportEntry(stored.where, stored.record, contract)

    def rows(self) -> Iterator[ExportRow]:
        """Yield every record in order as the tables of its epoch take it: in a third of the time."""
        for stored, checked in self._checked():
            row = stored.row or checked.row
            if row is None:
                convert = mapper(RECORD_TYPES[checked.record_type])
                row = convert.to_row(checked.contract or convert.from_record(stored.record))
            yield ExportRow(stored.where, checked.record_type, row)

    def records(self) -> Iterator[StoredRecord]:
        """Yield every record in order as it is stored."""
        return (stored for stored, _ in self._checked())

    def _checked(self) -> Iterator[tuple[StoredRecord, Checked]]:
        last = None
        for stored in self.source.records():
            try:
                checked = self._verifier.check(stored.record, stored.line, sound=stored.row is not None)
            except VerificationError as error:
                raise ExportError(self.source.path, stored.where, f"{error}{self._remark(error)}") from error
            last = f"after {stored.where}"
            if checked is not None:
                yield stored, checked
        if self._verifier.summary is None:
            problem = "expected the manifest, got the end: the export is incomplete"
            raise ExportError(self.source.path, last, problem)

    def _remark(self, error: VerificationError) -> str:
        if isinstance(error, RulesError) and not self.source.is_stated:
            return " (no manifest at the end says of which epoch the export is: it is incomplete)"
        is_hash = str(error).startswith("manifest: final_hash")
        return HASH_REMARK if is_hash and self.source.kind is ExportKind.CSV else ""


def read_export(path: Path, *, signing_key: bytes | None = None) -> ExportReader:
    """Return the export at the path, to be read; ExportError if there is none, or one of a later epoch.

    With a key every signature is checked, and an export without signatures is refused.
    """
    return ExportReader(find_source(path), signing_key=signing_key)

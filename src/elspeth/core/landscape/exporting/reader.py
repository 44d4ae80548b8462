"""Reads exports, and verifies them while they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple, cast

from elspeth.core.landscape.database.writing import StoredTimes
from elspeth.core.landscape.exporting._csv_form import HASH_REMARK, read_csv
from elspeth.core.landscape.exporting._record_rules import (
    FIRST_EXPORTED,
    BrokenRuleError,
    Checked,
    SchemaRules,
    UnfitRecordError,
)
from elspeth.core.landscape.exporting._text_form import find_stated_epoch, read_text
from elspeth.core.landscape.exporting._triples_form import holds_triples
from elspeth.core.landscape.exporting.bag_form import holds_salted_records, is_bag, read_bag, read_bag_epoch
from elspeth.core.landscape.exporting.forms import MANIFEST_FILE, ExportError, StoredRecord, read_manifest
from elspeth.core.landscape.exporting.found.reading import is_found_export
from elspeth.core.landscape.records.mapping import mapper
from elspeth.evidence.format import bag
from elspeth.evidence.format.bag import NO_RUN
from elspeth.evidence.format.canonical import Json
from elspeth.evidence.format.export_lines import MANIFEST
from elspeth.evidence.verifier.export import ExportCheck
from elspeth.evidence.verifier.procedure import StepError
from elspeth.evidence.verifier.reader import looks_like_bag
from elspeth.outputs.compression import Compression, find_compression, missing_library
from elspeth_schema import EPOCH
from elspeth_schema.contracts import AuditRecord
from elspeth_schema.conversions import CONVERSIONS, ROWS, Row
from elspeth_schema.records import RECORD_TYPES

__all__ = [
    "ExportEntry",
    "ExportKind",
    "ExportPlace",
    "ExportReader",
    "ExportRow",
    "ExportSource",
    "ExportSummary",
    "find_place",
    "find_source",
    "read_export",
]


class ExportKind(StrEnum):
    """The kinds of exports, which are read in different ways."""

    TEXT = "text"
    CSV = "csv"
    PARQUET = "parquet"
    BAG = "bag"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportPlace:
    """The place and the kind of an export.

    `is_compressed` says whether its files are compressed with gzip or zstd.
    """

    path: Path
    kind: ExportKind
    is_compressed: bool

    @property
    def lines_file(self) -> Path | None:
        """The file with the lines, or None without one."""
        if self.kind is ExportKind.TEXT:
            return None if self.is_compressed else self.path
        return self.path / bag.RECORDS if self.kind is ExportKind.BAG and self.path.is_dir() else None

    def files(self) -> list[Path]:
        """Return the files to watch for changes of the export."""
        if self.path.is_file():
            return [self.path]
        if self.kind is ExportKind.BAG:
            names = (bag.RECORDS, bag.ENVELOPE, bag.STATEMENT)
            return [self.path / name for name in names if (self.path / name).exists()]
        return sorted(self.path.iterdir())


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSource:
    """An export: its place and its epoch.

    `is_stated` says whether the export itself names its epoch. One that does not is read as one of today's epoch, and
    then refused.
    """

    place: ExportPlace
    epoch: int
    is_stated: bool

    @property
    def path(self) -> Path:
        """The path of the export."""
        return self.place.path

    @property
    def kind(self) -> ExportKind:
        """The kind of the export."""
        return self.place.kind

    @property
    def is_current(self) -> bool:
        """Whether it is of the epoch of this version."""
        return self.epoch == EPOCH

    def records(self) -> Iterator[StoredRecord]:
        """Yield the records as stored, the manifest last.

        Raises ExportError for anything that is not such an export.
        """
        if self.kind is ExportKind.TEXT:
            return read_text(self.path, self.epoch)
        if self.kind is ExportKind.BAG:
            return read_bag(self.path, self.epoch)
        if self.kind is ExportKind.CSV:
            return read_csv(self.path, self.epoch)
        from elspeth.core.landscape.exporting._parquet_form import read_parquet  # noqa: PLC0415  pyarrow is an extra

        return read_parquet(self.path, self.epoch)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSummary:
    """A summary of an export that was verified completely."""

    run_id: str
    run_status: str
    counts: Mapping[str, int]
    signed: bool
    signatures_checked: bool

    @property
    def record_count(self) -> int:
        """The number of records before the manifest."""
        return sum(self.counts.values())


class ExportEntry(NamedTuple):
    """A record of an export, with its place and contract.

    Withheld columns are null in the contract.
    """

    where: str
    record: Mapping[str, object]
    contract: AuditRecord


class ExportRow(NamedTuple):
    """A record of an export as place, type and row.

    Withheld columns are null in the row.
    """

    where: str
    record_type: str
    row: Row


class ExportReader:
    """An export whose records can be iterated over once.

    The manifest is not among them. The iteration raises ExportError at the first record that was altered. Only an
    iteration that reaches the end has verified the export; until then its records are provisional. Memory does not grow
    with the export. `on_record` is called with each record after its check, with the manifest last.
    """

    def __init__(
        self,
        source: ExportSource,
        *,
        signing_key: bytes | None,
        on_record: Callable[[StoredRecord], None] | None = None,
    ) -> None:
        self.source = source
        self._on_record = on_record
        self._has_key = signing_key is not None
        self._check = ExportCheck(signing_key)
        self._rules = SchemaRules(source.epoch)

    @property
    def summary(self) -> ExportSummary:
        """The summary of the export.

        Raises RuntimeError unless the export was read to its end.
        """
        check = self._check
        if not check.is_complete:
            message = f"{self.source.path}: the export was not read to its end"
            raise RuntimeError(message)
        return ExportSummary(
            run_id=str(check.run_id),
            run_status=str(check.run_status),
            counts=dict(check.counts),
            signed=check.is_signed,
            signatures_checked=self._has_key,
        )

    def __iter__(self) -> Iterator[ExportEntry]:
        """Yield every record in order, with its contract.

        Raises ExportError for an export of an older epoch, whose records have no contracts.
        """
        if not self.source.is_current:
            problem = f"is of epoch {self.source.epoch}, whose records have no contracts in this version: import it"
            raise ExportError(self.source.path, None, problem)
        for stored, checked in self._checked():
            contract = checked.contract or mapper(RECORD_TYPES[checked.record_type]).from_record(stored.record)
            yield ExportEntry(stored.where, stored.record, contract)

    def rows(self, times: StoredTimes) -> Iterator[ExportRow]:
        """Yield every record in order, as a table row.

        This takes a third of the time of iterating over contracts.
        """
        for stored, checked in self._checked():
            name, row = checked.record_type, checked.row
            if row is not None:
                row = tuple(times.of_moment(each) if isinstance(each, datetime) else each for each in row)
            elif checked.contract is not None:
                row = ROWS[type(checked.contract)](checked.contract, times.of_moment)
            else:
                row = CONVERSIONS[name].line_to_row(stored.record, times.of_text)
            yield ExportRow(stored.where, name, row)

    def records(self) -> Iterator[StoredRecord]:
        """Yield every record in order as it is stored."""
        return (stored for stored, _ in self._checked())

    def _checked(self) -> Iterator[tuple[StoredRecord, Checked]]:
        last = None
        for stored in self.source.records():
            last = f"after {stored.where}"
            checked = self._checked_record(stored)
            if self._on_record is not None:
                self._on_record(stored)
            if checked is not None:
                yield stored, checked
        try:
            self._check.require_manifest("end")
        except StepError as error:
            raise ExportError(self.source.path, last, error.problem) from error

    def _checked_record(self, stored: StoredRecord) -> Checked | None:
        """Check the next record, and return None for the manifest."""
        record, path = cast("dict[str, Json]", stored.record), self.source.path
        try:
            if record.get("record_type") == MANIFEST:
                self._check.close(stored.where, record, stored.line, self._rules.manifest_fields(record))
                return None
            self._check.add(stored.where, record, stored.line)
            return self._rules.check(record, sound=stored.is_sound)
        except StepError as error:
            is_hash = error.place.endswith("manifest: final_hash")
            remark = HASH_REMARK if is_hash and self.source.kind is ExportKind.CSV else ""
            raise ExportError(path, error.place, f"{error.problem}{remark}") from error
        except BrokenRuleError as error:
            is_epoch_unknown = isinstance(error, UnfitRecordError) and not self.source.is_stated
            remark = _NO_EPOCH if is_epoch_unknown else ""
            raise ExportError(path, stored.where, f"{error}{remark}") from error


_NO_EPOCH = " (no manifest at the end says of which epoch the export is: it is incomplete)"


def read_export(path: Path, *, signing_key: bytes | None = None) -> ExportReader:
    """Return a reader of the export at the path.

    With a key, every signature is checked, and an export without signatures is refused. Raises ExportError if there is
    no export, or one of a later epoch.
    """
    return ExportReader(find_source(path), signing_key=signing_key)


def find_place(path: Path) -> ExportPlace:
    """Return the place and kind of an export.

    The path of a bag's file of records stands for the bag. Raises ExportError if there is no export, or if the library
    that reads it is missing.
    """
    try:
        if is_found_export(path):
            raise ExportError(path, None, NO_RUN)
        path, kind = _kind_of(path)
        found = _compressions(path, kind)
    except OSError as error:
        raise ExportError(path, None, f"cannot be read: {error.strerror}") from error
    for compression in found:
        if missing := missing_library(compression):
            raise ExportError(path, None, f"is compressed with {compression}, which {missing}")
    return ExportPlace(path=path, kind=kind, is_compressed=bool(found))


def find_source(path: Path) -> ExportSource:
    """Return the export at the path, and its epoch.

    A compressed file is read to its end to find the epoch. Raises ExportError as `find_place` does, and for an export
    of an epoch later than this version knows.
    """
    place = find_place(path)
    try:
        stated = _stated_epoch(place)
    except OSError as error:
        raise ExportError(place.path, None, f"cannot be read: {error.strerror}") from error
    epoch = stated if type(stated) is int and stated >= FIRST_EXPORTED else EPOCH
    if epoch > EPOCH:
        raise ExportError(
            place.path,
            None,
            f"this export is of epoch {epoch}, this version reads exports up to epoch {EPOCH}:"
            " use the version of elspeth that wrote it, or a later one",
        )
    return ExportSource(place=place, epoch=epoch, is_stated=stated is not None)


def _kind_of(path: Path) -> tuple[Path, ExportKind]:
    if not path.is_dir():
        path.open("rb").close()
        directory = path.absolute().parent.parent
        if path.name == Path(bag.RECORDS).name and is_bag(directory) and (directory / bag.RECORDS).samefile(path):
            return directory, ExportKind.BAG
        if looks_like_bag(path):
            return path, ExportKind.BAG
        if holds_salted_records(path):
            problem = "holds the records of a bag, which without its statement are not an export: name the bag"
            raise ExportError(path, None, problem)
        if holds_triples(path):
            problem = "holds N-Triples, which triple stores read: name an export in another format"
            raise ExportError(path, None, problem)
        return path, ExportKind.TEXT
    if is_bag(path):
        return path, ExportKind.BAG
    names = {entry.name for entry in path.iterdir()}
    if MANIFEST_FILE not in names:
        problem = f"is not an export: expected a file, a bag, or a directory with {MANIFEST_FILE}"
        raise ExportError(path, None, problem)
    is_csv = any(".csv" in Path(name).suffixes for name in names)
    return path, ExportKind.CSV if is_csv else ExportKind.PARQUET


def _compressions(path: Path, kind: ExportKind) -> set[Compression]:
    """Return the compressions of an export's files."""
    files = {ExportKind.TEXT: [path], ExportKind.CSV: filter(Path.is_file, path.glob("*"))}.get(kind, [])
    return {compression for file in files if (compression := find_compression(file)) is not None}


def _stated_epoch(place: ExportPlace) -> object:
    """Return the epoch that the export names, or None."""
    if place.kind is ExportKind.TEXT:
        return find_stated_epoch(place.path, is_compressed=place.is_compressed)
    if place.kind is ExportKind.BAG:
        return read_bag_epoch(place.path)
    return read_manifest(place.path).record.get("epoch")

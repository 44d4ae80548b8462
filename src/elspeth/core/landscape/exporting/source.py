"""What kind of export stands at a path, of which epoch it is, and its records as they are stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from elspeth.core.landscape.exporting.bag_reading import bag_epoch, holds_salted_records, is_bag, read_bag
from elspeth.core.landscape.exporting.csv_form import read_csv
from elspeth.core.landscape.exporting.directory_form import read_manifest
from elspeth.core.landscape.exporting.forms import MANIFEST_FILE, ExportError, StoredRecord
from elspeth.core.landscape.exporting.record_forms import FIRST_EXPORTED
from elspeth.core.landscape.exporting.text_form import read_text, stated_epoch
from elspeth.evidence.format import bag
from elspeth.evidence.verifier.reader import looks_like_bag
from elspeth_schema import EPOCH

__all__ = ["ExportKind", "ExportSource", "find_source"]


class ExportKind(StrEnum):
    """The kinds of exports that are read differently."""

    TEXT = "text"
    CSV = "csv"
    PARQUET = "parquet"
    BAG = "bag"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSource:
    """An export: where it stands, of which kind it is, and the epoch whose rules its records follow.

    `is_stated` says whether the export itself names the epoch; one that does not is read as one of today, and refused.
    """

    path: Path
    kind: ExportKind
    epoch: int
    is_stated: bool

    @property
    def is_of_today(self) -> bool:
        """Whether it is of the epoch of this version."""
        return self.epoch == EPOCH

    @property
    def lines_file(self) -> Path | None:
        """The file that holds its records as lines of today's epoch; None where there is none."""
        if not self.is_of_today:
            return None
        if self.kind is ExportKind.TEXT:
            return self.path
        return self.path / bag.RECORDS if self.kind is ExportKind.BAG and self.path.is_dir() else None

    def files(self) -> list[Path]:
        """Return the files that tell whether the export is still the same."""
        if self.path.is_file():
            return [self.path]
        if self.kind is ExportKind.BAG:
            names = (bag.RECORDS, bag.ENVELOPE, bag.STATEMENT)
            return [self.path / name for name in names if (self.path / name).exists()]
        return sorted(self.path.iterdir())

    def records(self) -> Iterator[StoredRecord]:
        """Yield the records as they are stored, the manifest last; ExportError for anything not written so."""
        if self.kind is ExportKind.TEXT:
            return read_text(self.path, self.epoch)
        if self.kind is ExportKind.BAG:
            return read_bag(self.path, self.epoch)
        if self.kind is ExportKind.CSV:
            return read_csv(self.path, self.epoch)
        from elspeth.core.landscape.exporting.parquet_form import read_parquet  # noqa: PLC0415  pyarrow is an extra

        return read_parquet(self.path, self.epoch)


def find_source(path: Path) -> ExportSource:
    """Return what export stands at the path; the file with the records of a bag stands for the bag.

    Raises ExportError if there is none, or one of a later epoch than this version knows.
    """
    try:
        path, kind = _kind_of(path)
        stated = _stated_epoch(path, kind)
    except OSError as error:
        raise ExportError(path, None, f"cannot be read: {error.strerror}") from error
    epoch = stated if type(stated) is int and stated >= FIRST_EXPORTED else EPOCH
    if epoch > EPOCH:
        raise ExportError(
            path,
            None,
            f"this export is of epoch {epoch}, this version reads exports up to epoch {EPOCH}:"
            " use the version of elspeth that wrote it, or a later one",
        )
    return ExportSource(path=path, kind=kind, epoch=epoch, is_stated=stated is not None)


def _kind_of(path: Path) -> tuple[Path, ExportKind]:
    if not path.is_dir():
        path.open("rb").close()
        directory = path.absolute().parent.parent
        if path.name == Path(bag.RECORDS).name and is_bag(directory) and (directory / bag.RECORDS).samefile(path):
            return directory, ExportKind.BAG
        if looks_like_bag(path):
            return path, ExportKind.BAG
        if holds_salted_records(path):
            problem = "holds the records of a bag, which without its statement are no export: name the bag"
            raise ExportError(path, None, problem)
        return path, ExportKind.TEXT
    if is_bag(path):
        return path, ExportKind.BAG
    names = {entry.name for entry in path.iterdir()}
    if MANIFEST_FILE not in names:
        problem = f"is no export: expected a file, a bag, or a directory with {MANIFEST_FILE}"
        raise ExportError(path, None, problem)
    is_csv = any(name.endswith(".csv") for name in names)
    return path, ExportKind.CSV if is_csv else ExportKind.PARQUET


def _stated_epoch(path: Path, kind: ExportKind) -> object:
    """Return what the export says of its epoch, None if it says nothing."""
    if kind is ExportKind.TEXT:
        return stated_epoch(path)
    return bag_epoch(path) if kind is ExportKind.BAG else read_manifest(path).record.get("epoch")

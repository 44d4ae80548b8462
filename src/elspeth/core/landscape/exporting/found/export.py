"""Exports databases as found, in every form."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from sqlalchemy.engine import URL

from elspeth.core.landscape.database.errors import LandscapeError
from elspeth.core.landscape.database.urls import database_files
from elspeth.core.landscape.exporting._text_form import write_array, write_lines
from elspeth.core.landscape.exporting.files import export_policy, require_compression
from elspeth.core.landscape.exporting.format import ExportFormat
from elspeth.core.landscape.exporting.found._dictionary import DATA_DICTIONARY
from elspeth.core.landscape.exporting.found._directory import write_directory
from elspeth.core.landscape.exporting.found.lines import FoundExport, bounded, open_found
from elspeth.evidence.format.found import ROW, TABLE, record_schema
from elspeth.outputs.compression import Compression, compressing
from elspeth.outputs.policy import Protected
from elspeth.outputs.writing import Output, hold

if TYPE_CHECKING:
    from elspeth.evidence.format.signatures import Signer

__all__ = ["FoundSummary", "export_found"]

_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundSummary:
    """A summary of an export."""

    name: str
    tables: int
    rows: int
    records: int


def export_found(
    url: URL,
    target: Path | BinaryIO,
    *,
    format: ExportFormat,  # noqa: A002 - the word that users know
    compression: Compression | None = None,
    signing_key: bytes | None = None,
    signer: Signer | None = None,
    archive: bool = False,
    stamp: Callable[[bytes], bytes] | None = None,
    progress: Callable[[int], None] | None = None,
    protected: Sequence[Protected] = (),
    force: bool = False,
) -> FoundSummary:
    """Export every record of any database, without changing it.

    The options are those of `write_export`, except that csv is not compressed. Raises LandscapeError if the database
    cannot be read, OutputRefusedError for a path that the export may not use, the errors of `write_bag`, and OSError.
    After an error, the path keeps its content.
    """
    require_compression(format, compression)
    if format is ExportFormat.NT:
        raise LandscapeError(
            "the format nt: not for a database as found, which has no terms in RDF: use another format"
        )
    if compression is not None and format is ExportFormat.CSV:
        raise LandscapeError(f"compression {compression}: not for csv of a database as found: use jsonl or json")
    if not isinstance(target, Path):
        with open_found(url, key=signing_key, progress=progress) as export:
            _write_text(target, export, format, compression)
            return _summary(export)
    protected = [*protected, *database_files(url, "the database that is exported")]
    policy = export_policy(format, protected=protected, force=force, as_found=True)
    with hold(target, policy) as output:
        if format is ExportFormat.BAG:
            return _write_bag(url, output, signer, stamp, progress, archive=archive)
        with open_found(url, key=signing_key, progress=progress) as export:
            _write_files(output, export, format, compression)
            return _summary(export)


def _write_files(output: Output, export: FoundExport, form: ExportFormat, compression: Compression | None) -> None:
    if form in (ExportFormat.CSV, ExportFormat.PARQUET):
        with output.directory() as directory:
            write_directory(directory, export, form)
        return
    with output.file() as file:
        _write_text(file, export, form, compression)


def _write_text(file: BinaryIO, export: FoundExport, form: ExportFormat, compression: Compression | None) -> None:
    def chunks() -> Iterator[tuple[int, bytes]]:
        for batch in _batches(export):
            yield len(batch), b"\n".join([*batch, b""])
        yield 1, export.manifest().line + b"\n"

    with compressing(file, compression) as compressed:
        (write_array if form is ExportFormat.JSON else write_lines)(compressed, chunks())


def _write_bag(
    url: URL,
    output: Output,
    signer: Signer | None,
    stamp: Callable[[bytes], bytes] | None,
    progress: Callable[[int], None] | None,
    *,
    archive: bool,
) -> FoundSummary:
    from elspeth.evidence.writer.bag import write_bag  # noqa: PLC0415  loads cryptography

    with open_found(url) as export, closing(_batches(export)) as batches:
        write_bag(
            output,
            batches,
            facts=export.facts,
            documents={"export.schema.json": record_schema(), "data-dictionary.md": DATA_DICTIONARY.encode()},
            signer=signer,
            secret=secrets.token_hex(_SECRET_BYTES),
            archive=archive,
            stamp=stamp,
            progress=progress,
            date=datetime.now(UTC).date(),
        )
        return _summary(export)


def _batches(export: FoundExport) -> Generator[list[bytes], None, None]:
    """Yield the lines in batches, each of one record type."""
    for _, group in groupby(export.lines(), key=itemgetter(0)):
        for batch in bounded(line for _, line in group):
            yield [line for _, line in batch]


def _summary(export: FoundExport) -> FoundSummary:
    counts = export.counts
    return FoundSummary(name=export.facts.name, tables=counts[TABLE], rows=counts[ROW], records=counts.total())

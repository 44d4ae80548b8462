"""Exports as files: their forms, and what they may replace."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import orjson

from elspeth.core.landscape.database import LandscapeDB, LandscapeError
from elspeth.core.landscape.database.urls import database_files
from elspeth.core.landscape.exporting._csv_form import write_csv
from elspeth.core.landscape.exporting._text_form import write_array, write_lines
from elspeth.core.landscape.exporting._triples_form import TRIPLES_OF_RUN, write_triples
from elspeth.core.landscape.exporting.contents import RunContents
from elspeth.core.landscape.exporting.exporter import LandscapeExporter
from elspeth.core.landscape.exporting.format import ExportFormat, compression_problem
from elspeth.core.landscape.exporting.forms import FOUND_FILE, MANIFEST_FILE, PACKAGE_FILE
from elspeth.evidence.format.bag import Contact
from elspeth.evidence.format.compression import open_decompressed
from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.format.export_lines import MANIFEST
from elspeth.evidence.format.found import DATABASE
from elspeth.outputs.compression import SUFFIXES, Compression, compressing
from elspeth.outputs.policy import Kind, OutputPolicy, Protected, foreign_objection
from elspeth.outputs.writing import Output, hold
from elspeth_schema.records import RECORD_TYPES, RUN

if TYPE_CHECKING:
    from elspeth.evidence.format.signatures import Signer

__all__ = ["ExportFormat", "export_policy", "require_compression", "write_export"]

_DIRECTORY_FORMS = (ExportFormat.CSV, ExportFormat.PARQUET)
"""The forms that are directories of files named `TYPE.FORM`."""

_ENDINGS = (*_DIRECTORY_FORMS, *(f"{ExportFormat.CSV}{suffix}" for suffix in SUFFIXES.values()))

_OUR_FILES = frozenset(
    {MANIFEST_FILE, PACKAGE_FILE, *(f"{name}.{ending}" for name in RECORD_TYPES for ending in _ENDINGS)}
)

_KINDS = {False: "an export", True: "an export of a database as found"}

_LONGEST = 1 << 24
"""How many bytes of a file are read for its first record, which holds the settings of the run."""


def write_export(
    db: LandscapeDB,
    run_id: str,
    target: Path | Output | BinaryIO,
    *,
    format: ExportFormat,  # noqa: A002 - the word that users know
    signing_key: bytes | None = None,
    signer: Signer | None = None,
    archive: bool = False,
    stamp: Callable[[bytes], bytes] | None = None,
    compression: Compression | None = None,
    include_payloads: bool = False,
    contents: RunContents | None = None,
    contact: Contact | None = None,
    base: str | None = None,
    progress: Callable[[int], None] | None = None,
    executor: Executor | None = None,
    protected: Sequence[Protected] = (),
    force: bool = False,
) -> int:
    """Write a run's export, and return its number of records.

    The export ends with the manifest, which is not counted, and is signed if there is a key. The target is a path, an
    output that is already held, or for jsonl, json and nt a stream; in a stream, an export that fails lacks its
    manifest.

    `signer` signs a bag, `archive` makes it a zip file, `stamp` returns its time-stamp, `contents` are put into it, and
    `contact` is named in it. `compression` applies to jsonl, json, nt and csv. The IRIs of records in nt begin with
    `base`, by default `urn:elspeth:run:ID/`. `include_payloads` also writes the columns that the schema withholds.
    `progress` is called with the number of records so far. The processes of an `executor` read the lines of a run that
    has ended, for forms made of lines. `protected` lists files that the export must not touch, in addition to the
    database, and `force` lets it replace a file that is not an export.

    Raises the errors of the exporter and of `write_bag`, OutputRefusedError for a path that the export may not use,
    LandscapeError if the form's library is missing, and OSError. After an error, the path keeps its content.
    """
    exporter = LandscapeExporter(
        db, signing_key, include_payloads=include_payloads, progress=progress, executor=executor
    )
    require_compression(format, compression)
    sign = signing_key is not None
    if not isinstance(target, Path | Output):
        return _write_text(target, exporter.export_chunks(run_id, sign=sign), format, compression, base)
    policy = export_policy(format, protected=[*protected, *database_files(db.engine.url)], force=force)
    with hold(target, policy) as output:
        if format is ExportFormat.BAG:
            from elspeth.core.landscape.exporting.bag_form import write_bag_of_run  # noqa: PLC0415  loads cryptography

            bag = write_bag_of_run(
                db,
                run_id,
                output,
                signer=signer,
                archive=archive,
                stamp=stamp,
                progress=progress,
                executor=executor,
                contents=contents,
                contact=contact,
            )
            return bag.record_count
        if format in _DIRECTORY_FORMS:
            with output.directory() as directory:
                if format is ExportFormat.CSV:
                    return write_csv(directory, exporter.export_run_by_type(run_id, sign=sign), compression)
                from elspeth.core.landscape.exporting._parquet_form import write_parquet  # noqa: PLC0415  an extra

                return write_parquet(directory, exporter.export_typed_chunks(run_id, sign=sign))
        with output.file() as file:
            return _write_text(file, exporter.export_chunks(run_id, sign=sign), format, compression, base)


def require_compression(form: ExportFormat, compression: Compression | None) -> None:
    """Raise LandscapeError if the form does not support the compression."""
    if compression is not None and (problem := compression_problem(form, compression)):
        raise LandscapeError(f"compression {compression}: {problem}")


def _write_text(
    file: BinaryIO,
    chunks: Iterable[tuple[int, bytes]],
    form: ExportFormat,
    compression: Compression | None,
    base: str | None,
) -> int:
    with compressing(file, compression) as compressed:
        if form is ExportFormat.NT:
            return write_triples(compressed, chunks, base) - 1
        write = write_array if form is ExportFormat.JSON else write_lines
        return write(compressed, chunks) - 1


def export_policy(
    form: ExportFormat, *, protected: Sequence[Protected] = (), force: bool = False, as_found: bool = False
) -> OutputPolicy:
    """Return the policy for files that exports may replace.

    It may replace an earlier export of the same kind (of a run, or of a database `as_found`), or with `force` any file.
    A bag never replaces anything.
    """
    if form is ExportFormat.BAG:
        from elspeth.evidence.writer.bag import bag_policy  # noqa: PLC0415  loads cryptography

        return bag_policy(protected)
    is_directory = form in _DIRECTORY_FORMS
    kind = Kind.DIRECTORY if is_directory else Kind.FILE
    objection = partial(_objection_to_directory if is_directory else _objection_to_file, as_found=as_found)
    # A directory may hold other files, so no option deletes it.
    return OutputPolicy(kind=kind, objection=objection, protected=protected, force=force and not is_directory)


def _objection_to_file(path: Path, *, as_found: bool) -> str | None:
    try:
        line = _first_line(path)
    except OSError as error:
        return f"cannot be read, so nothing shows whether it is an export: {error.strerror}"
    except EvidenceError as error:
        return f"cannot be read, so nothing shows whether it is an export: {error.problem}"
    if _is_record(line, DATABASE, "engine") if as_found else _begins_run(line):
        return None
    return foreign_objection(_KINDS[as_found])


def _objection_to_directory(path: Path, *, as_found: bool) -> str | None:
    entries = list(os.scandir(path))
    is_known = FOUND_FILE.fullmatch if as_found else _OUR_FILES.__contains__
    is_ours = all(is_known(each.name) and each.is_file(follow_symlinks=False) for each in entries)
    try:
        line = _first_line(path / MANIFEST_FILE) if is_ours else b""
    except FileNotFoundError:
        line = b""
    except OSError as error:
        return f"cannot be read, so nothing shows whether it is an export: {error.strerror}"
    if _is_record(line, MANIFEST, "kind" if as_found else "run_id"):
        return None
    return foreign_objection(_KINDS[as_found], is_directory=True)


def _first_line(path: Path) -> bytes:
    """Return the first line that could hold a record.

    In a JSON array that is the second line. Raises OSError if the file cannot be read, EvidenceError if it cannot be
    decompressed.
    """
    with open_decompressed(path) as file:
        line = file.readline(_LONGEST)
        return file.readline(_LONGEST).rstrip().removesuffix(b",") if line == b"[\n" else line


def _begins_run(line: bytes) -> bool:
    return TRIPLES_OF_RUN.fullmatch(line) is not None or _is_record(line, RUN.name, "run_id")


def _is_record(line: bytes, record_type: str, field: str) -> bool:
    """Return whether a line is a record with this field."""
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return isinstance(record, dict) and record.get("record_type") == record_type and field in record

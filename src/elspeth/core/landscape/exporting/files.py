"""Exports as files, in every form that they can have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.connections import database_files
from elspeth.core.landscape.exporting.bag_form import write_bag_of_run
from elspeth.core.landscape.exporting.csv_form import write_csv
from elspeth.core.landscape.exporting.exporter import LandscapeExporter
from elspeth.core.landscape.exporting.format import ExportFormat
from elspeth.core.landscape.exporting.forms import ExportGroups
from elspeth.core.landscape.exporting.ours import export_policy
from elspeth.core.landscape.exporting.text_form import write_array, write_lines
from elspeth.evidence.format.signatures import Signer
from elspeth.outputs.policy import Protected
from elspeth.outputs.writing import Output, hold

__all__ = ["ExportFormat", "write_export"]


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
    include_payloads: bool = False,
    progress: Callable[[int], None] | None = None,
    executor: Executor | None = None,
    protected: Sequence[Protected] = (),
    force: bool = False,
) -> int:
    """Write the export of a run, manifest included, signed if there is a key; returns the number of records before it.

    The target is a path, an output that is held already, or for jsonl and json a stream, in which an export that fails
    lacks its manifest. `signer` signs a bag, `archive` makes it a zip file, `stamp` gives its time-stamp.
    `include_payloads` writes what the schema withholds, too. `progress` is called with the number of records so far.
    The processes of an `executor` read the lines of a run that has ended, for forms made of lines. `protected` is what
    the export must not touch besides the database, and `force` lets it replace a file that is no export.

    Raises what the exporter raises, OutputRefusedError for a path that the export may not have, LandscapeError if the
    form's library is missing, what `write_bag` raises, and OSError; what was at the path before stays then.
    """
    exporter = LandscapeExporter(
        db, signing_key, include_payloads=include_payloads, progress=progress, executor=executor
    )
    if not isinstance(target, Path | Output):
        return _write_text(target, exporter, run_id, format, sign=signing_key is not None)
    policy = export_policy(format, protected=[*protected, *database_files(db.engine.url)], force=force)
    with _named(target), hold(target, policy) as output:
        if format is not ExportFormat.BAG:
            return _write(output, exporter, run_id, format, sign=signing_key is not None)
        bag = write_bag_of_run(
            db, run_id, output, signer=signer, archive=archive, stamp=stamp, progress=progress, executor=executor
        )
        return bag.record_count


def _write(output: Output, exporter: LandscapeExporter, run_id: str, form: ExportFormat, *, sign: bool) -> int:
    if form in (ExportFormat.JSON, ExportFormat.JSONL):
        with output.file() as file:
            return _write_text(file, exporter, run_id, form, sign=sign)
    write_files = write_csv if form is ExportFormat.CSV else _parquet_writer()
    with output.directory() as directory:
        return write_files(directory, exporter.export_run_by_type(run_id, sign=sign))


def _write_text(file: BinaryIO, exporter: LandscapeExporter, run_id: str, form: ExportFormat, *, sign: bool) -> int:
    write = write_array if form is ExportFormat.JSON else write_lines
    return write(file, exporter.export_chunks(run_id, sign=sign)) - 1


@contextmanager
def _named(target: Path | Output) -> Iterator[None]:
    """Name the export in errors that name no file: a write that fails knows only its descriptor."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(target.path if isinstance(target, Output) else target)
        raise


def _parquet_writer() -> Callable[[Path, ExportGroups], int]:
    from elspeth.core.landscape.exporting.parquet_form import write_parquet  # noqa: PLC0415  pyarrow is an extra

    return write_parquet

"""Exports as files, in every form that they can have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.export.bag_form import write_bag_of_run
from elspeth.core.landscape.export.csv_form import write_csv
from elspeth.core.landscape.export.format import ExportFormat
from elspeth.core.landscape.export.forms import ExportGroups
from elspeth.core.landscape.export.target import replacing_directory, replacing_file
from elspeth.core.landscape.export.text_form import write_array, write_lines
from elspeth.core.landscape.exporter import LandscapeExporter
from elspeth.evidence.keys import Signer

__all__ = ["ExportFormat", "write_export"]


def write_export(
    db: LandscapeDB,
    run_id: str,
    path: Path,
    *,
    format: ExportFormat,  # noqa: A002 - the word that users know
    signing_key: bytes | None = None,
    signer: Signer | None = None,
    archive: bool = False,
    stamp: Callable[[bytes], bytes] | None = None,
    include_payloads: bool = False,
    progress: Callable[[int], None] | None = None,
    executor: Executor | None = None,
) -> int:
    """Write the export of a run, manifest included, signed if there is a key; returns the number of records before it.

    `signer` signs a bag, `archive` makes it a zip file, `stamp` gives its time-stamp. `include_payloads` writes what
    the schema withholds, too. `progress` is called with the number of records so far. The processes of an `executor`
    read the lines of a run that has ended, for forms made of lines. Raises what the exporter raises,
    ExportError for a path that an export may not replace, LandscapeError if the form's library is missing, what
    `write_bag` raises, and OSError; what was there before then stays.
    """
    with _named(path):
        if format is ExportFormat.BAG:
            bag = write_bag_of_run(
                db,
                run_id,
                path,
                signer=signer,
                archive=archive,
                stamp=stamp,
                progress=progress,
                executor=executor,
            )
            return bag.record_count
        exporter = LandscapeExporter(
            db, signing_key, include_payloads=include_payloads, progress=progress, executor=executor
        )
        sign = signing_key is not None
        if format in (ExportFormat.JSON, ExportFormat.JSONL):
            write_text = write_array if format is ExportFormat.JSON else write_lines
            with replacing_file(path) as file:
                return write_text(file, exporter.export_chunks(run_id, sign=sign)) - 1
        write_files = write_csv if format is ExportFormat.CSV else _parquet_writer()
        with replacing_directory(path) as directory:
            return write_files(directory, exporter.export_run_by_type(run_id, sign=sign))


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Name the export in errors that name no file: a write that fails knows only its descriptor."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def _parquet_writer() -> Callable[[Path, ExportGroups], int]:
    from elspeth.core.landscape.export.parquet_form import write_parquet  # noqa: PLC0415  pyarrow is an extra

    return write_parquet

"""Export the records of a run, or a whole database."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import typer

from elspeth.cli.access import database_url, open_landscape
from elspeth.cli.clusters import READING, database_files, share_work
from elspeth.cli.failures import UsageError, use_stderr_for_json
from elspeth.cli.objects import uploading
from elspeth.cli.options import STANDARD_OUTPUT
from elspeth.cli.progress import record_display
from elspeth.cli.terminal import aligned, binary_stdout
from elspeth.core.landscape.exporting.format import ExportFormat, object_problem
from elspeth.objects.address import ObjectPath, Place, place_of
from elspeth.outputs.compression import Compression

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from elspeth.core.landscape.database import LandscapeDB
    from elspeth.core.landscape.exporting.contents import RunContents
    from elspeth.evidence.format.bag import Contact
    from elspeth.evidence.format.signatures import Signer
    from elspeth.outputs.policy import Protected

__all__ = ["Contents", "ExportOptions", "export_database", "export_recorded_run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """That contents are exported, and where they are kept.

    Without a place it is where the run kept them.
    """

    place: Place | None

    def of_run(self, db: LandscapeDB, run_id: str) -> RunContents:
        """Return the contents of a run."""
        from elspeth.core.landscape.exporting.contents import (  # noqa: PLC0415  start time
            find_contents,
            payload_place,
        )

        return find_contents(db, run_id, self.place or payload_place(db, run_id))


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """Options that exports of runs and of databases share."""

    form: ExportFormat
    compression: Compression | None
    signing_key: bytes | None
    signer: Signer | None
    archive: bool
    stamp: Callable[[bytes], bytes] | None
    protected: Sequence[Protected]
    force: bool
    contents: Contents | None = None
    contact: Contact | None = None
    base: str | None = None
    workers: int = 1
    cluster: str | None = None
    is_large: bool = False

    @property
    def signed(self) -> bool:
        """Whether the export is signed."""
        return self.signing_key is not None or self.signer is not None


def export_recorded_run(
    run: str, database: str, output: str, options: ExportOptions, *, include_withheld: bool, json: bool
) -> None:
    """Export all records of a run, and print a summary."""
    from elspeth.core.landscape.exporting.files import write_export  # noqa: PLC0415  start time
    from elspeth.core.landscape.queries.runs import resolve_run  # noqa: PLC0415

    with (
        _open_target(output, options) as target,
        open_landscape(database) as db,
        share_work(
            options.workers, options.cluster, READING, database_files(db.engine.url), at_once=options.is_large
        ) as executor,
    ):
        run_id = resolve_run(db, run)
        contents = None if options.contents is None else options.contents.of_run(db, run_id)
        with record_display("export", _count_records(db, run_id)) as progress:
            records = write_export(
                db,
                run_id,
                target,
                format=options.form,
                compression=options.compression,
                signing_key=options.signing_key,
                signer=options.signer,
                archive=options.archive,
                stamp=options.stamp,
                include_payloads=include_withheld,
                contents=contents,
                contact=options.contact,
                base=options.base,
                progress=progress,
                executor=_usable_executor(executor, db, run_id),
                protected=options.protected,
                force=options.force,
            )
    subject, facts = {"run": run_id}, dict[str, object]({"run_id": run_id})
    if contents is not None:
        missing = f", {contents.missing:,} that records name are not in {contents.place}" if contents.missing else ""
        subject["contents"] = f"{len(contents.kept):,}{missing}"
        facts["contents"] = {"included": len(contents.kept), "missing": contents.missing}
    _print_export(subject, facts, output, options, records, json=json)


def export_database(database: str, output: str, options: ExportOptions, *, json: bool) -> None:
    """Export all records of any database, and print a summary."""
    from elspeth.core.landscape.database.urls import parse_url  # noqa: PLC0415  start time
    from elspeth.core.landscape.exporting.found.export import export_found  # noqa: PLC0415

    with _open_target(output, options) as target, record_display("export") as progress:
        summary = export_found(
            parse_url(database_url(database)),
            target,
            format=options.form,
            compression=options.compression,
            signing_key=options.signing_key,
            signer=options.signer,
            archive=options.archive,
            stamp=options.stamp,
            progress=progress,
            protected=options.protected,
            force=options.force,
        )
    held = f"{summary.name}, as found: {summary.tables:,} tables and views, {summary.rows:,} rows"
    facts = {"database": summary.name, "tables": summary.tables, "rows": summary.rows}
    _print_export({"database": held}, facts, output, options, summary.records, json=json)


@contextmanager
def _open_target(output: str, options: ExportOptions) -> Iterator[BinaryIO | Path]:
    """Yield where the export is written.

    What is written for an object is uploaded at the end. Raises UsageError for a directory as an object.
    """
    place = place_of(output)
    if isinstance(place, ObjectPath):
        if (problem := object_problem(options.form, archive=options.archive)) is not None:
            raise UsageError(f"-o {output}: {problem}")
        with uploading(place, force=options.force) as path:
            yield path
    elif output != STANDARD_OUTPUT:
        yield Path(output)
    else:
        use_stderr_for_json()
        target = binary_stdout()
        yield target
        target.flush()


def _count_records(db: LandscapeDB, run_id: str) -> int | None:
    """Return the number of records if a seal holds it."""
    from elspeth.core.landscape.sealing.seal import sealed_record_count  # noqa: PLC0415  start time

    with db.connection() as connection:
        return sealed_record_count(connection, run_id)


def _usable_executor(executor: Executor | None, db: LandscapeDB, run_id: str) -> Executor | None:
    """Return the executor unless one process must read the run."""
    from elspeth.core.landscape.lines.ranges import can_read_in_parallel  # noqa: PLC0415  start time

    if executor is None:
        return None
    with db.connection() as connection:
        if can_read_in_parallel(connection, run_id):
            return executor
    typer.echo(f"run {run_id} has not ended: one process reads it, in one snapshot", err=True)
    return None


def _print_export(
    subject: Mapping[str, str],
    facts: Mapping[str, object],
    output: str,
    options: ExportOptions,
    records: int,
    *,
    json: bool,
) -> None:
    """Print what was exported, to the stream without the export.

    `subject` says it for people, `facts` for programs.
    """
    is_streamed, form, compression = output == STANDARD_OUTPUT, options.form, options.compression
    if json:
        what = {"path": output, "format": form, "compress": compression}
        summary = {**facts, **what, "records": records, "signed": options.signed}
        typer.echo(jsonlib.dumps(summary, indent=2), err=is_streamed)
        return
    how = "signed" if options.signed else "not signed"
    where = "standard output" if is_streamed else output
    kind = form if compression is None else f"{form}, {compression}"
    lines = [*subject.items(), ("export", f"{where} ({kind}, {records:,} records, {how})")]
    typer.echo(aligned(lines), err=is_streamed)

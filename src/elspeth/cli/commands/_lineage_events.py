"""`export --format openlineage`: the lineage events of a run."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from elspeth.cli.access import default_database, open_landscape, protected_files
from elspeth.cli.failures import UsageError, use_stderr_for_json
from elspeth.cli.objects import uploading
from elspeth.cli.options import STANDARD_OUTPUT
from elspeth.cli.progress import record_display
from elspeth.cli.terminal import aligned, binary_stdout
from elspeth.core.landscape.exporting.format import ExportFormat
from elspeth.objects.address import ObjectPath, place_of

if TYPE_CHECKING:
    from elspeth.openlineage.records import LineageRecords

__all__ = ["export_events"]


def export_events(
    run: str,
    database: str | None,
    output: str,
    of_records: Mapping[str, bool],
    *,
    force: bool,
    json: bool,
) -> None:
    """Write the events of a recorded run.

    `run` is a run, or the path of a bag or another export. `of_records` maps the options that concern exported records
    to whether they were given.
    """
    wrong = [name for name, is_given in of_records.items() if is_given]
    if wrong:
        raise UsageError(f"{', '.join(wrong)}: not with --format {ExportFormat.OPENLINEAGE}, which exports no records")
    from elspeth.openlineage.events import run_events  # noqa: PLC0415  start time
    from elspeth.openlineage.files import write_events  # noqa: PLC0415

    export = Path(run) if Path(run).exists() else None
    if export is not None and database is not None:
        raise UsageError(f"{run} is an export: give either an export, or a run with -d")
    if export is None:
        database = database or default_database()
    protected = protected_files(database=database, bag=export)
    records = _read_database(run, database) if database is not None else _read_export(Path(run))
    run_id = records.run.run_id
    if output == STANDARD_OUTPUT:
        use_stderr_for_json()
        stream = binary_stdout()
        count = write_events(run_events(records), stream)
        stream.flush()
    elif isinstance(place := place_of(output), ObjectPath):
        with uploading(place, force=force) as path:
            count = write_events(run_events(records), path)
    else:
        count = write_events(run_events(records), place, protected=protected, force=force)
    if json:
        facts = {"run_id": run_id, "path": output, "format": ExportFormat.OPENLINEAGE.value, "events": count}
        typer.echo(jsonlib.dumps(facts, indent=2), err=output == STANDARD_OUTPUT)
        return
    where = "standard output" if output == STANDARD_OUTPUT else output
    lines = [("run", run_id), ("export", f"{where} ({ExportFormat.OPENLINEAGE}, {count:,} events)")]
    typer.echo(aligned(lines), err=output == STANDARD_OUTPUT)


def _read_database(run: str, database: str) -> LineageRecords:
    from elspeth.core.landscape.queries.runs import resolve_run  # noqa: PLC0415  start time
    from elspeth.openlineage.files import database_records  # noqa: PLC0415

    with open_landscape(database) as db:
        return database_records(db, resolve_run(db, run))


def _read_export(path: Path) -> LineageRecords:
    from elspeth.openlineage.files import export_records  # noqa: PLC0415  start time

    with record_display("read") as progress:
        return export_records(path, progress)

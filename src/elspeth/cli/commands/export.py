"""``elspeth export``: write the audit trail of a run as files."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import Annotated

import typer

from elspeth.cli.database import DatabaseOption, open_landscape
from elspeth.cli.failures import failures_reported
from elspeth.cli.options import JsonOption
from elspeth.cli.record_display import record_display
from elspeth.cli.signing_key import SignOption, signing_key
from elspeth.cli.text import aligned
from elspeth.core.landscape.export.format import ExportFormat

__all__ = ["export"]


def export(
    *,
    run: Annotated[str, typer.Argument(metavar="RUN|latest", help="The run, by its id, or the one that began last.")],
    database: DatabaseOption,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="PATH", help="The file, or the directory for csv and parquet.")
    ],
    form: Annotated[
        ExportFormat, typer.Option("--format", help="What to write; csv is for spreadsheets, and not lossless.")
    ] = ExportFormat.JSONL,
    hmac: SignOption = False,
    include_payloads: Annotated[
        bool, typer.Option("--include-payloads", help="Export what is withheld otherwise: content of rejected rows.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Export everything that was recorded of a run. An export that has the name already is replaced."""
    key = signing_key(wanted=hmac)
    with failures_reported():
        from elspeth.core.landscape.export.files import write_export  # noqa: PLC0415  start time
        from elspeth.core.landscape.select_run import resolve_run  # noqa: PLC0415

        with open_landscape(database) as db, record_display("export") as progress:
            run_id = resolve_run(db, run)
            records = write_export(
                db,
                run_id,
                output,
                format=form,
                signing_key=key,
                include_payloads=include_payloads,
                progress=progress,
            )
    if json:
        summary = {"run_id": run_id, "path": str(output), "format": form, "records": records, "signed": hmac}
        typer.echo(jsonlib.dumps(summary, indent=2))
        return
    signed = "signed" if hmac else "not signed"
    typer.echo(aligned([("run", run_id), ("export", f"{output} ({form}, {records:,} records, {signed})")]))

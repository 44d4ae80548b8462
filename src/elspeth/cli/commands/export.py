"""``elspeth export``: write the audit trail of a run as files."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elspeth.cli.database import DatabaseOption, open_landscape
from elspeth.cli.options import JsonOption
from elspeth.cli.record_display import record_display
from elspeth.cli.signing_key import SignOption, signing_key
from elspeth.cli.text import aligned
from elspeth.cli.workers import WorkersOption, executor_of
from elspeth.core.landscape.export.format import ExportFormat

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from elspeth.core.landscape.database import LandscapeDB
    from elspeth.evidence.keys import Signer

__all__ = ["export"]

_RunArgument = Annotated[
    str, typer.Argument(metavar="RUN|latest", help="The run, by its id, or the one that began last.")
]
_OutputOption = Annotated[
    Path, typer.Option("--output", "-o", metavar="PATH", help="The file, or the directory for csv and parquet.")
]
_FormOption = Annotated[
    ExportFormat, typer.Option("--format", help="What to write; csv is for spreadsheets, and not lossless.")
]
_KeyOption = Annotated[
    str | None, typer.Option("--key", "-k", metavar="PRIVATE.pem", help="Sign a bag: a PEM file or a signer URI.")
]
_PublicOption = Annotated[
    Path | None, typer.Option("--public", metavar="PUBLIC.pem", help="The public key that a signer URI needs.")
]
_StampOption = Annotated[str | None, typer.Option("--tsa", metavar="URL", help="Time-stamp a signed bag (RFC 3161).")]


def export(
    *,
    run: _RunArgument,
    database: DatabaseOption,
    output: _OutputOption,
    form: _FormOption = ExportFormat.JSONL,
    hmac: SignOption = False,
    key: _KeyOption = None,
    public: _PublicOption = None,
    archive: Annotated[bool, typer.Option("--zip", help="Write a bag as one zip file.")] = False,
    tsa: _StampOption = None,
    include_payloads: Annotated[
        bool, typer.Option("--include-payloads", help="Export what is withheld otherwise: content of rejected rows.")
    ] = False,
    workers: WorkersOption = 1,
    json: JsonOption = False,
) -> None:
    """Export everything that was recorded of a run. An export that has the name already is replaced, but for a bag."""
    _refuse_contradictions(
        form,
        with_bags={
            "--key": key is not None,
            "--public": public is not None,
            "--zip": archive,
            "--tsa": tsa is not None,
        },
        with_others={"--hmac": hmac, "--include-payloads": include_payloads},
    )
    _refuse_workers(workers, by_record=include_payloads or form in (ExportFormat.CSV, ExportFormat.PARQUET))
    secret = signing_key(wanted=hmac)
    from elspeth.core.landscape.export.files import write_export  # noqa: PLC0415  start time
    from elspeth.core.landscape.select_run import resolve_run  # noqa: PLC0415

    with open_landscape(database) as db, record_display("export") as progress, executor_of(workers) as executor:
        run_id = resolve_run(db, run)
        records = write_export(
            db,
            run_id,
            output,
            format=form,
            signing_key=secret,
            signer=_signer(key, public),
            archive=archive,
            stamp=_stamp(tsa),
            include_payloads=include_payloads,
            progress=progress,
            executor=_sharing(executor, db, run_id),
        )
    _report(run_id, output, form, records, signed=hmac or key is not None, json=json)


def _sharing(executor: Executor | None, db: LandscapeDB, run_id: str) -> Executor | None:
    """The executor, unless one process must read the run."""
    from elspeth.core.landscape.export.run_lines import can_share_run  # noqa: PLC0415  start time

    if executor is None or can_share_run(db, run_id):
        return executor
    typer.echo(f"run {run_id} has not ended: one process reads it, in one snapshot", err=True)
    return None


def _refuse_workers(workers: int, *, by_record: bool) -> None:
    """End the command with exit code 2 if several workers should export what is made record by record."""
    if workers > 1 and by_record:
        raise typer.BadParameter("--workers: only with --format jsonl, json or bag, and without --include-payloads")


def _report(run_id: str, output: Path, form: ExportFormat, records: int, *, signed: bool, json: bool) -> None:
    if json:
        summary = {"run_id": run_id, "path": str(output), "format": form, "records": records, "signed": signed}
        typer.echo(jsonlib.dumps(summary, indent=2))
        return
    how = "signed" if signed else "not signed"
    typer.echo(aligned([("run", run_id), ("export", f"{output} ({form}, {records:,} records, {how})")]))


def _refuse_contradictions(
    form: ExportFormat, *, with_bags: Mapping[str, bool], with_others: Mapping[str, bool]
) -> None:
    """End the command with exit code 2 for options (name -> whether it was given) that do not go with the form."""
    is_bag = form is ExportFormat.BAG
    wrong = [name for name, given in (with_others if is_bag else with_bags).items() if given]
    if wrong:
        raise typer.BadParameter(f"{', '.join(wrong)}: {'not' if is_bag else 'only'} with --format bag")
    if with_bags["--tsa"] and not with_bags["--key"]:
        raise typer.BadParameter("--tsa: only with --key: the time-stamp is over the signature")
    if with_bags["--public"] and not with_bags["--key"]:
        raise typer.BadParameter("--public: only with --key: it is the other half of that key")


def _signer(key: str | None, public: Path | None) -> Signer | None:
    if key is None:
        return None
    from elspeth.evidence.keys import load_signer  # noqa: PLC0415  start time

    return load_signer(key, public_key=public)


def _stamp(url: str | None) -> Callable[[bytes], bytes] | None:
    if url is None:
        return None
    from elspeth.evidence.timestamp import request_timestamp  # noqa: PLC0415  start time

    return partial(request_timestamp, url=url)

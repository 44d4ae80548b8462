"""``elspeth export``: write the audit trail of a run as files."""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elspeth.cli.database import DatabaseOption, open_landscape
from elspeth.cli.options import STANDARD_OUTPUT, ForceOption, JsonOption
from elspeth.cli.protection import protected_files
from elspeth.cli.record_display import record_display
from elspeth.cli.signing_key import SignOption, signing_key
from elspeth.cli.text import aligned
from elspeth.cli.workers import WorkersOption, executor_of
from elspeth.core.landscape.exporting.format import ExportFormat, named_form, unfit_name

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from elspeth.core.landscape.database import LandscapeDB
    from elspeth.evidence.format.signatures import Signer

__all__ = ["export"]

_RunArgument = Annotated[
    str, typer.Argument(metavar="RUN|latest", help="The run, by its id or how it begins, or the one that began last.")
]
_OutputOption = Annotated[
    str,
    typer.Option(
        "--output", "-o", metavar="PATH", help="The file, the directory for csv and parquet, or - for standard output."
    ),
]
_FormOption = Annotated[
    ExportFormat | None,
    typer.Option("--format", help="What to write; else the end of the name says it (.zip: a bag), or it is jsonl."),
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
    form: _FormOption = None,
    hmac: SignOption = False,
    key: _KeyOption = None,
    public: _PublicOption = None,
    archive: Annotated[bool, typer.Option("--zip", help="Write a bag as one zip file.")] = False,
    tsa: _StampOption = None,
    include_withheld: Annotated[
        bool, typer.Option("--include-withheld", help="Export the columns that are withheld: content of invalid rows.")
    ] = False,
    include_payloads: Annotated[bool, typer.Option("--include-payloads", hidden=True)] = False,
    workers: WorkersOption = 1,
    force: ForceOption = False,
    json: JsonOption = False,
) -> None:
    """Export everything that was recorded of a run. An earlier export of the same name is replaced, but for a bag."""
    form = _form_of(output, form)
    include_withheld = include_withheld or include_payloads
    with_bags = {"--key": key is not None, "--public": public is not None, "--zip": archive, "--tsa": tsa is not None}
    _refuse_contradictions(form, with_bags, with_others={"--hmac": hmac, "--include-withheld": include_withheld})
    _refuse_workers(workers, by_record=include_withheld or form in (ExportFormat.CSV, ExportFormat.PARQUET))
    secret = signing_key(wanted=hmac)
    from elspeth.core.landscape.exporting.files import write_export  # noqa: PLC0415  start time
    from elspeth.core.landscape.queries.select_run import resolve_run  # noqa: PLC0415

    with open_landscape(database) as db, executor_of(workers) as executor:
        run_id = resolve_run(db, run)
        with record_display("export", _count(db, run_id)) as progress:
            records = write_export(
                db,
                run_id,
                sys.stdout.buffer if output == STANDARD_OUTPUT else Path(output),
                format=form,
                signing_key=secret,
                signer=_signer(key, public),
                archive=archive or named_form(Path(output)) is ExportFormat.BAG,
                stamp=_stamp(tsa),
                include_payloads=include_withheld,
                progress=progress,
                executor=_sharing(executor, db, run_id),
                protected=protected_files(database=database, keys=(key, public)),
                force=force,
            )
    sys.stdout.buffer.flush()
    _report(run_id, output, form, records, signed=hmac or key is not None, json=json)


def _count(db: LandscapeDB, run_id: str) -> int | None:
    """Return how many records there are to export, if that is known without counting them."""
    from elspeth.core.landscape.sealing.seal import sealed_count  # noqa: PLC0415  start time

    with db.connection() as connection:
        return sealed_count(connection, run_id)


def _form_of(output: str, given: ExportFormat | None) -> ExportFormat:
    """The form to write; ends the command with exit code 2 if name and option contradict each other or say nothing."""
    path, form = Path(output), given or ExportFormat.JSONL
    if output == STANDARD_OUTPUT:
        if form not in (ExportFormat.JSONL, ExportFormat.JSON):
            raise typer.BadParameter(f"-o -: the form {form} is several files: only with --format jsonl or json")
        return form
    if given is None and (named := named_form(path)) is not None:
        return named
    if given is None and path.suffix:
        raise typer.BadParameter(f"-o {output}: the end of the name stands for no form: give one with --format")
    if problem := unfit_name(path, form):
        raise typer.BadParameter(f"-o {output}: {problem}")
    return form


def _sharing(executor: Executor | None, db: LandscapeDB, run_id: str) -> Executor | None:
    """The executor, unless one process must read the run."""
    from elspeth.core.landscape.lines.run_lines import can_share_run  # noqa: PLC0415  start time

    if executor is None or can_share_run(db, run_id):
        return executor
    typer.echo(f"run {run_id} has not ended: one process reads it, in one snapshot", err=True)
    return None


def _refuse_workers(workers: int, *, by_record: bool) -> None:
    """End the command with exit code 2 if several workers should export what is made record by record."""
    if workers > 1 and by_record:
        raise typer.BadParameter("--workers: only with --format jsonl, json or bag, and without --include-withheld")


def _report(run_id: str, output: str, form: ExportFormat, records: int, *, signed: bool, json: bool) -> None:
    """Say what was exported: on standard output, unless that has the export."""
    is_taken = output == STANDARD_OUTPUT
    if json:
        summary = {"run_id": run_id, "path": output, "format": form, "records": records, "signed": signed}
        typer.echo(jsonlib.dumps(summary, indent=2), err=is_taken)
        return
    how = "signed" if signed else "not signed"
    where = "standard output" if is_taken else output
    typer.echo(aligned([("run", run_id), ("export", f"{where} ({form}, {records:,} records, {how})")]), err=is_taken)


def _refuse_contradictions(form: ExportFormat, with_bags: Mapping[str, bool], with_others: Mapping[str, bool]) -> None:
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
    from elspeth.evidence.format.signatures import load_signer  # noqa: PLC0415  start time

    return load_signer(key, public_key=public)


def _stamp(url: str | None) -> Callable[[bytes], bytes] | None:
    if url is None:
        return None
    from elspeth.evidence.format.timestamp import request_timestamp  # noqa: PLC0415  start time

    return partial(request_timestamp, url=url)

"""Commands on audit databases: status, check, migrate, adopt, runs."""

from __future__ import annotations

import json as jsonlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elspeth.cli.access import database_url
from elspeth.cli.commands import prune, run_log
from elspeth.cli.failures import ExitCode
from elspeth.cli.options import DatabaseOption, JsonOption, require_only_one
from elspeth.cli.progress import migration_display, record_display
from elspeth.cli.terminal import aligned, printable

if TYPE_CHECKING:
    from sqlalchemy import URL

    from elspeth.core.landscape.database.state import DatabaseState
    from elspeth.core.landscape.database.tables import Migration
    from elspeth.core.landscape.migration.migrate import MigrationReport
    from elspeth.core.landscape.queries.runs import ListedRun
    from elspeth.core.landscape.sealing.check import SealReport
    from elspeth.core.landscape.sealing.log_check import LogReport
    from elspeth.core.landscape.sealing.log_places import OverdueCheckpoint

__all__ = ["app"]

app = typer.Typer(help="Inspect and migrate an audit database.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(run_log.app, name="log")
app.command("prune")(prune.prune)

_POLL_INTERVAL_S = 1.0
"""Seconds between two checks of `check --wait`."""


@app.command("status")
def status(*, database: DatabaseOption, json: JsonOption = False) -> None:
    """Show what a database is and how to use it.

    That is its epoch, its differences from what is expected, its history, where checkpoints of its log of runs are
    overdue, and a command for each thing to do.
    The exit code is 0 if the database is current or empty.
    """
    from elspeth.contracts.database_urls import mask_url  # noqa: PLC0415  start time
    from elspeth.core.landscape.database.connections import read_only_connection  # noqa: PLC0415
    from elspeth.core.landscape.database.state import StateKind, describe_state, read_state  # noqa: PLC0415
    from elspeth.core.landscape.database.tables import read_migrations  # noqa: PLC0415
    from elspeth.core.landscape.database.urls import parse_url  # noqa: PLC0415

    url = parse_url(database_url(database))
    name, state = mask_url(url), read_state(url)
    history: Sequence[Migration] = ()
    overdue: Sequence[OverdueCheckpoint] = ()
    if state.versioned and state.kind is not StateKind.DIVERGED:
        with read_only_connection(url) as connection:
            history = read_migrations(connection)
            if state.kind is StateKind.CURRENT:
                from elspeth.core.landscape.sealing.log_places import overdue_checkpoints  # noqa: PLC0415  start time

                overdue = list(overdue_checkpoints(connection))
    if json:
        typer.echo(jsonlib.dumps(_status_data(name, state, history, overdue), indent=2))
    else:
        typer.echo(aligned(_status_lines(name, state, history, overdue)))
    typer.echo(describe_state(state, name, listed=False), err=True)
    if state.kind not in (StateKind.CURRENT, StateKind.EMPTY):
        raise typer.Exit(ExitCode.FAILED)


def _status_lines(
    name: str, state: DatabaseState, history: Sequence[Migration], overdue: Sequence[OverdueCheckpoint]
) -> Iterator[tuple[str, str]]:
    from elspeth.core.canonical import timestamp_text  # noqa: PLC0415  start time
    from elspeth.core.landscape.database.state import StateKind  # noqa: PLC0415
    from elspeth.core.landscape.database.ways import ways  # noqa: PLC0415
    from elspeth_schema import EPOCH  # noqa: PLC0415

    yield "audit database", name
    yield "state", state.kind
    yield "epoch", f"{state.epoch or 'none'} (this version: {EPOCH})"
    if state.shape is not None:
        yield "predecessor", f"nearest: {state.shape}" if state.kind is StateKind.DIVERGED else state.shape
    for number, difference in enumerate(state.differences):
        yield "" if number else "differences", difference
    for number, step in enumerate(history):
        what = f"epoch {step.from_epoch} to {step.to_epoch}" if step.from_epoch else f"made at epoch {step.to_epoch}"
        yield "" if number else "history", f"{timestamp_text(step.migrated_at)}  {what}, {step.tool}"
    for number, checkpoint in enumerate(overdue):
        yield "" if number else "overdue checkpoints", printable(str(checkpoint))
    for number, way in enumerate(ways(state, name)):
        yield "" if number else "possible", f"{way.purpose}: {way.command}"


def _status_data(
    name: str, state: DatabaseState, history: Sequence[Migration], overdue: Sequence[OverdueCheckpoint]
) -> dict[str, object]:
    from elspeth.core.canonical import timestamp_text  # noqa: PLC0415  start time
    from elspeth.core.landscape.database.ways import ways  # noqa: PLC0415
    from elspeth_schema import EPOCH  # noqa: PLC0415

    return {
        "database": name,
        "state": state.kind,
        "epoch": state.epoch,
        "expected_epoch": EPOCH,
        "predecessor": state.shape,
        "differences": list(state.differences),
        "history": [
            {
                "from_epoch": step.from_epoch,
                "to_epoch": step.to_epoch,
                "migrated_at": timestamp_text(step.migrated_at),
                "tool": step.tool,
                "tables": jsonlib.loads(step.tables_json),
            }
            for step in history
        ],
        "overdue_checkpoints": [
            {
                "place": each.place,
                "problem": each.problem,
                "entries": each.log_size,
                "attempted_at": None if each.attempted_at is None else timestamp_text(each.attempted_at),
            }
            for each in overdue
        ],
        "ways": [asdict(way) for way in ways(state, name)],
    }


@app.command("check")
def check(
    *,
    database: DatabaseOption,
    wait: Annotated[
        int,
        typer.Option("--wait", min=0, metavar="SECONDS", help="Check again for up to this time until the code is 0."),
    ] = 0,
    seals: Annotated[
        bool, typer.Option("--seals/--no-seals", help="Recompute the seals of all runs, or only check the epoch.")
    ] = True,
    key: Annotated[
        Path | None,
        typer.Option("--key", "-k", metavar="PUBLIC.pem", help="The public key that must have signed every seal."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Check the epoch, the seals and the log of runs.

    The exit code is 0 if the database is of this version's epoch, its sealed runs are unchanged, and the log of runs
    names the runs that are there and no others.
    """
    require_only_one({"--key": key is not None, "--no-seals": not seals})
    from elspeth.contracts.database_urls import mask_url  # noqa: PLC0415  start time
    from elspeth.core.landscape.database.errors import LandscapeError  # noqa: PLC0415
    from elspeth.core.landscape.database.state import StateKind, describe_state, read_state  # noqa: PLC0415
    from elspeth.core.landscape.database.urls import parse_url  # noqa: PLC0415
    from elspeth_schema import EPOCH  # noqa: PLC0415

    url = parse_url(database_url(database))
    deadline = time.monotonic() + wait
    while True:
        try:
            state = read_state(url)
        except LandscapeError as error:
            kind, epoch, message = None, None, f"error: {error}"
        else:
            kind, epoch, message = state.kind, state.epoch, describe_state(state, mask_url(url))
        if kind is StateKind.CURRENT or time.monotonic() >= deadline:
            typer.echo(message, err=True)
            break
        time.sleep(min(_POLL_INTERVAL_S, max(0.0, deadline - time.monotonic())))
    report: SealReport | None = None
    log: LogReport | None = None
    # Records can only be edited once their triggers are dropped. The database has diverged then, and its seals show
    # which records were changed.
    if seals and epoch == EPOCH:
        report, log = _check_seals(url, key)
    if json:
        facts = {"database": mask_url(url), "state": kind, "epoch": epoch, "expected_epoch": EPOCH}
        checked = {"seals": _seals_data(report), "log": _log_data(log)}
        typer.echo(jsonlib.dumps({**facts, "message": message, **checked}, indent=2))
    faults = [*(report.faults if report else ()), *(log.faults if log else ())]
    if kind is not StateKind.CURRENT or faults:
        raise typer.Exit(ExitCode.FAILED)


def _seals_data(report: SealReport | None) -> dict[str, object] | None:
    if report is None:
        return None
    signers = [{"key": key, "seals": number} for key, number in report.signers.items()]
    return {**asdict(report), "verdict": report.verdict, "faults": list(map(str, report.faults)), "signers": signers}


def _log_data(log: LogReport | None) -> dict[str, object] | None:
    if log is None:
        return None
    return {"size": log.size, "runs": log.runs, "verdict": log.verdict, "faults": list(map(str, log.faults))}


def _check_seals(url: URL, key: Path | None) -> tuple[SealReport, LogReport]:
    """Check seals and the log, and print the findings.

    With a public key every finished run must have a seal signed by it. Raises KeyFileError for an unusable key file.
    """
    from elspeth.core.landscape.database.connections import read_only_connection  # noqa: PLC0415  start time
    from elspeth.core.landscape.sealing.check import check_seals  # noqa: PLC0415
    from elspeth.core.landscape.sealing.log_check import check_log  # noqa: PLC0415

    public_key = None
    if key is not None:
        from elspeth.evidence.format.signatures import load_public_key  # noqa: PLC0415

        public_key = load_public_key(key)
    with read_only_connection(url) as connection, record_display("check seals") as progress:
        report = check_seals(connection, key=public_key, progress=progress)
        log = check_log(connection)
    for fault in (*report.faults, *log.faults):
        typer.echo(printable(str(fault)), err=True)
    typer.echo(report.verdict, err=True)
    if public_key is None:
        for remark in _unchecked_seals(report):
            typer.echo(remark, err=True)
    elif not report.faults:
        typer.echo(f"every finished run has a seal signed by the key {public_key.fingerprint}", err=True)
    if report.unfinished:
        named = "; ".join(f"{run_id}: {status}" for run_id, status in report.unfinished.items())
        remark = "they have no seal yet, so nothing shows whether their records were changed"
        typer.echo(printable(f"{len(report.unfinished):,} runs have not ended ({named}): {remark}"), err=True)
    typer.echo(log.verdict, err=True)
    return report, log


def _unchecked_seals(report: SealReport) -> Iterator[str]:
    """Yield what the seals do not show without a key."""
    for fingerprint, seals in sorted(report.signers.items(), key=lambda item: item[0] or ""):
        if fingerprint is None:
            yield f"{seals:,} seals are unsigned: anyone who can write to the database can replace them"
        else:
            yield f"{seals:,} seals claim to be signed by the key {fingerprint}: not checked, as no --key was given"
    if report.unsealed:
        yield f"{len(report.unsealed):,} finished runs have no seal: imported, or recorded before there were seals"


@app.command("migrate")
def migrate(
    *,
    database: DatabaseOption,
    backup: Annotated[
        Path | None,
        typer.Option("--backup", metavar="PATH", help="The backup; by default beside the database (SQLite)."),
    ] = None,
    no_backup: Annotated[
        bool, typer.Option("--no-backup", help="Make no backup, because there is one. PostgreSQL needs this.")
    ] = False,
    sql: Annotated[bool, typer.Option("--sql", help="Print a script for sqlite3 or psql, and change nothing.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Migrate a private copy, show the result, and change nothing.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Migrate an older database to this version's epoch.

    It is backed up first, and migrated completely or not at all.
    """
    require_only_one({"--backup": backup is not None, "--no-backup": no_backup, "--sql": sql, "--dry-run": dry_run})
    require_only_one({"--sql": sql, "--json": json})
    url = database_url(database)
    from elspeth.contracts.database_urls import mask_url  # noqa: PLC0415  start time
    from elspeth.core.landscape.database.urls import parse_url  # noqa: PLC0415
    from elspeth.core.landscape.migration import migrate as migration  # noqa: PLC0415
    from elspeth.core.landscape.migration.private_copy import rehearse  # noqa: PLC0415
    from elspeth.core.landscape.migration.script import migration_sql  # noqa: PLC0415
    from elspeth_schema import EPOCH  # noqa: PLC0415

    name = mask_url(parse_url(url))
    if sql:
        for line in migration_sql(url):
            typer.echo(line)
        return
    with migration_display() as report:
        if dry_run:
            done = rehearse(url, report)
        else:
            done = migration.migrate(url, backup=backup, no_backup=no_backup, report=report)
    if json:
        typer.echo(jsonlib.dumps(_migration_data(done, name, dry_run=dry_run), indent=2))
    elif not done.migrated:
        typer.echo(f"audit database {name} is of epoch {EPOCH} already: there is nothing to migrate.")
    else:
        what = "would migrate" if dry_run else "migrated"
        heading = [("audit database", name), (what, f"from epoch {done.from_epoch} to {EPOCH}")]
        typer.echo(aligned([*heading, *_migration_lines(done)]))
    _report_altered_runs(done)


def _migration_lines(done: MigrationReport) -> Iterator[tuple[str, str]]:
    yield "backup", "none" if done.backup is None else str(done.backup)
    for table, rows in done.rows.items():
        yield f"rows of {table}", f"{rows:,}"
    if done.seals is not None:
        yield "seals", done.seals.verdict


def _migration_data(done: MigrationReport, name: str, *, dry_run: bool) -> dict[str, object]:
    from elspeth_schema import EPOCH  # noqa: PLC0415  start time

    return {
        "database": name,
        "migrated": done.migrated and not dry_run,
        "from_epoch": done.from_epoch,
        "to_epoch": EPOCH,
        "backup": None if done.backup is None else str(done.backup),
        "rows": done.rows,
        "seals": _seals_data(done.seals),
    }


def _report_altered_runs(done: MigrationReport) -> None:
    """End with 1 if sealed runs were altered before."""
    if done.seals is not None and done.seals.faults:
        for fault in done.seals.faults:
            typer.echo(printable(f"{fault} (before the migration, which changed no value)"), err=True)
        raise typer.Exit(ExitCode.FAILED)


@app.command("adopt")
def adopt(
    source: Annotated[
        str, typer.Argument(metavar="OLD", help="A database of the predecessor: its URL, or the path of a SQLite file.")
    ],
    *,
    database: DatabaseOption,
    json: JsonOption = False,
) -> None:
    """Take over the runs of a predecessor's database.

    The old database is only read. Runs that were taken over before are skipped. Every value of the old database is
    found again before anything is committed.
    """
    from elspeth.contracts.database_urls import mask_url  # noqa: PLC0415  start time
    from elspeth.core.landscape.database.urls import parse_url  # noqa: PLC0415
    from elspeth.core.landscape.migration.adoption import adopt as take_over  # noqa: PLC0415

    old, new = database_url(source), database_url(database)
    with migration_display() as report:
        done = take_over(old, new, report=report)
    name = mask_url(parse_url(old))
    if json:
        tables = {table: {"rows": rows, "records": done.records.get(table, 0)} for table, rows in done.rows.items()}
        data = {"source": name, "runs": list(done.runs), "tables": tables, "changed": list(done.changed)}
        typer.echo(jsonlib.dumps(data, indent=2))
    elif not done.rows:
        typer.echo(f"every run of {name} was taken over before: there is nothing to do.")
    else:
        lines = [("old database", name), ("taken over", f"{len(done.runs):,} runs")]
        for table, rows in done.rows.items():
            kept = rows - done.records.get(table, 0)
            if rows:
                lines.append((f"rows of {table}", f"{rows:,}{f', {kept:,} of them kept as found' if kept else ''}"))
        typer.echo(aligned(lines))
    for change in done.changed:
        typer.echo(printable(f"{name} was changed since: {change}"), err=True)
    if done.changed:
        raise typer.Exit(ExitCode.FAILED)


@app.command("runs")
def runs(*, database: DatabaseOption, json: JsonOption = False) -> None:
    """List the runs in a database, oldest first.

    It may be of any epoch, and is not changed. A pruned run is listed with the bag that holds its records.
    """
    from elspeth.core.landscape.queries.runs import list_runs  # noqa: PLC0415

    found = list_runs(database_url(database))
    columns = ("run_id", "status", "started_at", "rows", "export_status")
    table = [(run.run_id, run.status, run.started_at, run.rows, run.export_status) for run in found]
    if json:
        records = [dict(zip(columns, row, strict=True)) for row in table]
        more = ({**_origin_data(run), "pruned_at": run.pruned_at, "bag": run.bag} for run in found)
        data = [{**record, **facts} for record, facts in zip(records, more, strict=True)]
        typer.echo(jsonlib.dumps(data, indent=2))
    else:
        texts = [[*map(str, row[:3]), f"{row[3]:,}", row[4] or "none"] for row in table]
        heading = ["run", "status", "started", "rows", "export"]
        if any(run.bag for run in found):
            heading.append("pruned, now in")
            texts = [[*text, run.bag or ""] for text, run in zip(texts, found, strict=True)]
        typer.echo(aligned([heading, *texts]))
    for run in found:
        if run.at_work is False:
            message = f"run {run.run_id} has the status running, but no process works on it: resume it"
            typer.echo(printable(message), err=True)


def _origin_data(run: ListedRun) -> dict[str, object]:
    labels = None if run.labels_json is None else jsonlib.loads(run.labels_json)
    return {"user": run.user_name, "host": run.host_name, "labels": labels, "at_work": run.at_work}

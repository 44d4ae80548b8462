"""``elspeth landscape``: what an audit database is, and making an older one one of today's epoch."""

from __future__ import annotations

import json as jsonlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elspeth.cli.database import DatabaseOption, database_url
from elspeth.cli.exit_code import ExitCode
from elspeth.cli.migration_display import migration_display
from elspeth.cli.options import JsonOption
from elspeth.cli.seals import seals_hold
from elspeth.cli.text import aligned, printable

if TYPE_CHECKING:
    from elspeth.core.landscape.migration.migrate import MigrationReport

__all__ = ["app"]

app = typer.Typer(help="Look at an audit database, and migrate it.", no_args_is_help=True, rich_markup_mode=None)

_POLL_S = 1.0
"""How often `check --wait` looks."""


@app.command("status")
def status(*, database: DatabaseOption, json: JsonOption = False) -> None:
    """Show of which epoch the database is, how it differs, and its history. Exit code 0 if it is current or empty."""
    from elspeth.cli.landscape_status import examine  # noqa: PLC0415  start time
    from elspeth.core.landscape.database.state import StateKind  # noqa: PLC0415

    found = examine(database_url(database))
    typer.echo(jsonlib.dumps(found.as_data(), indent=2) if json else found.as_text())
    typer.echo(found.message, err=True)
    if found.state.kind not in (StateKind.CURRENT, StateKind.EMPTY):
        raise typer.Exit(ExitCode.FAILED)


@app.command("check")
def check(
    *,
    database: DatabaseOption,
    wait: Annotated[
        int,
        typer.Option("--wait", min=0, metavar="SECONDS", help="Look again, for so long, until the code would be 0."),
    ] = 0,
    seals: Annotated[
        bool, typer.Option("--seals/--no-seals", help="Compute the seals of all runs anew, or only look at the epoch.")
    ] = True,
    key: Annotated[
        Path | None,
        typer.Option("--key", "-k", metavar="PUBLIC.pem", help="The public key that must have signed every seal."),
    ] = None,
) -> None:
    """End with exit code 0 if the database is of this version's epoch and its sealed runs are unchanged, else 1."""
    if key is not None and not seals:
        raise typer.BadParameter("--key and --no-seals contradict each other: give one of them")
    from elspeth.contracts.databases import mask_url  # noqa: PLC0415  start time
    from elspeth.core.landscape.database.connections import parse_url  # noqa: PLC0415  start time
    from elspeth.core.landscape.database.errors import LandscapeError  # noqa: PLC0415
    from elspeth.core.landscape.database.state import StateKind, describe_state, read_state  # noqa: PLC0415
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
        time.sleep(min(_POLL_S, max(0.0, deadline - time.monotonic())))
    unchanged = True
    # Whoever edits records drops their triggers first: then the database differs, and its seals say more.
    if seals and epoch == EPOCH:
        unchanged = seals_hold(url, key)
    if kind is not StateKind.CURRENT or not unchanged:
        raise typer.Exit(ExitCode.FAILED)


@app.command("migrate")
def migrate(
    *,
    database: DatabaseOption,
    backup: Annotated[
        Path | None,
        typer.Option("--backup", metavar="PATH", help="Where the backup goes, if not beside the database (SQLite)."),
    ] = None,
    no_backup: Annotated[
        bool, typer.Option("--no-backup", help="Make no backup: there is one already. PostgreSQL needs this.")
    ] = False,
    sql: Annotated[
        bool, typer.Option("--sql", help="Print the script for sqlite3 or psql, and change nothing.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Migrate a private copy, say how that went, and change nothing.")
    ] = False,
) -> None:
    """Make an older database one of the epoch of this version, after a backup. It is migrated whole or not at all."""
    if sum((backup is not None, no_backup, sql, dry_run)) > 1:
        raise typer.BadParameter("--backup, --no-backup, --sql and --dry-run contradict each other: give one of them")
    url = database_url(database)
    from elspeth.contracts.databases import mask_url  # noqa: PLC0415  start time
    from elspeth.core.landscape.database.connections import parse_url  # noqa: PLC0415  start time
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
    if not done.migrated:
        typer.echo(f"audit database {name} is of epoch {EPOCH} already: there is nothing to migrate.")
        return
    what = "would migrate" if dry_run else "migrated"
    _report_migration(done, [("audit database", name), (what, f"from epoch {done.from_epoch} to {EPOCH}")])


def _report_migration(done: MigrationReport, heading: list[tuple[str, str]]) -> None:
    """Say what was migrated, and which runs are not what was sealed: then the exit code is 1."""
    lines = [
        *heading,
        ("backup", "none" if done.backup is None else str(done.backup)),
        *((f"rows of {table}", f"{rows:,}") for table, rows in done.rows.items()),
    ]
    if done.seals is not None:
        lines.append(("seals", done.seals.verdict))
    typer.echo(aligned(lines))
    if done.seals is not None and done.seals.faults:
        for fault in done.seals.faults:
            typer.echo(f"{fault} (before the migration, which changed no value)", err=True)
        raise typer.Exit(ExitCode.FAILED)


@app.command("runs")
def runs(*, database: DatabaseOption, json: JsonOption = False) -> None:
    """List the runs in the database, oldest first. Changes nothing, whatever its epoch."""
    from elspeth.core.canonical import timestamp_text  # noqa: PLC0415  start time
    from elspeth.core.landscape.queries.run_list import list_runs  # noqa: PLC0415

    found = list_runs(database_url(database))
    columns = ("run_id", "status", "started_at", "rows", "export_status")
    table = [(run.run_id, run.status, timestamp_text(run.started_at), run.rows, run.export_status) for run in found]
    if json:
        records = [dict(zip(columns, row, strict=True)) for row in table]
        told = [{**record, "at_work": run.at_work} for record, run in zip(records, found, strict=True)]
        typer.echo(jsonlib.dumps(told, indent=2))
    else:
        texts = [[*map(str, row[:3]), f"{row[3]:,}", row[4] or "none"] for row in table]
        typer.echo(aligned([("run", "status", "started", "rows", "export"), *texts]))
    for run in found:
        if run.at_work is False:
            typer.echo(
                printable(f"run {run.run_id} is called running, but no process works on it: resume it"), err=True
            )

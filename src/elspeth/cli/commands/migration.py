"""The commands `landscape migrate` and `landscape adopt`."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elspeth.cli.access import database_url
from elspeth.cli.commands.checks import seals_data
from elspeth.cli.failures import ExitCode
from elspeth.cli.options import DatabaseOption, JsonOption, require_only_one
from elspeth.cli.progress import migration_display
from elspeth.cli.terminal import aligned, printable
from elspeth.contracts.errors import format_count

if TYPE_CHECKING:
    from elspeth.core.landscape.migration.migrate import MigrationReport

__all__ = ["adopt", "migrate"]


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
        "seals": seals_data(done.seals),
    }


def _report_altered_runs(done: MigrationReport) -> None:
    """End with exit code 1 if sealed runs were altered."""
    if done.seals is not None and done.seals.faults:
        for fault in done.seals.faults:
            typer.echo(printable(f"{fault} (before the migration, which changed no value)"), err=True)
        raise typer.Exit(ExitCode.FAILED)


def adopt(
    source: Annotated[
        str, typer.Argument(metavar="OLD", help="A database of the predecessor: its URL, or the path of a SQLite file.")
    ],
    *,
    database: DatabaseOption,
    json: JsonOption = False,
) -> None:
    """Adopt the runs of a predecessor's database.

    The old database is not changed. Runs that were adopted before are skipped. Nothing is committed unless every value
    of the old database is found again.
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
        typer.echo(f"every run of {name} was adopted before: there is nothing to do.")
    else:
        lines = [("old database", name), ("adopted", format_count(len(done.runs), "run"))]
        for table, rows in done.rows.items():
            kept = rows - done.records.get(table, 0)
            if rows:
                lines.append((f"rows of {table}", f"{rows:,}{f', {kept:,} of them kept as found' if kept else ''}"))
        typer.echo(aligned(lines))
    for change in done.changed:
        typer.echo(printable(f"{name} was changed since: {change}"), err=True)
    if done.changed:
        raise typer.Exit(ExitCode.FAILED)

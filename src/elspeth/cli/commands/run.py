"""``elspeth run``: run a pipeline, or show what running it would do."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elspeth.cli.options import ExitCode, JsonOption, NoDotenvOption, SettingsOption

if TYPE_CHECKING:
    from elspeth.engine.pipeline import Pipeline
    from elspeth.engine.preflight import RunKeys

__all__ = ["run"]


def run(
    *,
    settings: SettingsOption,
    execute: Annotated[
        bool, typer.Option("--execute", "-x", help="Really run: without it only the plan is shown.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and end with exit code 0.")] = False,
    no_dotenv: NoDotenvOption = False,
    json: JsonOption = False,
) -> None:
    """Run a pipeline and record everything that happens to its rows."""
    if execute and dry_run:
        raise typer.BadParameter("--execute and --dry-run contradict each other: give one of them")
    pipeline, keys = _prepare(settings, no_dotenv=no_dotenv)
    if execute:
        raise typer.Exit(_execute(pipeline, keys, json=json))
    _show_plan(pipeline, json=json)
    if not dry_run:
        typer.echo("Nothing was run: add --execute (-x) to run this pipeline.", err=True)
        raise typer.Exit(ExitCode.FAILED)


def _prepare(path: Path, *, no_dotenv: bool) -> tuple[Pipeline, RunKeys]:
    """The pipeline and the keys that its run needs; ends the command for settings that cannot be run."""
    from elspeth.cli.loading import load_pipeline  # noqa: PLC0415  start time
    from elspeth.core.settings import SettingsError  # noqa: PLC0415
    from elspeth.engine.preflight import keys_for_run  # noqa: PLC0415
    from elspeth.plugins.manager import PluginRegistrationError  # noqa: PLC0415

    try:
        loaded = load_pipeline(path, no_dotenv=no_dotenv)
        return loaded.pipeline, keys_for_run(loaded.pipeline.settings, loaded.environ, source=str(path))
    except (SettingsError, PluginRegistrationError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(ExitCode.USAGE) from error


def _show_plan(pipeline: Pipeline, *, json: bool) -> None:
    from elspeth.cli.plan import plan_as_data, plan_as_text  # noqa: PLC0415  start time

    typer.echo(jsonlib.dumps(plan_as_data(pipeline), indent=2) if json else plan_as_text(pipeline))


def _execute(pipeline: Pipeline, keys: RunKeys, *, json: bool) -> ExitCode:
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415  start time

    from elspeth.cli.interrupts import stop_requested  # noqa: PLC0415
    from elspeth.cli.progress import run_display  # noqa: PLC0415
    from elspeth.cli.summary import summary_as_data, summary_as_text  # noqa: PLC0415
    from elspeth.contracts.errors import AuditIntegrityError  # noqa: PLC0415
    from elspeth.contracts.plugins import PluginError  # noqa: PLC0415
    from elspeth.core.landscape.database import LandscapeDB, LandscapeError  # noqa: PLC0415
    from elspeth.engine.errors import AccountingError, ExportFailedError, RunInterruptedError  # noqa: PLC0415
    from elspeth.engine.orchestrator import Orchestrator  # noqa: PLC0415

    expected = (
        PluginError,
        LandscapeError,
        AuditIntegrityError,
        AccountingError,
        ExportFailedError,
        RunInterruptedError,
        SQLAlchemyError,
        OSError,
        KeyboardInterrupt,
    )
    try:
        if pipeline.settings.landscape.auto_migrate:
            _migrate(pipeline.settings.landscape.url)
        with LandscapeDB.from_url(pipeline.settings.landscape.url) as db:
            with stop_requested() as is_stopped, run_display(is_stopped) as observer:
                result = Orchestrator(db, pipeline, keys, observer).run()
            url = db.url
    except expected as error:
        _report(error)
        return ExitCode.FAILED
    typer.echo(jsonlib.dumps(summary_as_data(result, url), indent=2) if json else summary_as_text(result, url))
    return ExitCode.DONE


def _migrate(url: str) -> None:
    """Migrate the audit database if it is of an older epoch, and say so."""
    from elspeth.cli.migration_display import migration_display  # noqa: PLC0415  start time
    from elspeth.core.landscape.engines import parsed_url, shown  # noqa: PLC0415
    from elspeth.core.landscape.migration.migrate import migrate_if_older  # noqa: PLC0415
    from elspeth_schema import EPOCH  # noqa: PLC0415

    with migration_display() as report:
        done = migrate_if_older(url, report)
    if done.migrated:
        name = shown(parsed_url(url))
        epochs = f"from epoch {done.from_epoch} to {EPOCH}"
        typer.echo(f"audit database {name} was migrated {epochs}; the backup is {done.backup}", err=True)


def _report(error: BaseException) -> None:
    message = "interrupted" if isinstance(error, KeyboardInterrupt) else str(getattr(error, "orig", None) or error)
    typer.echo(f"error: {message}", err=True)
    for note in getattr(error, "__notes__", ()):
        typer.echo(note, err=True)

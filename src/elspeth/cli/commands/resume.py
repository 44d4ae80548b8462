"""``elspeth resume``: take a run that stopped to its end, or give it up."""

from __future__ import annotations

import json as jsonlib
from typing import Annotated

import typer

from elspeth.cli.options import ForceOption, JsonOption, NoDotenvOption, SettingsOption, TracebackOption
from elspeth.cli.preview import DryRunOption, end_preview, refuse_both

__all__ = ["resume"]


def resume(
    *,
    run: Annotated[
        str,
        typer.Argument(metavar="RUN|latest", help="The run, by its id or how it begins, or the one that began last."),
    ],
    settings: SettingsOption,
    execute: Annotated[
        bool, typer.Option("--execute", "-x", help="Really resume: without it only what would be done is shown.")
    ] = False,
    dry_run: DryRunOption = False,
    abandon: Annotated[bool, typer.Option("--abandon", help="Give the run up: it is recorded as failed.")] = False,
    force: ForceOption = False,
    no_dotenv: NoDotenvOption = False,
    traceback: TracebackOption = False,  # noqa: ARG001  its callback does what it asks for
    json: JsonOption = False,
) -> None:
    """Take a run that was stopped to its end: no row is lost, repeated or reordered."""
    from elspeth.cli.execution import execute_pipeline, prepare  # noqa: PLC0415  start time
    from elspeth.cli.resumption import stand_as_data, stand_as_text  # noqa: PLC0415
    from elspeth.core.landscape.database import LandscapeDB  # noqa: PLC0415
    from elspeth.core.landscape.queries.select_run import resolve_run  # noqa: PLC0415
    from elspeth.engine.resumption import give_up, stand_of  # noqa: PLC0415

    refuse_both(execute=execute, dry_run=dry_run)
    if abandon and (execute or dry_run):
        other = "--execute" if execute else "--dry-run"
        raise typer.BadParameter(f"{other} and --abandon contradict each other: give one of them")
    pipeline, keys = prepare(settings, no_dotenv=no_dotenv)
    if not pipeline.settings.landscape.enabled:
        raise typer.BadParameter("the settings keep no audit database (landscape.enabled: false), so no run stays")
    with LandscapeDB.from_url(pipeline.settings.landscape.url, create_tables=False) as db:
        run_id = resolve_run(db, run)
        if abandon:
            give_up(db, keys, run_id)
        stand = stand_of(db, run_id)
    if execute:
        raise typer.Exit(
            execute_pipeline(pipeline, keys, settings, lambda work: work.resume(run_id), force=force, json=json)
        )
    typer.echo(jsonlib.dumps(stand_as_data(stand), indent=2) if json else stand_as_text(stand))
    if stand.status.is_terminal and not abandon:
        end_preview("Nothing can be resumed: the run has ended.", dry_run=False)
    todo = "add --execute (-x) to go on, or --abandon to give the run up"
    end_preview(f"Nothing was resumed: {todo}.", dry_run=dry_run or abandon)

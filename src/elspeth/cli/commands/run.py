"""``elspeth run``: run a pipeline, or show what running it would do."""

from __future__ import annotations

import json as jsonlib
from typing import TYPE_CHECKING, Annotated

import typer

from elspeth.cli.exit_code import ExitCode
from elspeth.cli.options import ForceOption, JsonOption, NoDotenvOption, SettingsOption

if TYPE_CHECKING:
    from elspeth.engine.pipeline import Pipeline

__all__ = ["run"]


def run(
    *,
    settings: SettingsOption,
    execute: Annotated[
        bool, typer.Option("--execute", "-x", help="Really run: without it only the plan is shown.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and end with exit code 0.")] = False,
    force: ForceOption = False,
    no_dotenv: NoDotenvOption = False,
    json: JsonOption = False,
) -> None:
    """Run a pipeline and record everything that happens to its rows."""
    if execute and dry_run:
        raise typer.BadParameter("--execute and --dry-run contradict each other: give one of them")
    from elspeth.cli.execution import execute_pipeline, prepare  # noqa: PLC0415  start time

    pipeline, keys = prepare(settings, no_dotenv=no_dotenv, outputs_judged=True, force=force)
    if execute:
        pipeline.source.check()
        raise typer.Exit(execute_pipeline(pipeline, keys, settings, lambda work: work.run(), force=force, json=json))
    _show_plan(pipeline, json=json)
    if not dry_run:
        typer.echo("Nothing was run: add --execute (-x) to run this pipeline.", err=True)
        raise typer.Exit(ExitCode.FAILED)


def _show_plan(pipeline: Pipeline, *, json: bool) -> None:
    from elspeth.cli.plan import plan_as_data, plan_as_text  # noqa: PLC0415  start time

    typer.echo(jsonlib.dumps(plan_as_data(pipeline), indent=2) if json else plan_as_text(pipeline))

"""``elspeth run``: run a pipeline, or show what running it would do."""

from __future__ import annotations

import json as jsonlib
from typing import TYPE_CHECKING, Annotated

import typer

from elspeth.cli.options import ForceOption, JsonOption, NoDotenvOption, SettingsOption, TracebackOption
from elspeth.cli.preview import DryRunOption, end_preview, refuse_both

if TYPE_CHECKING:
    from elspeth.engine.pipeline import Pipeline

__all__ = ["run"]


def run(
    *,
    settings: SettingsOption,
    execute: Annotated[
        bool, typer.Option("--execute", "-x", help="Really run: without it only the plan is shown.")
    ] = False,
    dry_run: DryRunOption = False,
    force: ForceOption = False,
    no_dotenv: NoDotenvOption = False,
    traceback: TracebackOption = False,  # noqa: ARG001  its callback does what it asks for
    json: JsonOption = False,
) -> None:
    """Run a pipeline and record everything that happens to its rows."""
    refuse_both(execute=execute, dry_run=dry_run)
    from elspeth.cli.execution import execute_pipeline, prepare  # noqa: PLC0415  start time

    pipeline, keys = prepare(settings, no_dotenv=no_dotenv, outputs_judged=True, force=force)
    if execute:
        pipeline.source.check()
        raise typer.Exit(execute_pipeline(pipeline, keys, settings, lambda work: work.run(), force=force, json=json))
    _show_plan(pipeline, json=json)
    end_preview("Nothing was run: add --execute (-x) to run this pipeline.", dry_run=dry_run)


def _show_plan(pipeline: Pipeline, *, json: bool) -> None:
    from elspeth.cli.plan import plan_as_data, plan_as_text  # noqa: PLC0415  start time

    typer.echo(jsonlib.dumps(plan_as_data(pipeline), indent=2) if json else plan_as_text(pipeline))

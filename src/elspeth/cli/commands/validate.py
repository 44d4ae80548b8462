"""``elspeth validate``: check a settings file and show what it would do."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from elspeth.cli.options import ForceOption, NoDotenvOption, SettingsOption

__all__ = ["validate"]


class GraphFormat(StrEnum):
    """How the graph can be drawn."""

    MERMAID = "mermaid"


def validate(
    *,
    settings: SettingsOption,
    graph: Annotated[GraphFormat | None, typer.Option("--graph", help="Print the graph as a diagram instead.")] = None,
    force: ForceOption = False,
    no_dotenv: NoDotenvOption = False,
) -> None:
    """Check a settings file and show its plan. Writes nothing."""
    from elspeth.cli.loading import load_pipeline  # noqa: PLC0415  start time
    from elspeth.cli.plan import plan_as_mermaid, plan_as_text  # noqa: PLC0415
    from elspeth.contracts.plugins import PluginError  # noqa: PLC0415

    loaded = load_pipeline(settings, no_dotenv=no_dotenv, outputs_judged=True, force=force)
    typer.echo(plan_as_text(loaded.pipeline) if graph is None else plan_as_mermaid(loaded.pipeline))
    try:
        loaded.pipeline.source.check()
    except PluginError as error:  # which a run would end with; the input may well come before that
        typer.echo(f"warning: {error}", err=True)
    typer.echo(f"{settings}: valid", err=True)

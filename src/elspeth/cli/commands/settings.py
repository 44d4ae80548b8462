"""Commands on settings as such: `settings schema`."""

from __future__ import annotations

import json as jsonlib

import typer

from elspeth.cli.options import JsonOption

__all__ = ["app"]

app = typer.Typer(help="Describe settings files.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _settings() -> None:
    """Make typer treat a single command as a group."""


@app.command("schema")
def print_schema(*, json: JsonOption = False) -> None:  # noqa: ARG001  it is JSON in any case
    """Print the JSON Schema of settings files, for editors.

    It has the options of all installed plugins.
    """
    from elspeth.core.settings.json_schema import settings_schema  # noqa: PLC0415  start time
    from elspeth.plugins.manager import PluginManager  # noqa: PLC0415

    typer.echo(jsonlib.dumps(settings_schema(PluginManager.installed()), indent=2))

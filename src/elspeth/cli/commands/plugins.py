"""Commands on plugins: `plugins list`."""

from __future__ import annotations

import json as jsonlib

import typer

from elspeth.cli.options import JsonOption
from elspeth.cli.terminal import aligned

__all__ = ["app"]

app = typer.Typer(help="Inspect the installed plugins.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _plugins() -> None:
    """Make typer treat a single command as a group."""


@app.command("list")
def list_plugins(*, json: JsonOption = False) -> None:
    """List the plugins that settings may name."""
    from elspeth.plugins.manager import PluginManager  # noqa: PLC0415  start time

    plugins = PluginManager.installed().all()
    columns = ("type", "name", "version", "description")
    rows = [(plugin.kind.value, plugin.name, plugin.plugin_version, plugin.description()) for plugin in plugins]
    if json:
        typer.echo(jsonlib.dumps([dict(zip(columns, row, strict=True)) for row in rows], indent=2))
    else:
        typer.echo(aligned([columns, *rows]))

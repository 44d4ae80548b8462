"""Commands on plugins: `plugins list` and `plugins new`."""

from __future__ import annotations

import json as jsonlib
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from elspeth.cli.failures import UsageError
from elspeth.cli.options import JsonOption, require_unicode
from elspeth.cli.terminal import aligned, printable

__all__ = ["app"]

app = typer.Typer(help="Inspect the installed plugins, or begin one.", no_args_is_help=True, rich_markup_mode=None)


class _Kind(StrEnum):
    """Kinds of plugins; loading those of the contracts takes time."""

    SOURCE = "source"
    TRANSFORM = "transform"
    AGGREGATION = "aggregation"
    SINK = "sink"


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


@app.command("new")
def new_plugin(
    *,
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", callback=require_unicode, help="The plugin's name, as settings will give it."),
    ],
    kind: Annotated[_Kind, typer.Option("--kind", help="What the plugin is.")] = _Kind.TRANSFORM,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="The directory to make: by default elspeth-NAME."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Begin a package with a plugin of your own.

    It can be installed, and its tests pass.
    """
    from elspeth.contracts.plugins import PluginKind  # noqa: PLC0415  start time
    from elspeth.plugins.manager import PluginManager  # noqa: PLC0415
    from elspeth.plugins.scaffold import package_files, plugin_name_problem, write_package  # noqa: PLC0415

    if problem := plugin_name_problem(name):
        raise UsageError(f"NAME: {problem}")
    if name in PluginManager.installed().names(PluginKind(kind)):
        raise UsageError(f"NAME: there is a {kind} {name!r} already: choose another name")
    directory = output or Path(f"elspeth-{name.replace('_', '-')}")
    made = package_files(PluginKind(kind), name)
    try:
        write_package(made, directory)
    except FileExistsError as error:
        raise UsageError(f"{directory} exists already: name another directory with --output") from error
    if json:
        paths = [str(directory / path) for path in made]
        typer.echo(jsonlib.dumps({"kind": kind.value, "name": name, "files": paths}, indent=2))
        return
    typer.echo("\n".join(printable(str(directory / path)) for path in made))
    typer.echo(printable(f"Install it with: pip install -e {directory}; then run pytest there."), err=True)

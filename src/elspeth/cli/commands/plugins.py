"""Commands on plugins: `plugins list`, `show` and `new`."""

from __future__ import annotations

import inspect
import json as jsonlib
import shlex
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elspeth.cli.completion import complete_plugin
from elspeth.cli.failures import UsageError
from elspeth.cli.options import JsonOption, require_unicode
from elspeth.cli.terminal import aligned, printable

if TYPE_CHECKING:
    from elspeth.contracts.plugins import Plugin
    from elspeth.core.settings.json_schema import JsonSchema

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
    rows = [_description(plugin) for plugin in plugins]
    if json:
        typer.echo(jsonlib.dumps(rows, indent=2))
    else:
        typer.echo(aligned([tuple(rows[0]), *(tuple(map(str, row.values())) for row in rows)]))


@app.command("show")
def show_plugin(
    *,
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            autocompletion=complete_plugin,
            callback=require_unicode,
            help="The plugin's name, as settings give it.",
        ),
    ],
    kind: Annotated[_Kind | None, typer.Option("--kind", help="What the plugin is, if several have the name.")] = None,
    json: JsonOption = False,
) -> None:
    """Show what a plugin does, and its options."""
    from elspeth.core.settings.json_schema import options_schema  # noqa: PLC0415  start time
    from elspeth.core.suggestions import did_you_mean  # noqa: PLC0415
    from elspeth.plugins.manager import PluginManager  # noqa: PLC0415

    plugins = [plugin for plugin in PluginManager.installed().all() if kind is None or plugin.kind.value == kind.value]
    found = [(plugin, options_schema(plugin.options_model)) for plugin in plugins if plugin.name == name]
    if not found:
        hint = did_you_mean(name, {plugin.name for plugin in plugins})
        raise UsageError(f"there is no {kind or 'plugin'} {name!r}{hint}; `elspeth plugins list` shows all")
    if json:
        typer.echo(jsonlib.dumps([_description(plugin) | {"options": options} for plugin, options in found], indent=2))
    else:
        typer.echo("\n\n".join(_shown(plugin, options) for plugin, options in found))


def _description(plugin: type[Plugin]) -> dict[str, object]:
    """Return a plugin's description for lists."""
    return {
        "type": plugin.kind.value,
        "name": plugin.name,
        "version": plugin.plugin_version,
        "description": plugin.description(),
    }


def _shown(plugin: type[Plugin], options: JsonSchema) -> str:
    """Return a plugin's documentation, with a table of its options."""
    from elspeth.core.settings.schema_text import default_text, type_text  # noqa: PLC0415  start time

    required = options.get("required", [])
    rows = [("option", "type", "default", "meaning")]
    for key, part in options["properties"].items():
        default = "required" if key in required else default_text(part)
        meaning = " ".join(part.get("description", "").split())
        rows.append((key, *(text.replace("`", "") for text in (type_text(part, {}), default, meaning))))
    heading = f"{plugin.kind} {plugin.name} {plugin.plugin_version}"
    return "\n\n".join([heading, inspect.cleandoc(plugin.__doc__ or ""), aligned(rows)])


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
    typer.echo(
        printable(f"Install it with: pip install -e {shlex.quote(f'{directory}[test]')}; then run pytest there."),
        err=True,
    )

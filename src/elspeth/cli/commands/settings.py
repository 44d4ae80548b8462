"""Commands on settings as such: `settings schema` and `settings convert`."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import Annotated

import typer

from elspeth.cli.failures import UsageError
from elspeth.cli.objects import require_local
from elspeth.cli.options import STANDARD_OUTPUT, JsonOption, NoDotenvOption, SettingsOption
from elspeth.cli.terminal import printable
from elspeth.contracts.environment import DEFAULT_SETTINGS

__all__ = ["app"]

app = typer.Typer(help="Describe settings files, or rewrite them.", no_args_is_help=True, rich_markup_mode=None)


@app.command("schema")
def print_schema(*, json: JsonOption = False) -> None:  # noqa: ARG001  it is JSON in any case
    """Print the JSON Schema of settings files, for editors.

    It has the options of all installed plugins.
    """
    from elspeth.core.settings.json_schema import settings_schema  # noqa: PLC0415  start time
    from elspeth.plugins.manager import PluginManager  # noqa: PLC0415

    typer.echo(jsonlib.dumps(settings_schema(PluginManager.installed()), indent=2))


@app.command("convert")
def convert(
    *,
    settings: SettingsOption = DEFAULT_SETTINGS,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE|-",
            callback=require_local,
            help="The file to create; - is standard output.",
        ),
    ] = STANDARD_OUTPUT,
    no_dotenv: NoDotenvOption = False,
    json: JsonOption = False,
) -> None:
    """Rewrite settings, with steps wired by names.

    The pipeline stays the same. Comments in sections that are rewritten are lost.
    """
    from elspeth.api.loading import GivenSettings, load_pipeline  # noqa: PLC0415  start time
    from elspeth.core.settings._yaml_file import read_settings_file  # noqa: PLC0415
    from elspeth.core.settings.conversion import convert_settings  # noqa: PLC0415
    from elspeth.core.settings.model import PositionalSettings  # noqa: PLC0415

    loaded = load_pipeline(GivenSettings(path=settings, no_dotenv=no_dotenv)).pipeline.settings
    if not isinstance(loaded, PositionalSettings):
        raise UsageError(f"{settings}: its steps are wired by names already: there is nothing to convert")
    converted = convert_settings(settings.read_text(encoding="utf-8-sig"), read_settings_file(settings), loaded)
    if output == STANDARD_OUTPUT:
        told = {"text": converted.text, "lost_comments": converted.lost_comments}
        typer.echo(f"{jsonlib.dumps(told, indent=2)}\n" if json else converted.text, nl=False)
        return
    try:
        with Path(output).open("x", encoding="utf-8") as file:
            file.write(converted.text)
    except FileExistsError as error:
        raise UsageError(f"{output}: exists already: name a new file") from error
    if json:
        typer.echo(jsonlib.dumps({"settings": output, "lost_comments": converted.lost_comments}, indent=2))
    typer.echo(printable(f"{output}: written{_lost(converted.lost_comments)}"), err=True)


def _lost(comments: int) -> str:
    if not comments:
        return ""
    from elspeth.contracts.errors import format_count  # noqa: PLC0415  start time

    were = "was" if comments == 1 else "were"
    return f"; {format_count(comments, 'comment')} in rewritten sections {were} left out"

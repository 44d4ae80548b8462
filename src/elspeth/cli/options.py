"""Options and arguments that several commands share, and their rules.

Commands that need `--execute` to do anything only preview their work without it. A preview that `--dry-run` asked for
ends with exit code 0, any other one with 1: a schedule that lacks `--execute` must not look as if it had worked.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from elspeth.cli.completion import complete_run
from elspeth.cli.failures import ExitCode, UsageError, show_tracebacks

__all__ = [
    "STANDARD_OUTPUT",
    "CheckHmacOption",
    "DatabaseOption",
    "DryRunOption",
    "ExitCodeOption",
    "ForceOption",
    "FromOption",
    "JsonOption",
    "NoDotenvOption",
    "OptionalDatabaseOption",
    "OptionalRunArgument",
    "RunArgument",
    "RunOption",
    "SettingsOption",
    "TracebackOption",
    "WorkersOption",
    "end_preview",
    "require_only_one",
    "require_unicode",
]

STANDARD_OUTPUT = "-"
"""The name of an output that goes to standard output."""


def require_unicode(param: typer.CallbackParam, value: str | None) -> str | None:
    """Return text that a database can hold.

    Raises UsageError for surrogates, which stand for bytes that are not UTF-8.
    """
    try:
        (value or "").encode()
    except UnicodeEncodeError as error:
        name = param.metavar if param.param_type_name == "argument" else param.opts[0]
        raise UsageError(f"{name}: the text '{value}' is not UTF-8: use another name") from error
    return value


_DATABASE = typer.Option(
    "--database",
    "-d",
    metavar="URL|PATH",
    callback=require_unicode,
    help="The audit database: an SQLAlchemy URL or the path of a SQLite file.",
)

_RUN = typer.Argument(
    metavar="RUN|latest",
    autocompletion=complete_run,
    callback=require_unicode,
    help="The run: its id, the beginning of its id, or the run that began last.",
)

RunArgument = Annotated[str, _RUN]
OptionalRunArgument = Annotated[str | None, _RUN]
RunOption = Annotated[
    str,
    typer.Option(
        metavar="RUN|latest",
        autocompletion=complete_run,
        callback=require_unicode,
        help="The run: its id, the beginning of its id, or the run that began last.",
    ),
]
DatabaseOption = Annotated[str, _DATABASE]
OptionalDatabaseOption = Annotated[str | None, _DATABASE]
FromOption = Annotated[
    Path | None, typer.Option("--from", metavar="PATH", help="An export to read instead of the database.")
]
SettingsOption = Annotated[Path, typer.Option("--settings", "-s", metavar="FILE", help="The settings file (YAML).")]
NoDotenvOption = Annotated[bool, typer.Option("--no-dotenv", help="Do not read .env in the working directory.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and end with exit code 0.")]
ExitCodeOption = Annotated[
    bool,
    typer.Option("--exit-code", help="End with 3 instead of 0 if the run is complete, but rows failed."),
]
ForceOption = Annotated[
    bool,
    typer.Option(
        "--force", help="Replace a file that is not an earlier output; never a database, key, bag or settings file."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
TracebackOption = Annotated[
    bool,
    typer.Option(
        "--traceback", callback=show_tracebacks, help="Print where in its code a plugin fails. May show values of rows."
    ),
]
CheckHmacOption = Annotated[bool, typer.Option("--hmac", help="Check signatures with the key in ELSPETH_SIGNING_KEY.")]
WorkersOption = Annotated[
    int, typer.Option("--workers", min=1, metavar="N", help="Processes that share the work; the result is the same.")
]


def require_only_one(options: Mapping[str, bool]) -> None:
    """Raise UsageError if several of the options were given.

    `options` maps the name of each option to whether it was given.
    """
    given = [name for name, is_given in options.items() if is_given]
    if len(given) > 1:
        names = f"{', '.join(given[:-1])} and {given[-1]}"
        raise UsageError(f"{names} contradict each other: give one of them")


def end_preview(message: str, *, dry_run: bool) -> None:
    """End an unrequested preview with exit code 1."""
    if not dry_run:
        typer.echo(message, err=True)
        raise typer.Exit(ExitCode.FAILED)

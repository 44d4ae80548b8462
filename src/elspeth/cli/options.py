"""Options and arguments that several commands share, and their rules.

Without `--execute`, commands that have this option only preview their work. A preview that `--dry-run` requested ends
with exit code 0, any other one with 1, so that a schedule that lacks `--execute` does not seem to have worked.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from elspeth.cli.access import default_database
from elspeth.cli.completion import complete_run
from elspeth.cli.failures import ExitCode, UsageError, show_tracebacks
from elspeth.cli.objects import fetch, require_place
from elspeth.contracts.environment import DEFAULT_SETTINGS, SETTINGS
from elspeth.objects.address import place_of

__all__ = [
    "STANDARD_OUTPUT",
    "CertificateOption",
    "CheckHmacOption",
    "DatabaseOption",
    "DryRunOption",
    "ExitCodeOption",
    "ForceOption",
    "FromOption",
    "JsonOption",
    "LimitOption",
    "NoDotenvOption",
    "OptionalDatabaseOption",
    "OptionalRunArgument",
    "RunArgument",
    "RunOption",
    "SetOption",
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


def _database_or_default(ctx: typer.Context, param: typer.CallbackParam, value: str) -> str:
    """Return the given database, or the one of the settings."""
    source = ctx.get_parameter_source(param.name or "")
    if source is not None and source.name == "DEFAULT" and not ctx.resilient_parsing:
        return default_database()
    return require_unicode(param, value) or ""


_DATABASE_HELP = "The audit database, if not that of the settings: an SQLAlchemy URL or the path of a SQLite file."

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
DatabaseOption = Annotated[
    str,
    typer.Option(
        "--database",
        "-d",
        metavar="URL|PATH",
        default_factory=str,
        show_default=False,
        callback=_database_or_default,
        help=_DATABASE_HELP,
    ),
]
OptionalDatabaseOption = Annotated[
    str | None, typer.Option("--database", "-d", metavar="URL|PATH", callback=require_unicode, help=_DATABASE_HELP)
]
FromOption = Annotated[
    Path | None,
    typer.Option(
        "--from",
        metavar="PATH",
        parser=place_of,
        callback=fetch,
        help="An export to read instead of the database: a path, or the address of an object.",
    ),
]


PayloadsOption = Annotated[
    str | None,
    typer.Option(
        "--payloads",
        metavar="PLACE",
        callback=require_place,
        help="Where they are kept: a directory, or an address such as s3://bucket/prefix; by default where the run's "
        "settings say.",
    ),
]


def _require_default_settings(path: Path) -> Path:
    """Return the path, or raise UsageError if none was given."""
    if path == DEFAULT_SETTINGS and not path.exists():
        raise UsageError(f"there is no {path} here: name the settings file with -s, or in {SETTINGS}")
    return path


SettingsOption = Annotated[
    Path,
    typer.Option(
        "--settings",
        "-s",
        metavar="FILE",
        envvar=SETTINGS,
        callback=_require_default_settings,
        help="The settings file (YAML).",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Set a key of the settings, such as landscape.url, to a YAML value. Can be given several times.",
    ),
]
LimitOption = Annotated[
    int | None, typer.Option("--limit", min=1, metavar="N", help="Read only the first N rows of each source.")
]
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
CertificateOption = Annotated[
    Path | None,
    typer.Option(
        "--certificate", metavar="CHAIN.pem", help="The X.509 certificate of the key, and of its authorities."
    ),
]
CheckHmacOption = Annotated[bool, typer.Option("--hmac", help="Check signatures with the key in ELSPETH_SIGNING_KEY.")]
WorkersOption = Annotated[
    int, typer.Option("--workers", min=1, metavar="N", help="Processes that share the work; the result is the same.")
]

RunWorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        metavar="N",
        help="Processes that share the work on rows; the result is the same. Worth it if a row takes more than about a"
        " millisecond of work or waiting. Like concurrency.workers.",
    ),
]
ClusterOption = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="ADDRESS",
        help="Share the work among the workers of a Dask cluster, by its scheduler's address, such as"
        " tcp://scheduler:8786.",
    ),
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

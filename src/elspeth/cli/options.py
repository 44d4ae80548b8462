"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from elspeth.cli.failures import show_tracebacks

__all__ = ["STANDARD_OUTPUT", "ForceOption", "JsonOption", "NoDotenvOption", "SettingsOption", "TracebackOption"]

STANDARD_OUTPUT = "-"
"""The name of an output that is written to standard output."""

SettingsOption = Annotated[Path, typer.Option("--settings", "-s", metavar="FILE", help="The settings file (YAML).")]
NoDotenvOption = Annotated[bool, typer.Option("--no-dotenv", help="Do not read .env in the working directory.")]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Replace a file even if it is no earlier output; never a database, key or bag.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
TracebackOption = Annotated[
    bool,
    typer.Option(
        "--traceback", callback=show_tracebacks, help="Print where in its code a plugin fails. Values of rows may show."
    ),
]

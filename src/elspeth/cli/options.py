"""Options that several commands have, and the exit codes that all share."""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["ExitCode", "JsonOption", "NoDotenvOption", "SettingsOption"]


class ExitCode(IntEnum):
    """What a command tells the shell."""

    DONE = 0
    FAILED = 1
    USAGE = 2


SettingsOption = Annotated[Path, typer.Option("--settings", "-s", metavar="FILE", help="The settings file (YAML).")]
NoDotenvOption = Annotated[bool, typer.Option("--no-dotenv", help="Do not read .env in the working directory.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]

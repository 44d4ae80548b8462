"""Commands that do nothing without `--execute`: they show what they would do.

That is what `--dry-run` asks for, so it ends with exit code 0. Without either option the exit code is 1: a schedule
that lacks `--execute` must not look as if it had worked.
"""

from __future__ import annotations

from typing import Annotated

import typer

from elspeth.cli.exit_code import ExitCode

__all__ = ["DryRunOption", "end_preview", "refuse_both"]

DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and end with exit code 0.")]


def refuse_both(*, execute: bool, dry_run: bool) -> None:
    """End the command with exit code 2 if it is told both."""
    if execute and dry_run:
        raise typer.BadParameter("--execute and --dry-run contradict each other: give one of them")


def end_preview(message: str, *, dry_run: bool) -> None:
    """Say that nothing was done, and end the command with exit code 1, unless that was asked for."""
    if not dry_run:
        typer.echo(message, err=True)
        raise typer.Exit(ExitCode.FAILED)

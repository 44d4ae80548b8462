"""Failures of evidence commands that users can do something about: one message, no traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from elspeth.cli.options import ExitCode

__all__ = ["evidence_errors_reported"]


@contextmanager
def evidence_errors_reported() -> Iterator[None]:
    """End the command with a message: exit code 2 for a key that cannot be used, 1 for evidence or a file."""
    from elspeth.evidence.errors import EvidenceError, KeyFileError  # noqa: PLC0415  start time

    try:
        yield
    except (EvidenceError, OSError) as error:
        message = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
        typer.echo(f"error: {message}", err=True)
        raise typer.Exit(ExitCode.USAGE if isinstance(error, KeyFileError) else ExitCode.FAILED) from error

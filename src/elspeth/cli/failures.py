"""Failures that users can do something about: one message, no traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from elspeth.cli.options import ExitCode

__all__ = ["failures_reported"]


@contextmanager
def failures_reported() -> Iterator[None]:
    """End the command with exit code 1 and a message if the block fails in a way that is no bug of ours."""
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415  start time

    from elspeth.contracts.errors import AuditIntegrityError  # noqa: PLC0415
    from elspeth.core.landscape.database import LandscapeError  # noqa: PLC0415

    try:
        yield
    except (LandscapeError, AuditIntegrityError, SQLAlchemyError, OSError) as error:
        typer.echo(f"error: {_message(error)}", err=True)
        raise typer.Exit(ExitCode.FAILED) from error


def _message(error: Exception) -> str:
    driver_error = getattr(error, "orig", None)
    if driver_error is not None:
        # SQLAlchemy's own message holds the statement with its values, which may be protected.
        return f"audit database: {driver_error}"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)

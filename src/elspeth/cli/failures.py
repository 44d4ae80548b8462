"""What may stop a command, and is no defect of ours: one message, one exit code, no traceback.

`Program` applies this to every command, so that commands catch no error only to report it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import typer

from elspeth.cli.exit_code import ExitCode
from elspeth.cli.signals import Stopped
from elspeth.cli.streams import is_broken, silence
from elspeth.cli.text import printable

__all__ = ["FORESEEN", "failures_reported", "report", "show_tracebacks"]

FORESEEN: Mapping[str, ExitCode] = {
    "builtins.KeyboardInterrupt": ExitCode.INTERRUPTED,
    "builtins.MemoryError": ExitCode.FAILED,
    "builtins.OSError": ExitCode.FAILED,
    "concurrent.futures.process.BrokenProcessPool": ExitCode.FAILED,
    "elspeth.contracts.plugins.PluginError": ExitCode.FAILED,
    "elspeth.core.landscape.database.errors.LandscapeError": ExitCode.FAILED,
    "elspeth.core.payload_store.IntegrityError": ExitCode.FAILED,
    "elspeth.core.settings.problems.SettingsError": ExitCode.USAGE,
    "elspeth.engine.errors.AccountingError": ExitCode.FAILED,
    "elspeth.engine.errors.ExportFailedError": ExitCode.FAILED,
    "elspeth.engine.errors.ResumeError": ExitCode.FAILED,
    "elspeth.evidence.format.errors.EvidenceError": ExitCode.FAILED,
    "elspeth.evidence.format.errors.KeyFileError": ExitCode.USAGE,
    "elspeth.plugins.manager.PluginRegistrationError": ExitCode.USAGE,
    "elspeth.schema.checks.AuditIntegrityError": ExitCode.FAILED,
    "psycopg.Error": ExitCode.FAILED,
    "sqlalchemy.exc.SQLAlchemyError": ExitCode.FAILED,
    "sqlite3.Error": ExitCode.FAILED,
}
"""The code for each error and its subclasses, by name: importing them all would slow down every start."""

_TRACEBACKS = "elspeth.tracebacks"


@contextmanager
def failures_reported(ctx: typer.Context | None = None) -> Iterator[None]:
    """Turn a foreseen error into a message on standard error and `typer.Exit`; a defect is raised as it is."""
    meta = {} if ctx is None else ctx.meta
    try:
        yield
        # Here, because Python reports what it cannot write at its end in words of its own.
        if sys.stdout is not None:  # None if it was closed before Python started
            sys.stdout.flush()
    except BaseException as error:
        code = _code_of(error)
        if code is None:
            raise
        if isinstance(error, BrokenPipeError) and is_broken(sys.stdout):
            # The reader, such as `head`, has what it wants.
            silence(sys.stdout)
            raise typer.Exit(ExitCode.BROKEN_PIPE) from error
        if _TRACEBACKS in meta:
            meta[_TRACEBACKS].show(error)
        report(error)
        raise typer.Exit(code) from error
    finally:
        if _TRACEBACKS in meta:
            meta[_TRACEBACKS].close()


def show_tracebacks(ctx: typer.Context, wanted: bool) -> bool:  # noqa: FBT001  typer passes the option's value
    """Print where plugins fail while the command of the context is at work, if that is wanted."""
    if wanted:
        from elspeth.cli.tracebacks import Tracebacks  # noqa: PLC0415  start time

        ctx.meta[_TRACEBACKS] = tracebacks = Tracebacks()
        tracebacks.listen()
    return wanted


def report(error: BaseException) -> None:
    """Print why a command failed, and what it leaves behind."""
    for line in (f"error: {_message_of(error)}", *getattr(error, "__notes__", ())):
        typer.echo("\n".join(map(printable, line.split("\n"))), err=True)


def _code_of(error: BaseException) -> int | None:
    """Return the exit code for an error, None for one that is not foreseen."""
    if isinstance(error, Stopped):
        return error.exit_code
    names = (f"{each.__module__}.{each.__qualname__}" for each in type(error).__mro__)
    return next((FORESEEN[name] for name in names if name in FORESEEN), None)


def _message_of(error: BaseException) -> str:
    cause = getattr(error, "orig", None)
    if isinstance(cause, BaseException):
        from elspeth.contracts.failures import recordable_message  # noqa: PLC0415  start time

        # SQLAlchemy's own message holds the statement with its values, which may be protected; so may the driver's.
        return f"audit database: {recordable_message(error)}"
    if isinstance(error, MemoryError):
        return "out of memory"
    if isinstance(error, KeyboardInterrupt):
        return str(error) or "interrupted"
    if type(error).__name__ == "BrokenProcessPool":
        return "a worker process ended before its work did, for want of memory perhaps: use --workers 1"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__

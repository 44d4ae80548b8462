"""Reports failures: exit codes, messages, and tracebacks of plugins.

With `--json`, standard output has exactly one JSON document: the result, or else the error. The group of commands in
`app` reports every error through this module, so commands do not catch errors to report them.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from enum import IntEnum

import typer

from elspeth.cli.signals import find_stop
from elspeth.cli.terminal import is_broken_pipe, printable, redirect_to_null

__all__ = [
    "EXIT_CODES",
    "WITHHELD_ERRORS",
    "ExitCode",
    "TracebackPrinter",
    "UsageError",
    "expect_json",
    "print_error",
    "report_error",
    "report_failures",
    "show_tracebacks",
    "use_stderr_for_json",
]


class ExitCode(IntEnum):
    """Exit codes of all commands, explained in docs/exit-codes.md.

    Codes above 128 name a signal, as in shells.
    """

    DONE = 0
    FAILED = 1
    USAGE = 2
    ROWS_FAILED = 3
    HANGUP = 129
    INTERRUPTED = 130
    BROKEN_PIPE = 141
    TERMINATED = 143


class UsageError(Exception):
    """The options of a command cannot be used."""


EXIT_CODES: Mapping[str, ExitCode] = {
    "builtins.KeyboardInterrupt": ExitCode.INTERRUPTED,
    "builtins.MemoryError": ExitCode.FAILED,
    "builtins.OSError": ExitCode.FAILED,
    "concurrent.futures.process.BrokenProcessPool": ExitCode.FAILED,
    "elspeth.cli.failures.UsageError": ExitCode.USAGE,
    "elspeth.contracts.plugins.exchange.PluginError": ExitCode.FAILED,
    "elspeth.core.landscape.database.errors.LandscapeError": ExitCode.FAILED,
    "elspeth.core.payload_store.IntegrityError": ExitCode.FAILED,
    "elspeth.core.settings.problems.SettingsError": ExitCode.USAGE,
    "elspeth.engine.errors.AccountingError": ExitCode.FAILED,
    "elspeth.engine.reporting.ExportFailedError": ExitCode.FAILED,
    "elspeth.engine.errors.ResumeError": ExitCode.FAILED,
    "elspeth.engine.errors.TooManyFailuresError": ExitCode.FAILED,
    "elspeth.engine.errors.WorkerError": ExitCode.FAILED,
    "elspeth.evidence.format.errors.EvidenceError": ExitCode.FAILED,
    "elspeth.evidence.format.errors.KeyFileError": ExitCode.USAGE,
    "elspeth.plugins.manager.PluginRegistrationError": ExitCode.USAGE,
    "elspeth.schema.checks.AuditIntegrityError": ExitCode.FAILED,
    "psycopg.Error": ExitCode.FAILED,
    "sqlalchemy.exc.SQLAlchemyError": ExitCode.FAILED,
    "sqlite3.Error": ExitCode.FAILED,
}
"""Exit codes of expected errors and their subclasses, by name: importing all of them would slow down every start."""

WITHHELD_ERRORS = logging.getLogger("elspeth.withheld")
"""The logger of exceptions whose messages are not recorded."""

_PRINTER = "elspeth.traceback_printer"

_wants_json = ContextVar("_wants_json", default=False)
_json_on_stderr = ContextVar("_json_on_stderr", default=False)

_Place = tuple[tuple[str, int], ...]


def expect_json(arguments: Sequence[str]) -> None:
    """Note whether the command's arguments ask for JSON."""
    _wants_json.set("--json" in arguments)


def use_stderr_for_json() -> None:
    """Note that standard output is used for the command's output."""
    _json_on_stderr.set(True)


@contextmanager
def report_failures(ctx: typer.Context | None = None) -> Iterator[None]:
    """Turn expected errors into messages and `typer.Exit`.

    Other errors are defects, and are raised unchanged.
    """
    meta = {} if ctx is None else ctx.meta
    try:
        yield
        # Flushed here, because Python would report a failure at exit with a message of its own.
        if sys.stdout is not None:  # None if it was closed before Python started
            sys.stdout.flush()
    except BaseException as error:
        stop, code = find_stop(error), _exit_code_of(error)
        if code is None and stop is None:
            _print_usage_document(error)
            raise
        if isinstance(error, BrokenPipeError) and is_broken_pipe(sys.stdout):
            # The reader, such as `head`, has read enough.
            redirect_to_null(sys.stdout)
            raise typer.Exit(ExitCode.BROKEN_PIPE) from error
        if _PRINTER in meta:
            meta[_PRINTER].show(error)
        if code is not None:
            print_error(error)
        if stop is not None:
            # An unexpected error that a stop caused is not a defect: the stop may interrupt a library anywhere.
            code = stop.exit_code
            if stop is not error:
                print_error(stop)
        code = code or ExitCode.FAILED
        _print_error_document(stop or error, code)
        raise typer.Exit(code) from error
    finally:
        if _PRINTER in meta:
            meta[_PRINTER].close()


def report_error(error: BaseException, code: int) -> None:
    """Print an error, with `--json` also as JSON.

    Use it for a command that ends with this exit code and has no other result.
    """
    print_error(error)
    _print_error_document(error, code)


def _print_usage_document(error: BaseException) -> None:
    """Print an error of typer, which prints its text itself."""
    if hasattr(error, "format_message"):
        _print_error_document(error, ExitCode.USAGE)


def _print_error_document(error: BaseException, code: int) -> None:
    if not _wants_json.get():
        return
    problems = getattr(error, "problems", ())
    document = {
        "exit_code": code,
        "type": type(error).__name__,
        "message": _message_of(error).partition("\n")[0] if problems else _message_of(error),
        "problems": [{"path": each.path, "message": each.message} for each in problems],
        "notes": list(getattr(error, "__notes__", ())),
    }
    typer.echo(json.dumps({"error": document}, indent=2), err=_json_on_stderr.get())


def print_error(error: BaseException) -> None:
    """Print the message of an error, and its notes.

    Only problems of settings are on separate lines. Any other line break belongs to a name that the message quotes, and
    is escaped.
    """
    message = f"error: {_message_of(error)}"
    lines = message.split("\n") if hasattr(error, "problems") else [message]
    for line in (*lines, *getattr(error, "__notes__", ())):
        typer.echo(printable(line), err=True)
    stop = find_stop(error)
    if stop is not None:
        stop.is_reported = True


def _exit_code_of(error: BaseException) -> int | None:
    """Return an error's exit code, or None for a defect."""
    names = (f"{each.__module__}.{each.__qualname__}" for each in type(error).__mro__)
    return next((EXIT_CODES[name] for name in names if name in EXIT_CODES), None)


def _message_of(error: BaseException) -> str:
    if hasattr(error, "format_message"):  # an error of typer
        return str(error.format_message())
    cause = getattr(error, "orig", None)
    if isinstance(cause, BaseException):
        from elspeth.contracts.errors import recordable_message  # noqa: PLC0415  start time

        # SQLAlchemy's message contains the statement with its values, which may be confidential. The driver's may, too.
        return f"audit database: {recordable_message(error)}"
    if isinstance(error, MemoryError):
        return "out of memory"
    if isinstance(error, KeyboardInterrupt):
        return str(error) or "interrupted"
    if type(error).__name__ == "BrokenProcessPool":
        return "a worker process ended before its work was done, perhaps for lack of memory: use --workers 1"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__


class TracebackPrinter(logging.Handler):
    """A log handler that prints tracebacks to standard error.

    It prints one for each place in the code. Messages of exceptions may repeat values of rows.
    """

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self._seen: set[_Place] = set()

    def listen(self) -> None:
        """Begin to print exceptions whose messages are not recorded."""
        WITHHELD_ERRORS.addHandler(self)
        WITHHELD_ERRORS.setLevel(logging.DEBUG)

    def close(self) -> None:
        """Stop printing."""
        WITHHELD_ERRORS.removeHandler(self)
        WITHHELD_ERRORS.setLevel(logging.NOTSET)
        super().close()

    def emit(self, record: logging.LogRecord) -> None:
        """Print the exception of a log record."""
        if record.exc_info and record.exc_info[1] is not None:
            self.show(record.exc_info[1])

    def show(self, error: BaseException) -> None:
        """Print the traceback of an exception and its causes.

        Nothing is printed if its first cause was raised at a place that was printed before.
        """
        cause = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        place = tuple((frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(cause.__traceback__))
        if place not in self._seen:
            self._seen.add(place)
            sys.stderr.write("".join(traceback.format_exception(error)))


def show_tracebacks(ctx: typer.Context, wanted: bool) -> bool:  # noqa: FBT001  typer passes the option's value
    """Print tracebacks of plugins during the context's command, if wanted."""
    if wanted:
        ctx.meta[_PRINTER] = printer = TracebackPrinter()
        printer.listen()
    return wanted

"""Shows or hides the log of a command.

The log goes to standard error. It contains events of runs from the chosen level on, and the warnings and errors that
libraries log.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr
from contextvars import ContextVar
from datetime import UTC, datetime
from enum import StrEnum
from typing import TextIO, cast

from elspeth.cli.signals import Stopped
from elspeth.cli.terminal import printable
from elspeth.contracts.events import event_of

__all__ = ["LogFormat", "LogLevel", "hidden_logs", "log_is_shown", "shown_log"]

log_is_shown: ContextVar[bool] = ContextVar("log_is_shown", default=False)
"""Whether the command shows a log, which then includes its progress."""

_OURS = "elspeth"


class LogLevel(StrEnum):
    """The lowest level of records that are shown."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """Lines for people, or a JSON object on each line."""

    TEXT = "text"
    JSON = "json"


@contextmanager
def hidden_logs() -> Iterator[None]:
    """Keep Python from printing the logs of libraries.

    Without a handler, it prints warnings and errors to standard error. Libraries also raise these errors, and the
    command reports them.
    """
    handler = logging.NullHandler()
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


@contextmanager
def shown_log(level: LogLevel, form: LogFormat) -> Iterator[None]:
    """Write the log to standard error while the block lasts.

    In JSON, all other lines that the command writes there become records, too.
    """
    handler = logging.StreamHandler(sys.stderr)
    number = logging.getLevelNamesMapping()[level.name]
    handler.setLevel(number)
    handler.setFormatter(_JsonFormatter() if form is LogFormat.JSON else _TextFormatter())
    handler.addFilter(_is_no_stop)
    root, ours = logging.getLogger(), logging.getLogger(_OURS)
    before = ours.level
    with ExitStack() as stack:
        stack.callback(log_is_shown.reset, log_is_shown.set(True))
        root.addHandler(handler)
        stack.callback(root.removeHandler, handler)
        ours.setLevel(number)
        stack.callback(ours.setLevel, before)
        if form is LogFormat.JSON:
            stack.enter_context(redirect_stderr(cast("TextIO", _RecordingStream(handler, sys.stderr))))
        yield


def _is_no_stop(record: logging.LogRecord) -> bool:
    """Return whether a record is about something but a stop."""
    return not (record.exc_info and isinstance(record.exc_info[1], Stopped))


def _time_of(record: logging.LogRecord) -> str:
    time = datetime.fromtimestamp(record.created, UTC)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _TextFormatter(logging.Formatter):
    """Formats a record as a line, with its traceback below."""

    def format(self, record: logging.LogRecord) -> str:
        line = f"{_time_of(record)} {record.levelname.lower():7} {printable(record.getMessage())}"
        trace = _traceback(self, record)
        return line if trace is None else f"{line}\n{trace}"


class _JsonFormatter(logging.Formatter):
    """Formats a record as a line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        event = event_of(record)
        fields: dict[str, object] = {"time": _time_of(record), "level": record.levelname.lower()}
        fields["event"] = "message" if event is None else event.name
        fields["message"] = record.getMessage()
        if event is not None:
            fields |= event.facts
        elif record.name.partition(".")[0] != _OURS:
            fields["logger"] = record.name
        trace = _traceback(self, record)
        if trace is not None:
            fields["traceback"] = trace
        return json.dumps(fields, default=str)


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str | None:
    """Return the traceback of a record at level DEBUG.

    Messages of exceptions may repeat values of rows, so the tracebacks that libraries log as errors are left out.
    """
    if not record.exc_info or record.levelno > logging.DEBUG:
        return None
    return formatter.formatException(record.exc_info)


class _RecordingStream:
    """Standard error whose lines are records of a log.

    They are shown at every level of the log, because they are messages of the command. A line without a label continues
    the one before.
    """

    def __init__(self, handler: logging.Handler, stream: TextIO) -> None:
        self._handler = handler
        self._stream = stream
        self._level = logging.INFO
        self._rest = ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")  # a TypeError shows that this is not a binary stream
        for line in lines:
            if line.strip():
                self._handler.emit(self._record(line.strip()))
        return len(text)

    def _record(self, line: str) -> logging.LogRecord:
        for level in (logging.ERROR, logging.WARNING):
            prefix = f"{logging.getLevelName(level).lower()}: "
            if line.startswith(prefix):
                self._level = level
                line = line.removeprefix(prefix)
        return logging.LogRecord(_OURS, self._level, __file__, 0, "%s", (line,), None)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return False

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

"""Errors, and the recordable part of their messages.

Records are exported as evidence, but exports withhold the content of rows. So the message of an error is recorded only
if its author guarantees that it repeats no value of a row. Exceptions of Python, of libraries and of plugins may repeat
values: they are recorded by their type and the place in the code, and their messages go to the logger
`elspeth.withheld` at level DEBUG, which is silent by default.
"""

from __future__ import annotations

import datetime as dt
import errno
import logging
import math
import os
import re
import traceback
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NotRequired, TypedDict

from elspeth.objects.errors import ObjectStoreError
from elspeth.schema.checks import AuditIntegrityError

__all__ = [
    "AuditIntegrityError",
    "ExecutionError",
    "RecordableError",
    "RoutingReason",
    "TransformReason",
    "describe_kind",
    "driver_message",
    "format_count",
    "recordable_message",
    "short_repr",
]

_MAX_REPR = 60  # characters

_KINDS: Mapping[type, str] = {
    Decimal: "a decimal",
    dt.date: "a date",
    dt.datetime: "a date and time",
    dt.timedelta: "a duration",
}


_withheld = logging.getLogger("elspeth.withheld")

_SHOWN_FRAMES = 3

_POSTGRESQL_WITHOUT_VALUES = frozenset(
    # Classes of SQLSTATE (PostgreSQL 17, appendix A) for connections, statements and resources.
    ["08", "0A", "25", "26", "28", "3D", "3F", "40", "42", "53", "54", "55", "57", "58", "F0", "XX"]
)
_POSTGRESQL_NAMES = ("schema_name", "table_name", "column_name", "datatype_name", "constraint_name")
_SQLITE_WITHOUT_VALUES = re.compile(
    r"(UNIQUE|NOT NULL|CHECK|FOREIGN KEY|PRIMARY KEY) constraint failed.*"
    r"|no such (table|column|function|module|index|collation sequence): .*"
    r"|table .* (already exists|has no column named .*)"
    r"|near \".*\": syntax error|incomplete input|unrecognized token: .*|datatype mismatch"
    r"|unable to open database file|database is locked|database table is locked.*|disk I/O error"
    r"|database or disk is full|database disk image is malformed|file is not a database"
    r"|attempt to write a readonly database|too many (SQL variables|columns.*)|duplicate column name: .*",
    re.DOTALL,
)


class RecordableError(Exception):
    """An error whose message repeats no values of rows.

    The message is recorded, exported and shown unchanged.
    """


class ExecutionError(TypedDict):
    """Why a node state failed."""

    exception: str
    type: str
    traceback: NotRequired[str]


class RoutingReason(TypedDict):
    """Why a gate chose a route."""

    rule: str
    matched_value: Any
    threshold: NotRequired[float]
    field: NotRequired[str]
    comparison: NotRequired[str]


class TransformReason(TypedDict):
    """What a transform did to a row."""

    action: str
    fields_modified: NotRequired[list[str]]
    validation_errors: NotRequired[list[str]]


def recordable_message(error: BaseException) -> str:
    """Return the recordable part of an error's message."""
    if isinstance(error, RecordableError | AuditIntegrityError | ObjectStoreError):
        return str(error)
    _withheld.debug("not recorded: the message of %s", type(error).__name__, exc_info=error)
    original = getattr(error, "orig", None)  # SQLAlchemy's own message contains the statement with its values
    if isinstance(original, BaseException):
        return driver_message(original)
    # Only the number of an OSError is sure to come from the system: its text can be anything.
    number = error.errno if isinstance(error, OSError) else None
    system_message = [os.strerror(number)] if number is not None and number in errno.errorcode else []
    return ", ".join([*system_message, f"raised at {_find_place(error)}"])


def driver_message(error: BaseException) -> str:
    """Return a database driver's message without values of rows.

    The message is on one line. If it may contain values, it is replaced by the error's type and code, and the names of
    tables, columns and constraints.
    """
    message = " ".join(str(error).split())
    if hasattr(error, "sqlite_errorname"):
        return (
            message
            if _SQLITE_WITHOUT_VALUES.fullmatch(message)
            else f"{type(error).__name__} ({error.sqlite_errorname})"
        )
    diagnosis = getattr(error, "diag", None)
    state = getattr(error, "sqlstate", None)
    if diagnosis is not None and state is None and type(error).__name__ == "OperationalError":
        return message  # the connection failed, before any statement
    if diagnosis is None or state is None:
        return f"{type(error).__name__}, whose message may hold values of rows"
    if state[:2] in _POSTGRESQL_WITHOUT_VALUES:
        return " ".join(str(diagnosis.message_primary).split())
    names = [f"{name.removesuffix('_name')} {getattr(diagnosis, name)}" for name in _POSTGRESQL_NAMES]
    named = [text for text, name in zip(names, _POSTGRESQL_NAMES, strict=True) if getattr(diagnosis, name)]
    return f"{type(error).__name__} ({', '.join([f'SQLSTATE {state}', *named])})"


def _find_place(error: BaseException) -> str:
    """Return the lines of code that raised an error.

    Lines outside elspeth are preferred; the innermost line is the last.
    """
    frames = [(str(frame.f_globals.get("__name__")), line) for frame, line in traceback.walk_tb(error.__traceback__)]
    foreign = [each for each in frames if each[0].partition(".")[0] != "elspeth"]
    places = foreign[-_SHOWN_FRAMES:] or frames[-1:]
    return ", ".join(f"{name} line {line}" for name, line in places) or "an unknown place"


def short_repr(value: object) -> str:
    """Return the repr of a value, truncated if long.

    Do not use it for values of rows, but `describe_kind`.
    """
    text = repr(value)
    return text if len(text) <= _MAX_REPR else f"{text[:_MAX_REPR]}..."


def describe_kind(value: object) -> str:
    """Describe the kind of a value without repeating the value.

    `describe_kind("0171-2034")` is "text of 9 characters". Messages must not repeat values of rows.
    """
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int():
            return "an integer"
        case float():
            return "a number" if math.isfinite(value) else "a number that is not finite"
        case "":
            return "empty text"
        case str():
            return f"text of {format_count(len(value), 'character')}"
        case Mapping():
            return f"an object with {format_count(len(value), 'field')}"
        case list() | tuple():
            return f"a list of {format_count(len(value), 'item')}"
        case _:
            return _KINDS.get(type(value), f"a value of type {type(value).__name__}")


def format_count(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun.

    The plural of the noun ends with an s unless it is given.
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"

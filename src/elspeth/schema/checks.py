"""Checks of records, and the error for forbidden ones."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import orjson

__all__ = [
    "BOOLEAN",
    "JSON",
    "MAX_INTEGER",
    "TIMESTAMP",
    "Acceptor",
    "AuditIntegrityError",
    "Contract",
    "constant",
    "integer",
    "is_json",
    "is_lower_hex",
    "matches",
    "member",
    "optional",
    "real",
    "text",
]

MAX_INTEGER = 2**53 - 1
"""Largest integer that every JSON reader keeps exactly (RFC 8785, section 3.2.2.3)."""

_SHOWN = 80
"""How much of an offending value a message shows, in characters."""


class AuditIntegrityError(Exception):
    """A record that the schema forbids.

    `database` is the URL of the database that holds the record, its password hidden, or None where it does not matter.
    """

    def __init__(
        self,
        *,
        table: str,
        key: dict[str, object],
        field: str,
        expected: str,
        got: object,
        database: str | None = None,
    ) -> None:
        shown = repr(got.value if isinstance(got, StrEnum) else got)
        if len(shown) > _SHOWN:
            shown = f"{shown[:_SHOWN]}... ({len(shown)} characters)"
        where = " ".join([table, *(f"{name}={value!r}" for name, value in key.items())])
        prefix = "" if database is None else f"audit database {database}: "
        super().__init__(f"{prefix}{where}: {field}: expected {expected}, got {shown}")
        self.table = table
        self.key = key
        self.field = field
        self.expected = expected
        self.got = got
        self.database = database

    def __reduce__(self) -> tuple[Callable[[dict[str, object]], AuditIntegrityError], tuple[dict[str, object]]]:
        # Workers of a process pool raise it: the default would pass the message as a positional argument.
        return _rebuild_error, (vars(self),)

    def in_database(self, url: str) -> AuditIntegrityError:
        """Return the error with the database's URL in its message.

        The URL's password must be hidden. An error that already names a database is returned unchanged.
        """
        return self if self.database is not None else _rebuild_error({**vars(self), "database": url})


def _rebuild_error(members: dict[str, Any]) -> AuditIntegrityError:
    return AuditIntegrityError(**members)


@dataclass(frozen=True, slots=True)
class Acceptor:
    """A kind of value.

    `expected` describes it in messages, `accepts` tells whether a value is of the kind.
    """

    expected: str
    accepts: Callable[[object], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """The rules of one record class."""

    table: str
    key: tuple[str, ...]
    fields: tuple[tuple[str, Acceptor], ...]
    exactly_one: tuple[tuple[str, ...], ...] = ()

    def check(self, record: object) -> None:
        """Check every field of a record.

        Raises AuditIntegrityError for the first rule that is broken.
        """
        for field, acceptor in self.fields:
            value = getattr(record, field)
            if not acceptor.accepts(value):
                raise self._error(record, field, acceptor.expected, value)
        for names in self.exactly_one:
            present = [name for name in names if getattr(record, name) is not None]
            if len(present) != 1:
                raise self._error(record, ", ".join(names), "exactly one of them", " and ".join(present) or None)

    def _error(self, record: object, field: str, expected: str, got: object) -> AuditIntegrityError:
        key = {name: getattr(record, name) for name in self.key}
        return AuditIntegrityError(table=self.table, key=key, field=field, expected=expected, got=got)


def _storable(value: str) -> bool:
    """Return whether both databases keep the text unchanged.

    PostgreSQL does not store NUL, and UTF-8 has no lone surrogates.
    """
    if "\x00" in value:
        return False
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def text(*, max_length: int | None = None, pattern: str | None = None) -> Acceptor:
    """Accept text of at most `max_length` characters that matches `pattern`."""
    limit = math.inf if max_length is None else max_length
    if pattern is not None:
        matches = re.compile(pattern).fullmatch
        return Acceptor(
            f"text matching {pattern}",
            lambda value: type(value) is str and len(value) <= limit and matches(value) is not None,
        )
    expected = "text" if max_length is None else f"text of at most {max_length} characters"
    return Acceptor(
        f"{expected} without NUL or lone surrogates",
        lambda value: type(value) is str and len(value) <= limit and _storable(value),
    )


def integer(*, minimum: int = -MAX_INTEGER, maximum: int = MAX_INTEGER) -> Acceptor:
    """Accept an integer within the bounds, both included."""
    return Acceptor(
        f"an integer from {minimum} to {maximum}",
        lambda value: type(value) is int and minimum <= value <= maximum,
    )


def real(*, minimum: float = -MAX_INTEGER, maximum: float = MAX_INTEGER) -> Acceptor:
    """Accept a float within the bounds, both included.

    JSON writes a larger one as an integer that readers may not keep exactly.
    """
    return Acceptor(
        f"a float from {minimum} to {maximum}", lambda value: type(value) is float and minimum <= value <= maximum
    )


def member(enum: type[StrEnum]) -> Acceptor:
    """Accept a member of the enum."""
    return Acceptor(f"one of {', '.join(enum)}", lambda value: type(value) is enum)


def constant(only: StrEnum) -> Acceptor:
    """Accept one member of an enum."""
    return Acceptor(only.value, lambda value: value == only)


def optional(acceptor: Acceptor) -> Acceptor:
    """Accept None, or what `acceptor` accepts."""
    accepts = acceptor.accepts
    return Acceptor(f"{acceptor.expected}, or nothing", lambda value: value is None or accepts(value))


def is_lower_hex(value: str) -> bool:
    """Return whether a text is bytes in lower-case hex."""
    try:
        return bytes.fromhex(value).hex() == value
    except ValueError:
        return False


def matches(pattern: str, value: str) -> bool:
    """Return whether the whole text matches."""
    return re.fullmatch(pattern, value) is not None


def is_json(value: object) -> bool:
    """Return whether the value is JSON text."""
    if type(value) is not str:
        return False
    try:
        orjson.loads(value)
    except orjson.JSONDecodeError:
        return False
    return True


JSON = Acceptor("JSON text", is_json)
BOOLEAN = Acceptor("true or false", lambda value: type(value) is bool)
TIMESTAMP = Acceptor("a datetime in UTC", lambda value: type(value) is datetime and value.tzinfo is UTC)

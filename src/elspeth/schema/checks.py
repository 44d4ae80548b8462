"""What a value of each kind looks like, and the error for a record that the schema forbids."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

import orjson

__all__ = [
    "BOOLEAN",
    "JSON",
    "MAX_INTEGER",
    "TIMESTAMP",
    "Acceptor",
    "AuditIntegrityError",
    "Contract",
    "integer",
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
    """A record that cannot be true: names table, key, field, what was expected and what was found."""

    def __init__(self, *, table: str, key: dict[str, object], field: str, expected: str, got: object) -> None:
        shown = repr(got.value if isinstance(got, StrEnum) else got)
        if len(shown) > _SHOWN:
            shown = f"{shown[:_SHOWN]}... ({len(shown)} characters)"
        where = " ".join([table, *(f"{name}={value!r}" for name, value in key.items())])
        super().__init__(f"{where}: {field}: expected {expected}, got {shown}")
        self.table = table
        self.key = key
        self.field = field
        self.expected = expected
        self.got = got


@dataclass(frozen=True, slots=True)
class Acceptor:
    """A kind of value: what to call it in a message, and whether a value is one."""

    expected: str
    accepts: Callable[[object], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """The rules of one record class; `check` raises AuditIntegrityError for the first that is broken."""

    table: str
    key: tuple[str, ...]
    fields: tuple[tuple[str, Acceptor], ...]
    exactly_one: tuple[tuple[str, ...], ...] = ()

    def check(self, record: object) -> None:
        """Compare every field of the record with its rule."""
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
    """Whether both databases hold the text unchanged: no NUL (PostgreSQL), no lone surrogate (UTF-8)."""
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
    """Text of at most `max_length` characters that matches `pattern` as a whole."""
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
    """An integer within the bounds, both included."""
    return Acceptor(
        f"an integer from {minimum} to {maximum}",
        lambda value: type(value) is int and minimum <= value <= maximum,
    )


def real(*, minimum: float = -MAX_INTEGER, maximum: float = MAX_INTEGER) -> Acceptor:
    """A float within the bounds, both included; a larger one would be written as an integer that readers change."""
    return Acceptor(
        f"a float from {minimum} to {maximum}", lambda value: type(value) is float and minimum <= value <= maximum
    )


def member(enum: type[StrEnum]) -> Acceptor:
    """A member of the enum."""
    return Acceptor(f"one of {', '.join(enum)}", lambda value: type(value) is enum)


def optional(acceptor: Acceptor) -> Acceptor:
    """None, or what `acceptor` accepts."""
    accepts = acceptor.accepts
    return Acceptor(f"{acceptor.expected}, or nothing", lambda value: value is None or accepts(value))


def _is_json(value: object) -> bool:
    if type(value) is not str:
        return False
    try:
        orjson.loads(value)
    except orjson.JSONDecodeError:
        return False
    return True


JSON = Acceptor("JSON text", _is_json)
BOOLEAN = Acceptor("true or false", lambda value: type(value) is bool)
TIMESTAMP = Acceptor("a datetime in UTC", lambda value: type(value) is datetime and value.tzinfo is UTC)

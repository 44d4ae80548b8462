"""Canonical JSON (RFC 8785) and hashes over it."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import cast
from uuid import UUID

import orjson
import rfc8785

from elspeth.contracts.errors import RecordableError
from elspeth.contracts.values import canonical_text, timestamp_text

__all__ = [
    "CANONICAL_VERSION",
    "CanonicalError",
    "CanonicalText",
    "canonical_bytes",
    "canonical_json",
    "canonical_number",
    "stable_hash",
    "stored_time_text",
    "timestamp_text",
]

CANONICAL_VERSION = "sha256-rfc8785-v1"
"""The name of the algorithm of `stable_hash`, which is recorded with each run."""

_MAX_INTEGER = 2**53 - 1
"""The largest integer that every JSON reader represents exactly (RFC 8785, section 3.2.2.3)."""


_REPR_MIN, _REPR_MAX = 1e-4, 1e16
"""The magnitudes between which Python, orjson and ECMAScript write fractions alike."""

_PLAIN = frozenset({str, bool, type(None)})
"""Types whose values orjson writes canonically."""


class CanonicalError(RecordableError, ValueError):
    """A value that canonical JSON cannot express unchanged.

    The message does not repeat the value.
    """


@dataclass(frozen=True, slots=True)
class CanonicalText:
    """A value as canonical JSON, with its SHA-256.

    The calls that record a value also accept this, so that nothing is written and hashed twice. `sha256` has 64 hex
    digits.
    """

    text: str
    sha256: str

    @classmethod
    def of(cls, obj: object) -> CanonicalText:
        """Write and hash a value, unless it is a CanonicalText.

        Raises CanonicalError if the value has no canonical JSON.
        """
        if isinstance(obj, CanonicalText):
            return obj
        content = canonical_bytes(obj)
        return cls(content.decode(), hashlib.sha256(content).hexdigest())


def canonical_json(obj: object) -> str:
    """Return the canonical JSON of a value as text.

    Raises CanonicalError if the value has no canonical JSON.
    """
    return canonical_bytes(obj).decode()


def canonical_bytes(obj: object) -> bytes:
    """Return the canonical JSON of a value in UTF-8.

    Other types than JSON's own are converted: times become text in UTC with microseconds; dates, decimals, durations
    and UUIDs become text; enum members become their values; tuples become arrays; bytes become an object with the
    single key `__bytes__`, in base64.

    Raises CanonicalError if the value has no canonical JSON.
    """
    try:
        return orjson.dumps(_prepared(obj))
    except (orjson.JSONEncodeError, RecursionError) as error:
        message = f"value has no canonical JSON: {error}"
        raise CanonicalError(message) from error


def stable_hash(obj: object, version: str = CANONICAL_VERSION) -> str:
    """Return the SHA-256 over a value's canonical JSON.

    The hash has 64 hex digits. Raises CanonicalError for another `version`, or a value without canonical JSON.
    """
    if version != CANONICAL_VERSION:
        message = f"unknown canonical version {version!r}, expected {CANONICAL_VERSION!r}"
        raise CanonicalError(message)
    return hashlib.sha256(canonical_bytes(obj)).hexdigest()


def stored_time_text(value: object) -> str:
    """Return a stored time in its canonical form.

    PostgreSQL returns times, SQLite text. A value that is not a time, or outside Python's range, because somebody
    altered it, is returned as text.
    """
    try:
        return timestamp_text(value if isinstance(value, datetime) else datetime.fromisoformat(str(value)))
    except (ValueError, OverflowError):
        return str(value)


def _prepared(value: object) -> object:
    """Return an equal value that orjson writes canonically.

    Its keys are sorted and its floats already written.
    """
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is int:
        return _checked_integer(value)  # type: ignore[arg-type]
    if kind is float:
        return _prepared_float(value)  # type: ignore[arg-type]
    if kind is dict or isinstance(value, Mapping):
        mapping = cast("Mapping[object, object]", value)
        return {key: item if type(item := mapping[key]) in _PLAIN else _prepared(item) for key in _sorted_keys(mapping)}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray):
        return [_prepared(item) for item in value]
    return _prepared(_as_json(value))


def _as_json(value: object) -> object:
    """Convert a value of a foreign type to JSON's types."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, date | timedelta):
        return canonical_text(value)
    if isinstance(value, Decimal):
        if not value.is_finite():
            message = "a decimal is not finite"
            raise CanonicalError(message)
        return canonical_text(value)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, bytes | bytearray):
        return {"__bytes__": base64.b64encode(value).decode()}
    if isinstance(value, bool | int | float):
        return int(value) if isinstance(value, int) else float(value)
    message = f"value of type {type(value).__name__} has no canonical JSON"
    raise CanonicalError(message)


def _sorted_keys(mapping: Mapping[object, object]) -> list[str]:
    """Return the keys in order of their UTF-16 code units.

    RFC 8785, section 3.2.3.
    """
    keys = [key if type(key) is str else _as_key(key) for key in mapping]
    if "".join(keys).isascii():
        keys.sort()
    else:
        keys.sort(key=lambda key: key.encode("utf-16-be", "surrogatepass"))
    return keys


def _as_key(key: object) -> str:
    if not isinstance(key, str):
        message = f"a key is of type {type(key).__name__}: canonical JSON has text keys only"
        raise CanonicalError(message)
    return str.__str__(key)


def _prepared_float(value: float) -> float | orjson.Fragment:
    """Return a float that orjson writes canonically, or its text.

    orjson's own text differs for zero, -0.0, whole and small numbers.
    """
    if _REPR_MIN <= abs(value) < _REPR_MAX and not value.is_integer():
        return value
    return orjson.Fragment(canonical_number(value))


def _checked_integer(value: int) -> int:
    if -_MAX_INTEGER <= value <= _MAX_INTEGER:
        return value
    message = "an integer is beyond 2^53-1 and would change in other JSON readers"
    raise CanonicalError(message)


def canonical_number(value: float) -> str:
    """Return a float as ECMAScript writes it.

    RFC 8785, section 3.2.2.3. Raises CanonicalError if it is not finite.
    """
    size = abs(value)
    if value.is_integer() and size < _REPR_MAX:
        return str(int(value))
    if _REPR_MIN <= size < _REPR_MAX:
        return repr(value)
    if not math.isfinite(value):
        message = "a number is not finite, which JSON does not have"
        raise CanonicalError(message)
    return rfc8785.dumps(value).decode()

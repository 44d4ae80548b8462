"""Coerces values to the types of fields.

Nothing is rounded, truncated or guessed: a value that does not fit the type exactly is refused with MisfitError.
"""

from __future__ import annotations

import datetime as dt
import math
import re
import sys
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache, partial

from elspeth.contracts.errors import describe_kind
from elspeth.contracts.schema import MAX_INTEGER, FieldType, decimal_places
from elspeth.contracts.values import (
    DECIMALS,
    MAX_PLACES,
    MisfitError,
    bounded_decimal,
    canonical_text,
    float_to_decimal,
    parse_duration,
)

__all__ = [
    "coercion_to",
    "to_any_decimal",
    "to_date",
    "to_datetime",
    "to_decimal",
    "to_duration",
    "to_float",
    "to_integer",
    "written",
]

_INTEGER = re.compile(r"[+-]?[0-9]{1,20}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_DECIMAL = re.compile(r"[+-]?(?=.{1,64}$)([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_NOT_ZERO = re.compile(r"[^eE]*[1-9]")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DATETIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,6}0*)?)?(?P<zone>Z|[+-][0-9]{2}:?[0-9]{2})?"
)
_TRUE = frozenset({"true", "t", "yes", "y", "on", "1"})
_FALSE = frozenset({"false", "f", "no", "n", "off", "0"})
_MICROSECONDS = 6


def to_text(value: object) -> str:
    """Return a text unchanged."""
    if isinstance(value, str):
        return value
    raise _misfit("text", value)


def to_integer(value: object) -> int:
    """Return an integer, given itself or its digits."""
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise _misfit("an integer", value)
    if abs(value) > MAX_INTEGER:
        raise MisfitError(f"expected an integer from -{MAX_INTEGER} to {MAX_INTEGER}, got one beyond")
    return value


def to_float(value: object) -> float:
    """Return the float nearest to a number or its digits."""
    is_text = isinstance(value, str) and _NUMBER.fullmatch(value.strip()) is not None
    if not is_text and (isinstance(value, str | bool) or not isinstance(value, int | float | Decimal)):
        raise _misfit("a number", value)
    try:
        number = float(value)  # type: ignore[arg-type]  # checked above
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        if isinstance(value, float):
            raise _misfit("a finite number", value)
        size = f"{sys.float_info.max:.3g}"
        raise MisfitError(f"expected a number from -{size} to {size}, got one beyond")
    if is_text and number == 0 and _NOT_ZERO.match(str(value)):
        raise MisfitError("expected zero or a number that a float can tell from zero, got a smaller one")
    return number


def to_boolean(value: object) -> bool:
    """Return a boolean, given itself or a word for it."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and (text := value.strip().lower()) in _TRUE | _FALSE:
        return text in _TRUE
    if isinstance(value, int) and value in {0, 1}:
        return value == 1
    raise _misfit("true or false", value)


def to_any_decimal(value: object) -> Decimal:
    """Return a decimal with the places that were written."""
    match value:
        case Decimal():
            return bounded_decimal(value)
        case int() if not isinstance(value, bool):
            return bounded_decimal(Decimal(value))
        case float():
            return bounded_decimal(float_to_decimal(value))
        case str() if _DECIMAL.fullmatch(text := value.strip()):
            return _as_written(Decimal(text))
        case _:
            raise _misfit("a decimal", value)


def _as_written(number: Decimal) -> Decimal:
    bounded = bounded_decimal(number)
    if bounded != number:
        raise MisfitError(f"expected at most {MAX_PLACES} decimal places, got more")
    return bounded


def to_decimal(value: object, places: int) -> Decimal:
    """Return a decimal with exactly `places` places."""
    found = to_any_decimal(value)
    fixed = found.quantize(Decimal(1).scaleb(-places), context=DECIMALS)
    if fixed != found:
        raise MisfitError(f"expected a decimal of at most {places} decimal places, got more")
    return fixed


def to_date(value: object) -> dt.date:
    """Return a date, given itself or `YYYY-MM-DD`."""
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        return value
    if isinstance(value, str) and _DATE.fullmatch(text := value.strip()):
        try:
            return dt.date.fromisoformat(text)
        except ValueError as error:
            raise MisfitError("expected a date, got a day that the calendar does not have") from error
    raise _misfit("a date such as 2026-03-01", value)


def to_datetime(value: object) -> dt.datetime:
    """Return a time in UTC, given itself or ISO 8601."""
    if isinstance(value, str) and (match := _DATETIME.fullmatch(value.strip())):
        if match["zone"] is None:
            raise MisfitError("expected a date and time with a zone, got one without")
        try:
            value = dt.datetime.fromisoformat(value.strip())
        except ValueError as error:
            raise MisfitError("expected a date and time, got one that clock or calendar do not have") from error
    if not isinstance(value, dt.datetime):
        raise _misfit("a date and time such as 2026-03-01T12:30:00+01:00", value)
    if value.tzinfo is None:
        raise MisfitError("expected a date and time with a zone, got one without")
    try:
        return value.astimezone(dt.UTC)
    except OverflowError as error:
        raise MisfitError("expected a date and time from the year 1 to 9999 in UTC, got one beyond") from error


def to_duration(value: object) -> dt.timedelta:
    """Return a duration, given itself, ISO 8601 or seconds."""
    if isinstance(value, dt.timedelta):
        return value
    try:
        if isinstance(value, str):
            return parse_duration(value.strip())
        if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
            return _seconds(to_any_decimal(value))
    except OverflowError as error:
        raise MisfitError("expected a duration of at most 999999999 days, got a longer one") from error
    raise _misfit("a duration such as P1DT2H30M, or a number of seconds", value)


def _seconds(number: Decimal) -> dt.timedelta:
    microseconds = number.scaleb(_MICROSECONDS, context=DECIMALS)
    whole = int(microseconds)
    if whole != microseconds:
        raise MisfitError("expected a duration in whole microseconds, got a part of one")
    return dt.timedelta(microseconds=whole)


def written(value: object) -> str:
    """Return the text of a scalar value."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float() if math.isfinite(value):
            return repr(value)
        case Decimal() | dt.date() | dt.timedelta():
            return canonical_text(value)
        case _:
            raise _misfit("text, a number, a boolean, a date, a time or a duration", value)


_COERCIONS: Mapping[str, Callable[[object], object]] = {
    "any": lambda value: value,
    "str": to_text,
    "int": to_integer,
    "float": to_float,
    "bool": to_boolean,
    "date": to_date,
    "datetime": to_datetime,
    "duration": to_duration,
}


@cache
def coercion_to(field_type: FieldType) -> Callable[[object], object]:
    """Return the function that coerces values to a type.

    It raises MisfitError for a value that does not fit the type.
    """
    places = decimal_places(field_type)
    return _COERCIONS[field_type] if places is None else partial(to_decimal, places=places)


def _misfit(expected: str, value: object) -> MisfitError:
    return MisfitError(f"expected {expected}, got {describe_kind(value)}")

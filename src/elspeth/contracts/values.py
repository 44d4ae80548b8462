"""Decimals, dates, times and durations, which JSON does not have.

Each has one canonical text, which represents it in hashes, records and text files. If a row is stored to be read again,
a tag preserves the type: `{"$decimal": "12.30"}`.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from decimal import ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, InvalidOperation, Overflow
from typing import TypeAlias, cast

from elspeth.contracts.errors import RecordableError, describe_kind

__all__ = [
    "ATOMS",
    "DECIMALS",
    "MAX_PLACES",
    "MisfitError",
    "TypedValue",
    "bounded_decimal",
    "canonical_text",
    "decode",
    "decode_row",
    "encode",
    "encode_row",
    "float_to_decimal",
    "parse_duration",
    "plain",
    "plain_row",
    "timestamp_text",
]

TypedValue: TypeAlias = Decimal | dt.date | dt.timedelta
"""A decimal, a date, a time with its zone (a datetime is a date to Python), or a duration."""

MAX_PLACES = 18
"""The largest number of places of a decimal."""

_WHOLE_DIGITS = 20
_LIMIT = Decimal(10) ** _WHOLE_DIGITS
"""The bound of decimals. Below it, they fit the 38 digits of Parquet and SQL with all their places."""

DECIMALS = Context(prec=60, rounding=ROUND_HALF_EVEN, traps=[DivisionByZero, InvalidOperation, Overflow])
"""The arithmetic context in which sums and products of two decimals are exact."""

_FLOAT_DIGITS = 15
"""The number of significant digits that every float preserves (DBL_DIG of C)."""

JSON_ATOMS = frozenset({str, int, float, bool, type(None)})
ATOMS = JSON_ATOMS | {Decimal, dt.date, dt.datetime, dt.timedelta}
"""The types of values that hold no other values."""

_DURATION = re.compile(
    r"(?P<sign>[+-]?)P(?=[0-9T])(?:(?P<weeks>[0-9]{1,9})W)?(?:(?P<days>[0-9]{1,9})D)?"
    r"(?:T(?=[0-9])(?:(?P<hours>[0-9]{1,12})H)?(?:(?P<minutes>[0-9]{1,12})M)?"
    r"(?:(?P<seconds>[0-9]{1,14})(?:[.](?P<micros>[0-9]{1,6}))?S)?)?",
    re.ASCII,
)


class MisfitError(RecordableError, ValueError):
    """A value does not fit the expected type.

    The message says what was expected, and repeats no value.
    """


# -- decimals --------------------------------------------------------------------------------------------------------


def bounded_decimal(value: Decimal) -> Decimal:
    """Return a decimal rounded to at most 18 places.

    Ties are rounded to the even digit. Raises MisfitError for a decimal of more than 20 digits before the point.
    """
    if value.is_finite() and value.copy_abs() < _LIMIT:
        exponent = cast("int", value.as_tuple().exponent)
        places = min(max(-exponent, 0), MAX_PLACES)
        if exponent != -places:
            value = value.quantize(Decimal(1).scaleb(-places), context=DECIMALS)
        if value.copy_abs() < _LIMIT:
            return value or value.copy_abs()  # there is no negative zero
    raise MisfitError(f"expected a decimal of at most {_WHOLE_DIGITS} digits before the point, got a larger one")


def float_to_decimal(number: float) -> Decimal:
    """Return the decimal with the shortest text of a float.

    Raises MisfitError for a float of more than 15 significant digits, which may differ from the number that was meant.
    """
    decimal = Decimal(repr(number))
    if not decimal.is_finite() or len(decimal.normalize(DECIMALS).as_tuple().digits) > _FLOAT_DIGITS:
        raise MisfitError(f"expected a number of at most {_FLOAT_DIGITS} digits, got a float of more")
    return decimal


# -- canonical text --------------------------------------------------------------------------------------------------


def canonical_text(value: TypedValue) -> str:
    """Return the canonical text of a value.

    Decimals are digits with all their places, dates are `YYYY-MM-DD`, times are as by `timestamp_text`, and durations
    are xsd:dayTimeDuration (W3C XML Schema 1.1, part 2, 3.4.27).
    """
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, dt.datetime):
        return timestamp_text(value)
    return _duration_text(value) if isinstance(value, dt.timedelta) else value.isoformat()


def timestamp_text(moment: dt.datetime) -> str:
    """Return the time in UTC as `YYYY-MM-DDTHH:MM:SS.ffffffZ`.

    A time without a zone counts as UTC.
    """
    aware = moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)
    return aware.isoformat(timespec="microseconds")[:-6] + "Z"


def _duration_text(duration: dt.timedelta) -> str:
    size = abs(duration)
    minutes, seconds = divmod(size.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    fraction = f".{size.microseconds:06d}".rstrip("0") if size.microseconds else ""
    parts = ((hours, "H"), (minutes, "M"))
    time = "".join(f"{number}{unit}" for number, unit in parts if number)
    if seconds or fraction:
        time += f"{seconds}{fraction}S"
    days = f"{size.days}D" if size.days else ""
    sign = "-" if duration < dt.timedelta() else ""
    return f"{sign}P{days}T{time}" if time else f"{sign}P{days}" if days else "PT0S"


def parse_duration(text: str) -> dt.timedelta:
    """Read an ISO 8601 duration.

    Years and months are refused, because they have no fixed length. Raises MisfitError for any other text, and
    OverflowError for a duration beyond Python's range.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise MisfitError(f"expected a duration such as P1DT2H30M, got {describe_kind(text)}")
    weeks, days, hours, minutes, seconds = (
        int(match[unit] or 0) for unit in ("weeks", "days", "hours", "minutes", "seconds")
    )
    size = dt.timedelta(
        days=weeks * 7 + days,
        hours=hours,
        minutes=minutes,
        seconds=seconds,
        microseconds=int((match["micros"] or "").ljust(6, "0")),
    )
    return -size if match["sign"] == "-" else size


def plain(value: object) -> object:
    """Return a value in JSON's types, with canonical texts."""
    if isinstance(value, TypedValue):
        return canonical_text(value)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def plain_row(row: Mapping[str, object]) -> dict[str, object]:
    """Return a row in JSON's types, with canonical texts."""
    return {name: value if type(value) in JSON_ATOMS else plain(value) for name, value in row.items()}


# -- rows that are stored and read again -----------------------------------------------------------------------------

_OBJECT = "$object"
_READERS: Mapping[str, Callable[[str], TypedValue]] = {
    "$decimal": Decimal,
    "$date": dt.date.fromisoformat,
    "$datetime": dt.datetime.fromisoformat,
    "$duration": parse_duration,
}


def encode(value: object) -> object:
    """Return a value in JSON's types, for `decode`.

    Raises ValueError for a time without a zone.
    """
    if isinstance(value, TypedValue):
        return {_tag(value): canonical_text(value)}
    if isinstance(value, Mapping):
        encoded = {key: encode(item) for key, item in value.items()}
        is_like_tagged = len(encoded) == 1 and str(next(iter(encoded))).startswith("$")
        return {_OBJECT: encoded} if is_like_tagged else encoded
    return [encode(item) for item in value] if isinstance(value, list | tuple) else value


def _tag(value: TypedValue) -> str:
    if isinstance(value, Decimal):
        return "$decimal"
    if isinstance(value, dt.datetime):
        if value.tzinfo is None:
            raise MisfitError("expected a date and time with a zone, got one without")
        return "$datetime"
    return "$duration" if isinstance(value, dt.timedelta) else "$date"


def decode(value: object) -> object:
    """Return the value that was encoded."""
    if isinstance(value, list):
        return [decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        [(tag, item)] = value.items()
        if tag == _OBJECT and isinstance(item, dict):
            return {name: decode(each) for name, each in item.items()}
        if tag in _READERS and isinstance(item, str):
            return _READERS[tag](item)
    return {name: decode(item) for name, item in value.items()}


def encode_row(row: Mapping[str, object]) -> dict[str, object]:
    """Return a row in JSON's types, for `decode_row`."""
    return {name: value if type(value) in JSON_ATOMS else encode(value) for name, value in row.items()}


def decode_row(row: Mapping[str, object]) -> dict[str, object]:
    """Return the row that was encoded."""
    return {name: value if type(value) in JSON_ATOMS else decode(value) for name, value in row.items()}

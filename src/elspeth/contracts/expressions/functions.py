"""The functions of expressions.

Each takes limited time and makes no value much larger than its arguments. A function with the name of a Python function
returns the same values. Functions raise MisfitError, ArithmeticError or TypeError if there is no result.
"""

from __future__ import annotations

import datetime as dt
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from typing import Any

from elspeth.contracts.coercion import (
    to_any_decimal,
    to_date,
    to_datetime,
    to_decimal,
    to_duration,
    to_float,
    to_integer,
    written,
)
from elspeth.contracts.errors import describe_kind
from elspeth.contracts.expressions.operations import compare, is_number
from elspeth.contracts.schema import MAX_INTEGER
from elspeth.contracts.values import DECIMALS, MAX_PLACES, MisfitError, bounded_decimal

__all__ = ["FUNCTIONS", "Function"]

_MANY = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function, with the numbers of arguments that it takes.

    `is_boolean` says whether its result is always true or false.
    """

    call: Callable[..., object]
    least: int = 1
    most: int = 1
    is_boolean: bool = False


# -- text and lists --------------------------------------------------------------------------------------------------


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise MisfitError(f"expected text, got {describe_kind(value)}")


def _length(value: object) -> int:
    if isinstance(value, str | list | tuple | Mapping):
        return len(value)
    raise MisfitError(f"expected text, a list or an object, got {describe_kind(value)}")


def _contains(text: object, part: object) -> bool:
    return _text(part) in _text(text)


# -- numbers ---------------------------------------------------------------------------------------------------------


def _number(value: object) -> int | float | Decimal:
    if is_number(value):
        return value
    raise MisfitError(f"expected a number, got {describe_kind(value)}")


def _absolute(value: object) -> object:
    if isinstance(value, dt.timedelta):
        return abs(value)
    number = _number(value)
    return number.copy_abs() if isinstance(number, Decimal) else abs(number)


def _round(value: object, places: object = None) -> object:
    number = _number(value)
    if places is None:
        return _whole(number, round, ROUND_HALF_EVEN)
    if isinstance(places, bool) or not isinstance(places, int) or abs(places) > MAX_PLACES:
        raise MisfitError(f"expected from -{MAX_PLACES} to {MAX_PLACES} decimal places")
    if isinstance(number, Decimal):
        rounded = number.quantize(Decimal(1).scaleb(-places), context=DECIMALS)
        return bounded_decimal(rounded)
    return round(number, places)


def _floor(value: object) -> int:
    return _whole(_number(value), math.floor, ROUND_FLOOR)


def _ceiling(value: object) -> int:
    return _whole(_number(value), math.ceil, ROUND_CEILING)


def _whole(number: float | Decimal, of_float: Callable[[float], int], of_decimal: str) -> int:
    if isinstance(number, Decimal):
        return _checked(int(number.to_integral_value(of_decimal)))
    if not math.isfinite(number):
        raise MisfitError("expected a finite number")
    return _checked(of_float(number))


def _checked(number: int) -> int:
    if abs(number) > MAX_INTEGER:
        raise MisfitError("the result is out of range")
    return number


def _choose(predicate: Callable[[Any, Any], object]) -> Callable[..., object]:
    """Return the function that chooses an extreme value.

    Of several equal values, it is the first.
    """

    def choose(*values: object) -> object:
        if len(values) == 1:
            if not isinstance(values[0], list | tuple) or not values[0]:
                raise MisfitError(f"expected several values or a list, got {describe_kind(values[0])}")
            values = tuple(values[0])
        chosen = values[0]
        for value in values[1:]:
            if compare(predicate, value, chosen):
                chosen = value
        return chosen

    return choose


# -- decimals, dates and times ---------------------------------------------------------------------------------------


def _decimal(value: object, places: object = None) -> Decimal:
    if places is None:
        return to_any_decimal(value)
    if isinstance(places, bool) or not isinstance(places, int) or not 0 <= places <= MAX_PLACES:
        raise MisfitError(f"expected from 0 to {MAX_PLACES} decimal places")
    return to_decimal(value, places)


def _date(value: object) -> dt.date:
    return value.date() if isinstance(value, dt.datetime) else to_date(value)


def _part_of_date(part: str) -> Callable[[object], object]:
    def read(value: object) -> object:
        if isinstance(value, dt.date):
            found = getattr(value, part)
            return found() if callable(found) else found
        raise MisfitError(f"expected a date or a time, got {describe_kind(value)}")

    return read


def _part_of_time(part: str) -> Callable[[object], object]:
    def read(value: object) -> object:
        if isinstance(value, dt.datetime):
            return getattr(value, part)
        raise MisfitError(f"expected a date and time, got {describe_kind(value)}")

    return read


def _seconds(value: object) -> float:
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    raise MisfitError(f"expected a duration, got {describe_kind(value)}")


FUNCTIONS: Mapping[str, Function] = {
    "abs": Function(call=_absolute),
    "ceil": Function(call=_ceiling),
    "contains": Function(call=_contains, least=2, most=2, is_boolean=True),
    "date": Function(call=_date),
    "datetime": Function(call=to_datetime),
    "day": Function(call=_part_of_date("day")),
    "decimal": Function(call=_decimal, most=2),
    "duration": Function(call=to_duration),
    "endswith": Function(call=lambda text, end: _text(text).endswith(_text(end)), least=2, most=2, is_boolean=True),
    "float": Function(call=to_float),
    "floor": Function(call=_floor),
    "hour": Function(call=_part_of_time("hour")),
    "int": Function(call=to_integer),
    "len": Function(call=_length),
    "lower": Function(call=lambda text: _text(text).lower()),
    "max": Function(call=_choose(operator.gt), most=_MANY),
    "min": Function(call=_choose(operator.lt), most=_MANY),
    "minute": Function(call=_part_of_time("minute")),
    "month": Function(call=_part_of_date("month")),
    "round": Function(call=_round, most=2),
    "second": Function(call=_part_of_time("second")),
    "seconds": Function(call=_seconds),
    "startswith": Function(
        call=lambda text, start: _text(text).startswith(_text(start)), least=2, most=2, is_boolean=True
    ),
    "strip": Function(call=lambda text: _text(text).strip()),
    "text": Function(call=written),
    "upper": Function(call=lambda text: _text(text).upper()),
    "weekday": Function(call=_part_of_date("isoweekday")),
    "year": Function(call=_part_of_date("year")),
}

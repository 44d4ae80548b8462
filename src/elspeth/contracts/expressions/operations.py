"""The operators of expressions.

They behave like Python's, except that values of different kinds are not compared by accident:

- A float that is combined with a decimal stands for the decimal that is written: `row['paid'] >= 99.9` compares with
  the decimal 99.9.
- A decimal, date, time or duration can only be compared with its own kind. To compare it with null, text or another
  kind is an error, where Python would return that they are not equal.
- Decimals are exact up to 18 places, and rounded half to even beyond.

Functions raise MisfitError, ArithmeticError or TypeError if there is no result.
"""

from __future__ import annotations

import ast
import datetime as dt
import operator
import sys
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, TypeGuard

from elspeth.contracts.coercion import to_any_decimal
from elspeth.contracts.errors import describe_kind
from elspeth.contracts.schema import MAX_INTEGER
from elspeth.contracts.values import DECIMALS, MisfitError, TypedValue, bounded_decimal

__all__ = ["COMPARISONS", "calculate", "compare", "contains", "is_number", "item_of", "negate", "type_name"]

_Predicate = Callable[[Any, Any], object]


def is_number(value: object) -> TypeGuard[int | float | Decimal]:
    """Return whether a value is a number; booleans are not."""
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def type_name(value: object) -> str:
    """Return the name of a value's type, for messages."""
    return "None" if value is None else type(value).__name__


# -- access ----------------------------------------------------------------------------------------------------------


def item_of(container: object, key: str | int) -> object:
    """Return an item of an object or list."""
    if isinstance(key, str):
        if not isinstance(container, Mapping):
            raise MisfitError(f"expected an object, got {describe_kind(container)}")
        if key not in container:
            raise MisfitError(f"there is no {key!r}")
        return container[key]
    if not isinstance(container, list | tuple):
        raise MisfitError(f"expected a list, got {describe_kind(container)}")
    if not -len(container) <= key < len(container):
        raise MisfitError(f"there is no item {key} in {describe_kind(container)}")
    return container[key]


# -- comparisons -----------------------------------------------------------------------------------------------------


def compare(predicate: _Predicate, left: object, right: object) -> object:
    """Return the result of comparing two values."""
    if isinstance(left, TypedValue) or isinstance(right, TypedValue):
        return _compare_typed(predicate, left, right)
    return predicate(left, right)


def _compare_typed(predicate: _Predicate, left: object, right: object) -> object:
    if is_number(left) and is_number(right):
        return predicate(_as_written(left), _as_written(right))
    is_equality = predicate in {operator.eq, operator.ne}
    if type(left) is type(right) or (is_equality and (left is None or right is None)):
        return predicate(left, right)
    text = " (text becomes a date, a time or a duration by date(), datetime() or duration())"
    hint = text if isinstance(left, str) or isinstance(right, str) else ""
    raise MisfitError(f"expected two values of one kind, got {describe_kind(left)} and {describe_kind(right)}{hint}")


def _as_written(number: float | Decimal) -> float | Decimal:
    return Decimal(repr(number)) if isinstance(number, float) else number


def contains(element: object, container: object) -> bool:
    """Return whether a container holds an element."""
    if isinstance(container, str):
        if not isinstance(element, str):
            raise TypeError(f"'in' on text needs text, got {type_name(element)}")
        return element in container
    if not isinstance(container, list | tuple | Mapping):
        raise TypeError(f"'in' needs text or a list on its right, got {type_name(container)}")
    if isinstance(element, TypedValue):
        return any(compare(operator.eq, element, item) for item in container)
    return element in container


COMPARISONS: Mapping[type[ast.cmpop], _Predicate] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: contains,
    ast.NotIn: lambda element, container: not contains(element, container),
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}
"""The predicates of comparisons. The first six are called by `compare`."""


# -- arithmetic ------------------------------------------------------------------------------------------------------

_PLAIN: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
}
_DECIMAL: Mapping[type[ast.operator], Callable[[Decimal, Decimal], Decimal]] = {
    ast.Add: DECIMALS.add,
    ast.Sub: DECIMALS.subtract,
    ast.Mult: DECIMALS.multiply,
    ast.Div: DECIMALS.divide,
    ast.Mod: DECIMALS.remainder,
}


def _move(day: dt.date, duration: dt.timedelta) -> dt.date:
    if duration != dt.timedelta(days=duration.days):
        raise MisfitError("expected a duration of whole days beside a date")
    return day + duration


_Times = tuple[type[ast.operator], type, type]
_TIMES: Mapping[_Times, Callable[[Any, Any], object]] = {
    (ast.Add, dt.date, dt.timedelta): _move,
    (ast.Add, dt.timedelta, dt.date): lambda duration, day: _move(day, duration),
    (ast.Sub, dt.date, dt.timedelta): lambda day, duration: _move(day, -duration),
    (ast.Sub, dt.date, dt.date): operator.sub,
    (ast.Add, dt.datetime, dt.timedelta): operator.add,
    (ast.Add, dt.timedelta, dt.datetime): operator.add,
    (ast.Sub, dt.datetime, dt.timedelta): operator.sub,
    (ast.Sub, dt.datetime, dt.datetime): operator.sub,
    (ast.Add, dt.timedelta, dt.timedelta): operator.add,
    (ast.Sub, dt.timedelta, dt.timedelta): operator.sub,
    (ast.Mult, dt.timedelta, int): operator.mul,
    (ast.Mult, int, dt.timedelta): operator.mul,
}
"""The operations on dates, times and durations."""


def calculate(kind: type[ast.operator], a: object, b: object) -> object:
    """Return the result of an arithmetic operator."""
    if is_number(a) and is_number(b):
        if isinstance(a, Decimal) or isinstance(b, Decimal):
            return _calculate_decimal(kind, to_any_decimal(a), to_any_decimal(b))
        result = _PLAIN[kind](a, b)
        if not abs(result) <= (MAX_INTEGER if isinstance(result, int) else sys.float_info.max):
            raise MisfitError("the result is out of range")
        return result
    if kind is ast.Add and isinstance(a, str) and isinstance(b, str):
        return a + b
    compute = _TIMES.get((kind, type(a), type(b)))
    if compute is not None:
        return compute(a, b)
    wanted = "two numbers or two texts" if kind is ast.Add else "two numbers"
    raise MisfitError(f"expected {wanted}, got {type_name(a)} and {type_name(b)}")


def _calculate_decimal(kind: type[ast.operator], a: Decimal, b: Decimal) -> Decimal:
    if not b and kind in {ast.Div, ast.Mod}:
        raise ZeroDivisionError("division by zero")
    return bounded_decimal(_DECIMAL[kind](a, b))


def negate(value: object) -> object:
    """Return the opposite of a number or duration."""
    if isinstance(value, Decimal):
        return bounded_decimal(value.copy_negate())
    if is_number(value) or isinstance(value, dt.timedelta):
        return -value
    raise MisfitError(f"expected a number, got {type_name(value)}")

"""Reads from annotations what functions take and return."""

from __future__ import annotations

import datetime as dt
import inspect
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

from elspeth.contracts.errors import describe_kind
from elspeth.contracts.expressions import EvaluationError
from elspeth.contracts.plugins.exchange import RowDrop, RowError
from elspeth.contracts.python_functions.loading import FunctionError, LoadedFunction, load_function
from elspeth.contracts.rows import RowData

__all__ = ["BatchFunction", "RowFunction", "batch_function", "row_function"]

_VALUES: Mapping[object, tuple[type, ...]] = {
    bool: (bool,),
    int: (int,),
    float: (float, int),
    str: (str,),
    list: (list,),
    dict: (dict,),
    Decimal: (Decimal,),
    dt.date: (dt.date,),
    dt.datetime: (dt.datetime,),
    dt.timedelta: (dt.timedelta,),
    NoneType: (NoneType,),
}
"""The types of values that annotations allow. As for type checkers, `float` also allows integers."""

_ANYTHING = (Any, object)
_MAPPINGS = (dict, Mapping)
_LISTS = (list, Sequence)
_ANSWERS = (RowError, RowDrop, NoneType)
"""The types that a function may return instead of a row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parameter:
    """A parameter with the name of a field.

    `types` are the allowed types of its values, or None for any.
    """

    name: str
    types: frozenset[type] | None
    expected: str
    is_required: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFunction:
    """A function of a row, or of its fields.

    `parameters` are the fields, or None for the whole row. `returns` holds the alternatives of its annotated result.
    """

    loaded: LoadedFunction
    parameters: tuple[_Parameter, ...] | None
    returns: tuple[object, ...]

    @property
    def source(self) -> str:
        """Return the path of the function."""
        return self.loaded.path

    @property
    def names_fields(self) -> bool:
        """Return whether it takes fields by their names."""
        return self.parameters is not None

    @property
    def returns_rows(self) -> bool:
        """Return whether it may return several rows."""
        return any(_is_list_of_rows(each) for each in self.returns)

    @property
    def returns_none(self) -> bool:
        """Return whether it may return None."""
        return NoneType in self.returns

    def require_rows(self) -> None:
        """Raise FunctionError unless the function returns rows."""
        rows = [each for each in self.returns if each not in _ANSWERS]
        if not rows or not all(_is_row(each) or _is_list_of_rows(each) for each in rows):
            raise FunctionError(
                f"function {self.source!r}: expected to return a row (`dict[str, object]`) or a list of rows, got "
                f"{_shown(self.returns)}: name the field for another result with `result`"
            )

    def label_problem(self, labels: Collection[str]) -> str | None:
        """Return why a gate with these labels cannot use it."""
        if self.returns == (bool,):
            possible = {"true", "false"}
        elif all(get_origin(each) is Literal for each in self.returns):
            possible = {str(value) for each in self.returns for value in get_args(each)}
        elif self.returns in ((str,), (int,)):
            return None
        else:
            return f"expected to return bool, str, int or Literal, got {_shown(self.returns)}"
        if possible == set(labels):
            return None
        expected, got = (", ".join(map(repr, sorted(each))) for each in (possible, labels))
        return f"expected the labels that the function returns, {expected}, got {got}"

    def evaluate(self, row: Mapping[str, object]) -> object:
        """Return the result of the function for a row.

        The function may change the row. Raises EvaluationError if the row lacks a field or has a value of another type,
        and all errors of the function.
        """
        if self.parameters is None:
            return self.loaded.function(row)
        values = {}
        for each in self.parameters:
            if each.name not in row:
                if each.is_required:
                    raise EvaluationError(f"field {each.name!r} is missing", field=each.name)
                continue
            value = row[each.name]
            # The exact type counts: True is not an integer here, and a datetime is not a date.
            if each.types is not None and type(value) not in each.types:
                problem = f"field {each.name!r}: expected {each.expected}, got {describe_kind(value)}"
                raise EvaluationError(problem, field=each.name)
            values[each.name] = value
        return self.loaded.function(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFunction:
    """A function of a list of rows that returns rows."""

    loaded: LoadedFunction

    def evaluate(self, rows: list[RowData]) -> object:
        """Return the result of the function for a batch."""
        found = self.loaded.function(rows)
        return [found] if isinstance(found, dict) else found


def row_function(path: str, directory: str | None = None) -> RowFunction:
    """Import a function of a row, or of fields.

    One parameter that is annotated as a mapping takes the row. Otherwise each parameter takes the field of its name.

    Raises FunctionError if it cannot be imported, or its annotations cannot be used.
    """
    loaded = load_function(path, directory)
    parameters, hints = _annotations(loaded)
    is_of_row = len(parameters) == 1 and _is_row(hints[parameters[0].name])
    return RowFunction(
        loaded=loaded,
        parameters=None if is_of_row else tuple(_field_parameter(path, each, hints) for each in parameters),
        returns=_alternatives(hints["return"]),
    )


def batch_function(path: str, directory: str | None = None) -> BatchFunction:
    """Import a function of a batch.

    Its parameter is annotated as a list of rows; it returns such a list, or a row.

    Raises FunctionError if it cannot be imported, or has other annotations.
    """
    loaded = load_function(path, directory)
    parameters, hints = _annotations(loaded)
    if len(parameters) != 1 or not _is_list_of_rows(hints[parameters[0].name]):
        expected = "expected one parameter that takes a list of rows (`list[dict[str, object]]`)"
        raise FunctionError(f"function {path!r}: {expected}, got {_shown([hints[each.name] for each in parameters])}")
    returns = [each for each in _alternatives(hints["return"]) if each is not RowError]
    if not returns or not all(_is_row(each) or _is_list_of_rows(each) for each in returns):
        raise FunctionError(f"function {path!r}: expected to return a list of rows or a row, got {_shown(returns)}")
    return BatchFunction(loaded=loaded)


def _annotations(loaded: LoadedFunction) -> tuple[list[inspect.Parameter], Mapping[str, object]]:
    """Return the parameters, and all annotations by name."""
    path, function = loaded.path, loaded.function
    parameters = list(inspect.signature(function).parameters.values())
    try:
        hints = get_type_hints(function)
    except Exception as error:  # an annotation may be any expression
        raise FunctionError(
            f"function {path!r}: its annotations have no value: {type(error).__name__}: {error}"
        ) from error
    missing = [each.name for each in parameters if each.name not in hints]
    missing += [] if "return" in hints else ["the result"]
    if missing:
        raise FunctionError(f"function {path!r} needs annotations, which say what it takes: {', '.join(missing)}")
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    if not parameters or any(each.kind not in by_name for each in parameters):
        raise FunctionError(f"function {path!r}: expected parameters that can be given by name, no `*` or `/`")
    return parameters, hints


def _field_parameter(path: str, parameter: inspect.Parameter, hints: Mapping[str, object]) -> _Parameter:
    alternatives = _alternatives(hints[parameter.name])
    types: set[type] = set()
    for each in alternatives:
        found = _VALUES.get(get_origin(each) or each)
        if found is None and each not in _ANYTHING:
            raise FunctionError(
                f"function {path!r}: parameter {parameter.name!r} takes {_name(each)}, which no field has: expected "
                f"{', '.join(_name(known) for known in _VALUES)}, object, or `dict[str, object]` for the row"
            )
        types |= set(found or ())
    is_any = any(each in _ANYTHING for each in alternatives)
    return _Parameter(
        name=parameter.name,
        types=None if is_any else frozenset(types),
        expected=_shown(alternatives),
        is_required=parameter.default is parameter.empty,
    )


def _alternatives(annotation: object) -> tuple[object, ...]:
    """Return the members of a union, or the annotation alone."""
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _is_row(annotation: object) -> bool:
    return is_typeddict(annotation) or (get_origin(annotation) or annotation) in _MAPPINGS


def _is_list_of_rows(annotation: object) -> bool:
    arguments = get_args(annotation)
    return get_origin(annotation) in _LISTS and len(arguments) == 1 and _is_row(arguments[0])


def _shown(annotations: Collection[object]) -> str:
    return " | ".join(map(_name, annotations)) or "nothing"


def _name(annotation: object) -> str:
    if annotation is NoneType:
        return "None"
    return annotation.__name__ if isinstance(annotation, type) and not get_args(annotation) else str(annotation)

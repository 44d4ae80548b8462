"""The transforms `filter` and `value_transform`, which evaluate expressions."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from elspeth.contracts.expressions import EvaluationError, ExpressionError, compile_expression
from elspeth.contracts.plugins import FieldOrigins, RowDrop, RowError, Transform, TransformOptions
from elspeth.contracts.rows import RowData

__all__ = [
    "Expressions",
    "FilterOptions",
    "FilterTransform",
    "ValueTransform",
    "ValueTransformOptions",
    "evaluation_error",
]


def _check_condition(source: str) -> str:
    try:
        compile_expression(source)
    except ExpressionError as error:
        raise ValueError(f"the condition {error}") from error
    return source


def _check_expressions(expressions: dict[str, str]) -> dict[str, str]:
    for name, source in expressions.items():
        try:
            compile_expression(source)
        except ExpressionError as error:
            raise ValueError(f"the expression for {name!r} {error}") from error
    return expressions


Expressions = Annotated[dict[str, str], AfterValidator(_check_expressions)]
"""Expressions by the names of the fields that they compute."""


def evaluation_error(error: EvaluationError) -> RowError:
    """Return the error of an expression without a value."""
    return RowError(message=str(error), details={} if error.field is None else {"field": error.field})


class FilterOptions(TransformOptions):
    """Options of the transform `filter`."""

    condition: Annotated[str, AfterValidator(_check_condition)] = Field(
        description="An expression; rows for which it is true go on."
    )


class FilterTransform(Transform):
    """Drops the rows for which a condition is not true.

    A dropped row goes nowhere. It is not a failure: its outcome is `dropped`, and the trail names the condition. A gate
    sends such rows elsewhere instead.
    """

    name = "filter"
    plugin_version = "1.0.0"
    options_model = FilterOptions

    def __init__(self, options: FilterOptions) -> None:
        super().__init__(options)
        self._condition = compile_expression(options.condition)
        self._drop = RowDrop(reason="the condition is not true", details={"condition": options.condition})

    def field_origins(self) -> FieldOrigins:
        """Return that all fields are unchanged."""
        return FieldOrigins()

    def process(self, row: RowData) -> RowData | RowError | RowDrop:
        """Return the row, or drop it."""
        try:
            return row if self._condition.evaluate(row) else self._drop
        except EvaluationError as error:
            return evaluation_error(error)


class ValueTransformOptions(TransformOptions):
    """Options of the transform `value_transform`."""

    fields: Expressions = Field(
        min_length=1,
        description="Fields to compute, in this order: the name of each with its expression. An expression sees the "
        "fields computed before it.",
    )


class ValueTransform(Transform):
    """Computes fields one after the other.

    A field that exists is replaced. A row fails if an expression has no value for it.
    """

    name = "value_transform"
    plugin_version = "1.0.0"
    options_model = ValueTransformOptions

    def __init__(self, options: ValueTransformOptions) -> None:
        super().__init__(options)
        self._expressions = {name: compile_expression(source) for name, source in options.fields.items()}

    def field_origins(self) -> FieldOrigins:
        """Return the fields that the expressions read."""
        derived: dict[str, list[str]] = {}
        for name, expression in self._expressions.items():
            read = (derived.get(each, [each]) for each in expression.fields)
            derived[name] = sorted({origin for origins in read for origin in origins})
        return FieldOrigins(derived=derived)

    def process(self, row: RowData) -> RowData | RowError:
        """Return the row with the computed fields."""
        for name, expression in self._expressions.items():
            try:
                row[name] = expression.evaluate(row)
            except EvaluationError as error:
                return evaluation_error(error)
        return row

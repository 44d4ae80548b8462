"""Fields renamed and computed."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from elspeth.contracts.expressions import EvaluationError, ExpressionError, compile_expression
from elspeth.contracts.plugins import Row, RowError
from elspeth.plugins.base import Transform, TransformOptions

__all__ = ["FieldMapperOptions", "FieldMapperTransform"]


def _distinct(mappings: dict[str, str]) -> dict[str, str]:
    targets = list(mappings.values())
    repeated = sorted({name for name in targets if targets.count(name) > 1})
    if repeated:
        raise ValueError(f"two fields would both be named {repeated[0]!r}")
    return mappings


def _compilable(computed: dict[str, str]) -> dict[str, str]:
    for name, source in computed.items():
        try:
            compile_expression(source)
        except ExpressionError as error:
            raise ValueError(f"the expression for {name!r} {error}") from error
    return computed


class FieldMapperOptions(TransformOptions):
    """Options of the field mapper: new names by old names, and expressions of the gate language by field."""

    mappings: Annotated[dict[str, str], AfterValidator(_distinct)] = Field(default={})
    computed: Annotated[dict[str, str], AfterValidator(_compilable)] = Field(default={})


class FieldMapperTransform(Transform):
    """Renames fields, then computes fields from the renamed row.

    A row fails that lacks a field to be renamed, that has another field of the new name already, or for which an
    expression has no value. All expressions see the same row: none sees what another computes.
    """

    name = "field_mapper"
    plugin_version = "1.0.0"
    options_model = FieldMapperOptions

    def __init__(self, options: FieldMapperOptions) -> None:
        super().__init__(options)
        self._mappings = options.mappings
        self._computed = {name: compile_expression(source) for name, source in options.computed.items()}

    def process(self, row: Row) -> Row | RowError:
        """The row with its fields renamed in place and the computed ones set."""
        missing = [name for name in self._mappings if name not in row]
        if missing:
            return RowError(message=f"field {missing[0]!r} is missing", details={"field": missing[0]})
        kept = row.keys() - self._mappings.keys()
        taken = [name for name in self._mappings.values() if name in kept]
        if taken:
            return RowError(message=f"field {taken[0]!r} exists already", details={"field": taken[0]})
        renamed = {self._mappings.get(name, name): value for name, value in row.items()}
        try:
            computed = {name: expression.evaluate(renamed) for name, expression in self._computed.items()}
        except EvaluationError as error:
            return RowError(message=str(error), details={} if error.field is None else {"field": error.field})
        return renamed | computed

"""The errors of expressions."""

from __future__ import annotations

from elspeth.contracts.errors import RecordableError

__all__ = ["EvaluationError", "ExpressionError"]


class ExpressionError(ValueError):
    """A text is not an expression of the language."""


class EvaluationError(RecordableError, ValueError):
    """An expression has no value for this row.

    `field` is the field of the row that causes the error, or None.
    """

    def __init__(self, problem: str, *, field: str | None) -> None:
        super().__init__(problem)
        self.field = field

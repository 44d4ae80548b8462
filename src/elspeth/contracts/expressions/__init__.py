"""The language of conditions and computed fields over one row.

An expression is compiled once, from a subset of Python's syntax: access to fields and what they hold, comparisons,
`and or not`, `+ - * / %`, `in`, literals, `x if c else y`, and functions. Python's own evaluator never sees it: each
node becomes a closure. Where an expression has a value, it is the one that Python would give, with few exceptions: see
`operations`. It is safe to evaluate on hostile rows. There are no loops, the size of an expression is limited, no
operator builds a value larger than its operands together, and a function makes a text at most three times as long.
"""

from elspeth.contracts.expressions.compiling import Expression, compile_expression, route_label
from elspeth.contracts.expressions.errors import EvaluationError, ExpressionError
from elspeth.contracts.expressions.reading import NotedRow

__all__ = ["EvaluationError", "Expression", "ExpressionError", "NotedRow", "compile_expression", "route_label"]

"""The language of conditions and computed fields over one row.

An expression is compiled once, from a subset of Python's syntax: access to fields and to items inside them,
comparisons, `and or not`, `+ - * / %`, `in`, literals, `x if c else y`, and functions. Python's own evaluator is not
used: each node becomes a closure. If an expression has a value, it is the value that Python would compute, with the few
exceptions that `operations` lists. Expressions are safe to evaluate on hostile rows: there are no loops, the size of an
expression is limited, no operator builds a value larger than its operands together, and no function makes a text more
than three times as long.
"""

from elspeth.contracts.expressions.compiling import Expression, compile_expression, route_label
from elspeth.contracts.expressions.errors import EvaluationError, ExpressionError
from elspeth.contracts.expressions.reading import NotedRow

__all__ = ["EvaluationError", "Expression", "ExpressionError", "NotedRow", "compile_expression", "route_label"]

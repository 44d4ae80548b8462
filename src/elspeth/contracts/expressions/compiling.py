"""Compiles syntax trees to expressions: each node becomes a closure."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from elspeth.contracts.expressions.errors import EvaluationError, ExpressionError
from elspeth.contracts.expressions.functions import FUNCTIONS, Function
from elspeth.contracts.expressions.operations import COMPARISONS, calculate, compare, item_of, negate
from elspeth.contracts.expressions.parsing import (
    column_of,
    describe_node,
    find_fields,
    is_boolean,
    not_allowed_error,
    parse_expression,
)
from elspeth.contracts.schema import MAX_INTEGER
from elspeth.contracts.values import MisfitError, TypedValue, canonical_text

__all__ = ["Expression", "compile_expression", "route_label"]

_RowData = Mapping[str, object]  # read only
_Evaluator = Callable[[_RowData], object]

_FAILURES = (MisfitError, ArithmeticError, TypeError, RecursionError)
"""The errors of operations without a result. None of their messages repeats a value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """A compiled expression.

    `is_boolean` says whether its value is always true or false. `fields` are the fields of the row that it reads.
    """

    source: str
    is_boolean: bool
    fields: frozenset[str]
    _evaluator: _Evaluator

    @property
    def names_fields(self) -> bool:
        """Return whether it reads fields by their names."""
        return True

    def evaluate(self, row: Mapping[str, object]) -> object:
        """Return the value for a row.

        Raises EvaluationError if the expression has no value.
        """
        return self._evaluator(row)


def compile_expression(source: str) -> Expression:
    """Compile an expression.

    Raises ExpressionError, with the column of the first construct that is not allowed.
    """
    tree = parse_expression(source)
    return Expression(
        source=source,
        is_boolean=is_boolean(tree),
        fields=frozenset(find_fields(tree)),
        _evaluator=_compile(tree),
    )


def route_label(value: object) -> str:
    """Return the label of the route that a value selects."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return canonical_text(value) if isinstance(value, TypedValue) else str(value)


def _compile(node: ast.expr) -> _Evaluator:
    compiler = _COMPILERS.get(type(node))
    if compiler is None:
        raise not_allowed_error(node)
    return compiler(node)


def _failure(node: ast.expr) -> Callable[[Exception], EvaluationError]:
    """Return the function that makes the error of a node."""
    source, field = ast.unparse(node), next(find_fields(node), None)
    return lambda error: EvaluationError(f"{source}: {error}", field=field)


# -- literals --------------------------------------------------------------------------------------------------------


def _return_constant(value: object) -> _Evaluator:
    def evaluate(_row: _RowData) -> object:
        return value

    return evaluate


def _compile_literal(node: ast.Constant) -> _Evaluator:
    value = node.value
    if not isinstance(value, str | int | float | bool | None):
        raise not_allowed_error(node)
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise ExpressionError(f"has the integer {ast.unparse(node)[:20]}: expected at most {MAX_INTEGER}")
    return _return_constant(value)


def _compile_collection(node: ast.List | ast.Tuple | ast.Set) -> _Evaluator:
    """Compile a collection of literals to a constant."""
    for element in node.elts:
        if not _is_constant(element):
            raise ExpressionError(
                f"has {describe_node(element)} in a collection{column_of(element)}: expected literals only"
            )
    return _return_constant(tuple(_compile(element)({}) for element in node.elts))


def _is_constant(node: ast.expr) -> bool:
    """Return whether the value of a node is constant."""
    match node:
        case ast.Constant() | ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=ast.Constant(value=int() | float())):
            return True
        case ast.Call(func=ast.Name(), args=arguments):
            return all(map(_is_constant, arguments))
        case _:
            return False


# -- access ----------------------------------------------------------------------------------------------------------


def _compile_subscript(node: ast.Subscript) -> _Evaluator:
    match node:
        case ast.Subscript(value=ast.Name(id="row"), slice=ast.Constant(value=str(name))):
            return _compile_field(name)
        case ast.Subscript(value=ast.Subscript() | ast.Call() as container, slice=index):
            return _compile_item(node, container, _literal_key(node, index))
        case _:
            raise ExpressionError(f"has a subscript{column_of(node)}: expected row['field'] with a literal field name")


def _literal_key(node: ast.Subscript, index: ast.expr) -> str | int:
    match index:
        case ast.Constant(value=str(key)):
            return key
        case ast.Constant(value=int(key)) if not isinstance(key, bool):
            return key
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int(key))) if not isinstance(key, bool):
            return -key
        case _:
            raise ExpressionError(f"has a subscript{column_of(node)}: expected a literal name or index in it")


def _compile_field(name: str) -> _Evaluator:
    def read(row: _RowData) -> object:
        try:
            return row[name]
        except KeyError:
            raise EvaluationError(f"the row has no field {name!r}", field=name) from None

    return read


def _compile_item(node: ast.expr, container: ast.expr, key: str | int) -> _Evaluator:
    evaluate, failure = _compile(container), _failure(node)

    def read(row: _RowData) -> object:
        held = evaluate(row)
        try:
            return item_of(held, key)
        except MisfitError as error:
            raise failure(error) from error

    return read


def _compile_get(node: ast.Call) -> _Evaluator:
    match node:
        case ast.Call(
            func=ast.Attribute(value=container), args=[ast.Constant(value=str(name)), *rest], keywords=[]
        ) if len(rest) <= 1:
            default = _compile(rest[0]) if rest else _return_constant(None)
        case _:
            raise ExpressionError(
                f"has a call{column_of(node)}: expected row.get('field') or row.get('field', default)"
            )
    if isinstance(container, ast.Name) and container.id == "row":
        return lambda row: row[name] if name in row else default(row)
    if not isinstance(container, ast.Subscript | ast.Call):
        raise not_allowed_error(container)
    evaluate, failure = _compile(container), _failure(node)

    def read(row: _RowData) -> object:
        held = evaluate(row)
        if held is None or (isinstance(held, Mapping) and name not in held):
            return default(row)
        try:
            return item_of(held, name)
        except MisfitError as error:
            raise failure(error) from error

    return read


# -- functions -------------------------------------------------------------------------------------------------------


def _compile_call(node: ast.Call) -> _Evaluator:
    match node.func:
        case ast.Attribute(attr="get"):
            return _compile_get(node)
        case ast.Attribute(value=value, attr=name) if name in FUNCTIONS:
            written = f"{name}({ast.unparse(value)}{', ...' if FUNCTIONS[name].least > 1 else ''})"
            raise ExpressionError(f"has a method{column_of(node)}: functions are written as {written}")
        case ast.Name(id=name):
            return _compile_function(node, name)
        case _:
            raise ExpressionError(
                f"has a call{column_of(node)}: expected row.get('field') or row.get('field', default)"
            )


def _compile_function(node: ast.Call, name: str) -> _Evaluator:
    function = FUNCTIONS.get(name)
    if function is None:
        nearest = difflib.get_close_matches(name, FUNCTIONS, 1)
        guess = f"; did you mean {nearest[0]!r}?" if nearest else ""
        raise ExpressionError(
            f"calls {name!r}{column_of(node)}, which is no function: expected one of {', '.join(FUNCTIONS)}{guess}"
        )
    if node.keywords or not function.least <= len(node.args) <= function.most:
        raise ExpressionError(f"calls {name!r}{column_of(node)}: expected {_arity(function)}")
    arguments, call, failure = [_compile(argument) for argument in node.args], function.call, _failure(node)

    def evaluate(row: _RowData) -> object:
        values = [argument(row) for argument in arguments]
        try:
            return call(*values)
        except _FAILURES as error:
            raise failure(error) from error

    if not _is_constant(node):
        return evaluate
    try:
        return _return_constant(evaluate({}))
    except EvaluationError as error:
        raise ExpressionError(f"has no value{column_of(node)}: {error}") from error


def _arity(function: Function) -> str:
    if function.least == function.most:
        return f"{function.least} argument{'' if function.least == 1 else 's'}"
    return f"from {function.least} to {function.most} arguments"


# -- operators -------------------------------------------------------------------------------------------------------


def _compile_conditional(node: ast.IfExp) -> _Evaluator:
    condition, then, otherwise = _compile(node.test), _compile(node.body), _compile(node.orelse)
    return lambda row: then(row) if condition(row) else otherwise(row)


def _compile_comparison(node: ast.Compare) -> _Evaluator:
    operands = [node.left, *node.comparators]
    steps: list[tuple[Callable[[Any, Any], object], bool, _Evaluator]] = []
    for op, left, right in zip(node.ops, operands[:-1], operands[1:], strict=True):
        is_identity = isinstance(op, ast.Is | ast.IsNot)
        if is_identity and not any(isinstance(side, ast.Constant) and side.value is None for side in (left, right)):
            raise ExpressionError(f"uses 'is'{column_of(left)}: expected it with None only, and == for other values")
        is_direct = is_identity or isinstance(op, ast.In | ast.NotIn)
        steps.append((COMPARISONS[type(op)], is_direct, _compile(right)))
    first, failure = _compile(node.left), _failure(node)

    def evaluate(row: _RowData) -> object:
        left = first(row)
        for predicate, is_direct, evaluator in steps:
            right = evaluator(row)
            try:
                if not (predicate(left, right) if is_direct else compare(predicate, left, right)):
                    return False
            except _FAILURES as error:
                raise failure(error) from error
            left = right
        return True

    return evaluate


def _compile_boolean(node: ast.BoolOp) -> _Evaluator:
    """Compile `and` or `or`, which return the deciding operand."""
    *initial, last = map(_compile, node.values)
    stops_at = isinstance(node.op, ast.Or)

    def decide(row: _RowData) -> object:
        for evaluator in initial:
            value = evaluator(row)
            if bool(value) is stops_at:
                return value
        return last(row)

    return decide


def _compile_unary(node: ast.UnaryOp) -> _Evaluator:
    operand, failure = _compile(node.operand), _failure(node)
    if isinstance(node.op, ast.Not):
        return lambda row: not operand(row)
    if not isinstance(node.op, ast.USub | ast.UAdd):
        raise not_allowed_error(node)
    is_negative = isinstance(node.op, ast.USub)

    def evaluate(row: _RowData) -> object:
        value = operand(row)
        try:
            opposite = negate(value)
        except _FAILURES as error:
            raise failure(error) from error
        return opposite if is_negative else value

    return evaluate


_ARITHMETIC = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Mod)


def _compile_arithmetic(node: ast.BinOp) -> _Evaluator:
    kind = type(node.op)
    if kind not in _ARITHMETIC:
        raise not_allowed_error(node)
    left, right, failure = _compile(node.left), _compile(node.right), _failure(node)

    def evaluate(row: _RowData) -> object:
        a, b = left(row), right(row)
        try:
            return calculate(kind, a, b)
        except _FAILURES as error:
            raise failure(error) from error

    return evaluate


_COMPILERS: Mapping[type[ast.expr], Callable[[Any], _Evaluator]] = {
    ast.BinOp: _compile_arithmetic,
    ast.BoolOp: _compile_boolean,
    ast.Call: _compile_call,
    ast.Compare: _compile_comparison,
    ast.Constant: _compile_literal,
    ast.IfExp: _compile_conditional,
    ast.List: _compile_collection,
    ast.Set: _compile_collection,
    ast.Subscript: _compile_subscript,
    ast.Tuple: _compile_collection,
    ast.UnaryOp: _compile_unary,
}

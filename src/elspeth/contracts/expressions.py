"""The language of conditions over one row.

An expression is compiled once, from a subset of Python's syntax: ``row['f']``, ``row.get('f', d)``, comparisons, ``and
or not``, ``+ - * / %``, ``in``, literals and ``x if c else y``. Python's own evaluator never sees it: each node becomes
a closure. It is safe to evaluate on hostile rows: there are no loops, the size of an expression is limited, and no
operator builds a value larger than its operands together (``*`` and ``%`` take numbers only).
"""

from __future__ import annotations

import ast
import operator
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from elspeth.contracts.errors import RecordableError
from elspeth.contracts.schema import MAX_INTEGER
from elspeth.contracts.values import TypedValue, canonical_text

__all__ = ["EvaluationError", "Expression", "ExpressionError", "compile_expression", "route_label"]

_MAX_SOURCE_LENGTH = 2_000
_MAX_NODES = 500
_MAX_DEPTH = 40

_RowData = Mapping[str, object]  # read only
_Evaluator = Callable[[_RowData], object]
_Predicate = Callable[[Any, Any], object]


class ExpressionError(ValueError):
    """A text that is not an expression of the language."""


class EvaluationError(RecordableError, ValueError):
    """An expression has no value for this row.

    `field` is the field of the row that is the reason, if there is one.
    """

    def __init__(self, problem: str, *, field: str | None) -> None:
        super().__init__(problem)
        self.field = field


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """A compiled condition.

    `is_boolean` is true if every value that it can have is true or false.
    """

    source: str
    is_boolean: bool
    fields: frozenset[str]
    _evaluator: _Evaluator

    def evaluate(self, row: Mapping[str, object]) -> object:
        """Return the value for a row.

        Raises EvaluationError if there is none.
        """
        return self._evaluator(row)


def compile_expression(source: str) -> Expression:
    """Compile a condition.

    Raises ExpressionError, with the column of the first construct that is not allowed.
    """
    if len(source) > _MAX_SOURCE_LENGTH:
        raise ExpressionError(f"is too long: expected at most {_MAX_SOURCE_LENGTH} characters, got {len(source)}")
    if not source.strip():
        raise ExpressionError("is empty: expected a condition such as row['field'] == 'value'")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # an invalid escape such as '\\d' becomes a SyntaxError
            tree = ast.parse(source.strip(), mode="eval").body
    except SyntaxError as error:
        where = f" at column {error.offset}" if error.offset else ""
        raise ExpressionError(f"is not a valid expression{where}: {error.msg}") from error
    except (ValueError, MemoryError, RecursionError) as error:
        raise ExpressionError(f"is not a valid expression: {str(error) or 'nested too deeply'}") from error
    _check_size(tree)
    return Expression(
        source=source,
        is_boolean=_is_boolean(tree),
        fields=frozenset(_find_fields(tree)),
        _evaluator=_compile(tree),
    )


def route_label(value: object) -> str:
    """Return the label of the route that a value selects."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return canonical_text(value) if isinstance(value, TypedValue) else str(value)


def _check_size(tree: ast.expr) -> None:
    """Refuse large trees before anything walks them recursively."""
    level: list[ast.AST] = [tree]
    nodes = depth = 0
    while level:
        depth += 1
        nodes += len(level)
        if depth > _MAX_DEPTH or nodes > _MAX_NODES:
            raise ExpressionError(f"is too complex: expected at most {_MAX_NODES} parts and {_MAX_DEPTH} levels")
        level = [child for node in level for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]


def _is_boolean(node: ast.expr) -> bool:
    """Return whether every value is true or false."""
    match node:
        case ast.Compare() | ast.UnaryOp(op=ast.Not()) | ast.Constant(value=bool()):
            return True
        case ast.BoolOp(values=values):
            return all(map(_is_boolean, values))
        case ast.IfExp(body=body, orelse=orelse):
            return _is_boolean(body) and _is_boolean(orelse)
        case _:
            return False


def _find_fields(node: ast.expr) -> Iterator[str]:
    """Yield the fields of the row that a subtree reads."""
    for child in ast.walk(node):
        match child:
            case ast.Subscript(slice=ast.Constant(value=str(name))):
                yield name
            case ast.Call(args=[ast.Constant(value=str(name)), *_]):
                yield name


def _compile(node: ast.expr) -> _Evaluator:
    compiler = _COMPILERS.get(type(node))
    if compiler is None:
        raise _not_allowed(node)
    return compiler(node)


def _return_constant(value: object) -> _Evaluator:
    def evaluate(_row: _RowData) -> object:
        return value

    return evaluate


def _compile_literal(node: ast.Constant) -> _Evaluator:
    value = node.value
    if not isinstance(value, str | int | float | bool | None):
        raise _not_allowed(node)
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise ExpressionError(f"has the integer {ast.unparse(node)[:20]}: expected at most {MAX_INTEGER}")
    return _return_constant(value)


def _compile_collection(node: ast.List | ast.Tuple | ast.Set) -> _Evaluator:
    """Compile a collection of literals to a constant."""
    for element in node.elts:
        match element:
            case ast.Constant() | ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=ast.Constant(value=int() | float())):
                pass
            case _:
                raise ExpressionError(f"has {_describe(element)} in a collection{_at(element)}: expected literals only")
    return _return_constant(tuple(_compile(element)({}) for element in node.elts))


def _compile_conditional(node: ast.IfExp) -> _Evaluator:
    condition, then, otherwise = _compile(node.test), _compile(node.body), _compile(node.orelse)
    return lambda row: then(row) if condition(row) else otherwise(row)


def _compile_subscript(node: ast.Subscript) -> _Evaluator:
    match node:
        case ast.Subscript(value=ast.Name(id="row"), slice=ast.Constant(value=str(name))):
            pass
        case _:
            raise ExpressionError(f"has a subscript{_at(node)}: expected row['field'] with a literal field name")

    def read(row: _RowData) -> object:
        try:
            return row[name]
        except KeyError:
            raise EvaluationError(f"the row has no field {name!r}", field=name) from None

    return read


def _compile_get(node: ast.Call) -> _Evaluator:
    match node:
        case ast.Call(
            func=ast.Attribute(value=ast.Name(id="row"), attr="get"),
            args=[ast.Constant(value=str(name))],
            keywords=[],
        ):
            return lambda row: row.get(name)
        case ast.Call(
            func=ast.Attribute(value=ast.Name(id="row"), attr="get"),
            args=[ast.Constant(value=str(name)), default],
            keywords=[],
        ):
            otherwise = _compile(default)
            return lambda row: row[name] if name in row else otherwise(row)
        case _:
            raise ExpressionError(f"has a call{_at(node)}: expected row.get('field') or row.get('field', default)")


def _contains(element: object, container: object) -> bool:
    if isinstance(container, str):
        if not isinstance(element, str):
            raise TypeError(f"'in' on text needs text, got {_type_name(element)}")
        return element in container
    if isinstance(container, list | tuple | Mapping):
        return element in container
    raise TypeError(f"'in' needs text or a list on its right, got {_type_name(container)}")


_COMPARISONS: Mapping[type[ast.cmpop], _Predicate] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: _contains,
    ast.NotIn: lambda element, container: not _contains(element, container),
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}


def _compile_comparison(node: ast.Compare) -> _Evaluator:
    operands = [node.left, *node.comparators]
    steps: list[tuple[_Predicate, _Evaluator]] = []
    for op, left, right in zip(node.ops, operands[:-1], operands[1:], strict=True):
        if isinstance(op, ast.Is | ast.IsNot) and not any(
            isinstance(side, ast.Constant) and side.value is None for side in (left, right)
        ):
            raise ExpressionError(f"uses 'is'{_at(left)}: expected it with None only, and == for other values")
        steps.append((_COMPARISONS[type(op)], _compile(right)))
    first, field = _compile(node.left), next(_find_fields(node), None)

    def compare(row: _RowData) -> object:
        left = first(row)
        for predicate, evaluator in steps:
            right = evaluator(row)
            try:
                if not predicate(left, right):
                    return False
            except (TypeError, RecursionError) as error:
                raise EvaluationError(f"{ast.unparse(node)}: {error}", field=field) from error
            left = right
        return True

    return compare


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
    operand, field = _compile(node.operand), next(_find_fields(node), None)
    if isinstance(node.op, ast.Not):
        return lambda row: not operand(row)
    if not isinstance(node.op, ast.USub | ast.UAdd):
        raise _not_allowed(node)
    sign = -1 if isinstance(node.op, ast.USub) else 1

    def negate(row: _RowData) -> object:
        value = operand(row)
        if _is_number(value):
            return sign * value
        raise EvaluationError(f"{ast.unparse(node)}: expected a number, got {_type_name(value)}", field=field)

    return negate


_ARITHMETIC: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
}


def _compile_arithmetic(node: ast.BinOp) -> _Evaluator:
    if type(node.op) not in _ARITHMETIC:
        raise _not_allowed(node)
    compute, is_addition = _ARITHMETIC[type(node.op)], isinstance(node.op, ast.Add)
    left, right, field = _compile(node.left), _compile(node.right), next(_find_fields(node), None)

    def calculate(row: _RowData) -> object:
        a, b = left(row), right(row)
        if _is_number(a) and _is_number(b):
            try:
                result = compute(a, b)
            except ArithmeticError as error:
                raise EvaluationError(f"{ast.unparse(node)}: {error}", field=field) from error
            if not abs(result) <= (MAX_INTEGER if isinstance(result, int) else sys.float_info.max):
                raise EvaluationError(f"{ast.unparse(node)}: the result is out of range", field=field)
            return result
        if is_addition and isinstance(a, str) and isinstance(b, str):
            return a + b
        wanted = "two numbers or two texts" if is_addition else "two numbers"
        raise EvaluationError(
            f"{ast.unparse(node)}: expected {wanted}, got {_type_name(a)} and {_type_name(b)}", field=field
        )

    return calculate


_COMPILERS: Mapping[type[ast.expr], Callable[[Any], _Evaluator]] = {
    ast.BinOp: _compile_arithmetic,
    ast.BoolOp: _compile_boolean,
    ast.Call: _compile_get,
    ast.Compare: _compile_comparison,
    ast.Constant: _compile_literal,
    ast.IfExp: _compile_conditional,
    ast.List: _compile_collection,
    ast.Set: _compile_collection,
    ast.Subscript: _compile_subscript,
    ast.Tuple: _compile_collection,
    ast.UnaryOp: _compile_unary,
}


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


_OPERATORS: Mapping[type[ast.operator | ast.unaryop], str] = {
    ast.Pow: "**",
    ast.FloorDiv: "//",
    ast.MatMult: "@",
    ast.LShift: "<<",
    ast.RShift: ">>",
    ast.BitAnd: "&",
    ast.BitOr: "|",
    ast.BitXor: "^",
    ast.Invert: "~",
}

_NAMES: Mapping[type[ast.expr], str] = {
    ast.Attribute: "an attribute",
    ast.Await: "an await",
    ast.Dict: "a dict",
    ast.DictComp: "a comprehension",
    ast.GeneratorExp: "a comprehension",
    ast.JoinedStr: "an f-string",
    ast.Lambda: "a lambda",
    ast.ListComp: "a comprehension",
    ast.NamedExpr: "an assignment",
    ast.SetComp: "a comprehension",
    ast.Slice: "a slice",
    ast.Starred: "a starred value",
    ast.Yield: "a yield",
    ast.YieldFrom: "a yield",
}


def _describe(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name):
            return f"the name {name!r}"
        case ast.Constant(value=value):
            return f"a literal of type {type(value).__name__}"
        case ast.BinOp(op=op) | ast.UnaryOp(op=op):
            return f"the operator {_OPERATORS.get(type(op), type(op).__name__)}"
        case _:
            return _NAMES.get(type(node), type(node).__name__)


def _not_allowed(node: ast.expr) -> ExpressionError:
    return ExpressionError(
        f"has {_describe(node)}{_at(node)}, which is not allowed: expected row['f'], row.get('f', d), comparisons, "
        "and/or/not, + - * / %, in, literals, x if c else y"
    )


def _at(node: ast.expr) -> str:
    return f" at column {node.col_offset + 1}"


def _type_name(value: object) -> str:
    return "None" if value is None else type(value).__name__

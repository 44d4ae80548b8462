"""Parses expressions to syntax trees, and inspects these."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator, Mapping

from elspeth.contracts.expressions.errors import ExpressionError
from elspeth.contracts.expressions.functions import FUNCTIONS

__all__ = ["column_of", "describe_node", "find_fields", "is_boolean", "not_allowed_error", "parse_expression"]

_MAX_SOURCE_LENGTH = 2_000
_MAX_NODES = 500
_MAX_DEPTH = 40


def parse_expression(source: str) -> ast.expr:
    """Return the syntax tree of an expression of limited size.

    Raises ExpressionError, with the column if it is known.
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
    return tree


def _check_size(tree: ast.expr) -> None:
    """Refuse large trees before they are visited recursively."""
    level: list[ast.AST] = [tree]
    nodes = depth = 0
    while level:
        depth += 1
        nodes += len(level)
        if depth > _MAX_DEPTH or nodes > _MAX_NODES:
            raise ExpressionError(f"is too complex: expected at most {_MAX_NODES} parts and {_MAX_DEPTH} levels")
        level = [child for node in level for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]


def is_boolean(node: ast.expr) -> bool:
    """Return whether the value is always true or false."""
    match node:
        case ast.Compare() | ast.UnaryOp(op=ast.Not()) | ast.Constant(value=bool()):
            return True
        case ast.BoolOp(values=values):
            return all(map(is_boolean, values))
        case ast.IfExp(body=body, orelse=orelse):
            return is_boolean(body) and is_boolean(orelse)
        case ast.Call(func=ast.Name(id=name)):
            return name in FUNCTIONS and FUNCTIONS[name].is_boolean
        case _:
            return False


def find_fields(node: ast.expr) -> Iterator[str]:
    """Yield the fields of the row that a subtree reads."""
    for child in ast.walk(node):
        match child:
            case ast.Subscript(value=ast.Name(id="row"), slice=ast.Constant(value=str(name))):
                yield name
            case ast.Call(func=ast.Attribute(value=ast.Name(id="row")), args=[ast.Constant(value=str(name)), *_]):
                yield name


# -- words for what is refused ---------------------------------------------------------------------------------------

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


def describe_node(node: ast.expr) -> str:
    """Return the name of a node in messages."""
    match node:
        case ast.Name(id=name):
            return f"the name {name!r}"
        case ast.Constant(value=value):
            return f"a literal of type {type(value).__name__}"
        case ast.BinOp(op=op) | ast.UnaryOp(op=op):
            return f"the operator {_OPERATORS.get(type(op), type(op).__name__)}"
        case _:
            return _NAMES.get(type(node), type(node).__name__)


def not_allowed_error(node: ast.expr) -> ExpressionError:
    """Return the error for a node that is not allowed."""
    return ExpressionError(
        f"has {describe_node(node)}{column_of(node)}, which is not allowed: expected row['f'], row.get('f', d), "
        "comparisons, and/or/not, + - * / %, in, literals, x if c else y, functions such as len(row['f'])"
    )


def column_of(node: ast.expr) -> str:
    """Return the column where a node begins, for messages."""
    return f" at column {node.col_offset + 1}"

"""Names and literals for templates, which compute none themselves."""

from __future__ import annotations

import textwrap

from codegen.model import Column, Kind, Table, Variant
from elspeth.schema.snapshots import TableSnapshot

__all__ = ["FILTERS", "docstring", "literal", "python_type", "quoted_tuple", "sql_type", "table_variable"]

_WIDTH = 112
_MAX_INTEGER = 2**53 - 1


def docstring(text: str, indent: int = 4) -> str:
    """Wrap text as a docstring body with indented further lines."""
    escaped = text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    if escaped.endswith('"'):
        escaped += " "
    if len(escaped) + indent + 6 <= _WIDTH + 8:
        return escaped
    pad = " " * indent
    first, *rest = textwrap.wrap(escaped, _WIDTH - indent, break_long_words=False, break_on_hyphens=False)
    return "\n".join([first, *(pad + line for line in rest)]) + "\n" + pad


def literal(value: object) -> str:
    """Return the value as Python source."""
    return repr(value)


def bytes_literal(text: str) -> str:
    """Return ASCII text without single quotes as raw bytes source."""
    return f"rb'{text}'"


def quoted_tuple(names: tuple[str, ...]) -> str:
    """Return the source of a tuple of the names."""
    return repr(names)


def table_variable(table: Table | TableSnapshot) -> str:
    """Return the name of the generated SQLAlchemy table."""
    return f"{table.name}_table"


def sql_type(word: str) -> str:
    """Return the SQLAlchemy type expression of a snapshot's type word.

    It uses the helpers of the tables templates.
    """
    name, _, length = word.rstrip(")").partition("(")
    return SQL_TYPES[name].format(length=length)


def arrow_type(column: Column) -> str:
    """Return the Arrow type expression of a column.

    It uses the names of the arrow template.
    """
    return {
        Kind.TEXT: "pa.string()",
        Kind.JSON: "pa.string()",
        Kind.INTEGER: "pa.int64()",
        Kind.REAL: "pa.float64()",
        Kind.BOOLEAN: "pa.bool_()",
        Kind.TIMESTAMP: "_TIME",
    }[column.kind]


def python_type(column: Column) -> str:
    """Return the Python type of a field that is present."""
    if column.enum is not None:
        return column.enum.name
    return {
        Kind.TEXT: "str",
        Kind.JSON: "str",
        Kind.INTEGER: "int",
        Kind.REAL: "float",
        Kind.BOOLEAN: "bool",
        Kind.TIMESTAMP: "datetime",
    }[column.kind]


def acceptor(column: Column) -> str:
    """Return the expression that checks a present value."""
    if column.enum is not None:
        return f"checks.member({column.enum.name})"
    if column.kind is Kind.TEXT:
        arguments = [f"max_length={column.max_length}"] if column.max_length else []
        arguments += [f"pattern={literal(column.pattern)}"] if column.pattern else []
        return f"checks.text({', '.join(arguments)})"
    if column.kind in (Kind.INTEGER, Kind.REAL):
        bounds = (("minimum", column.minimum), ("maximum", column.maximum))
        arguments = [f"{name}={bound}" for name, bound in bounds if bound is not None]
        return f"checks.{column.kind}({', '.join(arguments)})"
    return {Kind.JSON: "checks.JSON", Kind.BOOLEAN: "checks.BOOLEAN", Kind.TIMESTAMP: "checks.TIMESTAMP"}[column.kind]


def strategy(column: Column) -> str:
    """Return the expression of a Hypothesis strategy for present values."""
    if column.enum is not None:
        return f"st.sampled_from(contracts.{column.enum.name})"
    low = -_MAX_INTEGER if column.minimum is None else column.minimum
    high = _MAX_INTEGER if column.maximum is None else column.maximum
    return {
        Kind.TEXT: f"_text({column.max_length}, {literal(column.pattern)})",
        Kind.JSON: "_JSON",
        Kind.INTEGER: f"st.integers({low}, {high})",
        Kind.REAL: f"st.floats({low}, {high})",
        Kind.BOOLEAN: "st.booleans()",
        Kind.TIMESTAMP: "_TIMES",
    }[column.kind]


def variant_columns(table: Table, variant: Variant) -> tuple[Column, ...]:
    """Return the columns that a variant has, in table order."""
    return tuple(column for column in table.columns if column.name not in variant.absent)


SQL_TYPES = {
    "string": "_text({length})",
    "bigint": "BigInteger",
    "double": "Double",
    "integer": "Integer",
    "timestamp": "DateTime(timezone=True)",
    "varchar": "String({length})",
    "text": "Text",
    "float": "Float",
}
"""SQLAlchemy types of the type words in snapshots; the last three occur only in past epochs."""

FILTERS = {
    "bytes_literal": bytes_literal,
    "acceptor": acceptor,
    "arrow_type": arrow_type,
    "docstring": docstring,
    "literal": literal,
    "python_type": python_type,
    "quoted_tuple": quoted_tuple,
    "sql_type": sql_type,
    "strategy": strategy,
    "table_variable": table_variable,
}
"""Filters that templates use."""

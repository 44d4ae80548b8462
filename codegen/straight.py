"""Straight code: an expression per column, which checks or converts.

The conditions only accept or refuse a value. They may refuse a valid value that is rare, such as a text that is not
ASCII. The general checks then decide on values that were refused, and make the message of an error.
"""

from __future__ import annotations

import re

from codegen.model import Column, ExactlyOne, Kind

__all__ = ["FILTERS", "condition", "exactly_one", "from_json", "from_row", "line_to_row", "members", "to_row"]

_MAX_INTEGER = 2**53 - 1

_LOWER_HEX = re.compile(r"\^\[0-9a-f\]\{(\d+)\}\$")
"""Patterns that are checked faster without a regular expression."""


def condition(column: Column, field: str | None = None) -> str:
    """Return the condition that `value` is present and plain.

    With a field, it first gives the field's value that name.
    """
    found = _condition(column)
    return found if field is None else found.replace("(value)", f"(value := {field})", 1)


def _condition(column: Column) -> str:
    if column.enum is not None:
        return f"type(value) is {column.enum.name}"
    if column.kind in (Kind.INTEGER, Kind.REAL):
        low = "-checks.MAX_INTEGER" if column.minimum is None else column.minimum
        high = "checks.MAX_INTEGER" if column.maximum is None else column.maximum
        kind = "int" if column.kind is Kind.INTEGER else "float"
        return f"type(value) is {kind} and {low} <= value <= {high}"
    return {
        Kind.TEXT: _text_condition(column),
        Kind.JSON: "checks.is_json(value)",
        Kind.BOOLEAN: "type(value) is bool",
        Kind.TIMESTAMP: "type(value) is datetime and value.tzinfo is UTC",
    }[column.kind]


def _text_condition(column: Column) -> str:
    limit = f" and len(value) <= {column.max_length}" if column.max_length else ""
    if column.pattern is None:
        return f'type(value) is str{limit} and value.isascii() and "\\x00" not in value'
    if digest := _LOWER_HEX.fullmatch(column.pattern):
        return f"type(value) is str and len(value) == {digest[1]} and checks.is_lower_hex(value)"
    return f"type(value) is str{limit} and checks.matches({column.pattern!r}, value)"


def exactly_one(rule: ExactlyOne) -> str:
    """Return the condition that exactly one field is present."""
    fields = ", ".join(f"record.{name}" for name in rule.columns)
    return f"({fields}).count(None) == {len(rule.columns) - 1}"


def to_row(column: Column, *, optional: bool) -> str:
    """Return the database value of a record's field."""
    value = f"record.{column.name}"
    converted = value
    if column.enum is not None:
        converted = f"{value}.value"
    elif column.kind is Kind.BOOLEAN:
        converted = f"int({value})"
    elif column.kind is Kind.TIMESTAMP:
        converted = f"time({value})"
    return f"None if {value} is None else {converted}" if optional and converted != value else converted


def from_row(column: Column) -> str:
    """Return the field's value for a database value."""
    name = column.name
    if column.kind is Kind.BOOLEAN:
        return f"stored.boolean({name})"
    if column.kind is Kind.TIMESTAMP:
        return f"stored.time({name})"
    return from_json(column)


def from_json(column: Column) -> str:
    """Return the field's value for a JSON value."""
    name = column.name
    if column.enum is not None:
        return f"{members(column.enum.name)}.get({name}, {name})"
    if column.kind is Kind.REAL:
        return f"stored.real({name})"
    return f"stored.exported_time({name})" if column.kind is Kind.TIMESTAMP else name


def line_to_row(column: Column) -> str:
    """Return the database value of a sound line's value."""
    if column.withheld is not None:
        return "None"
    value = f'record["{column.name}"]'
    function = {Kind.BOOLEAN: "int", Kind.TIMESTAMP: "time", Kind.REAL: "float"}
    if column.kind not in function:
        return value
    converted = f"{function[column.kind]}({value})"
    return f"None if {value} is None else {converted}" if column.nullable else converted


def members(enum: str) -> str:
    """Return the name of the mapping from values to members."""
    return "_" + re.sub(r"(?<!^)(?=[A-Z])", "_", enum).upper()


FILTERS = {
    "condition": condition,
    "exactly_one": exactly_one,
    "from_json": from_json,
    "from_row": from_row,
    "line_to_row": line_to_row,
    "members": members,
    "to_row": to_row,
}
"""Filters that templates use."""

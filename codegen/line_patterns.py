"""Regular expressions that match only valid lines of an export.

An export lets the database write its lines and matches many at a time, instead of building and checking a contract for
each, which takes ten times as long. A pattern may refuse a valid line (one with unusual characters, say): the export
then checks it by contract. It never matches a line that the contract would refuse, except for JSON inside text, which
the database checks.
"""

from __future__ import annotations

import re

from codegen.model import Column, Kind, Table, Variant

__all__ = ["line_keys", "line_patterns"]

_PLAIN = r"[ !#-\[\]-~]"
"""ASCII without quotes, backslashes and control characters, which JSON does not escape."""

_CHARACTER = (
    rf"(?:{_PLAIN}|[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{{2}}|[\xf0-\xf4][\x80-\xbf]{{3}}|\\[\"\\bfnrt])"
)
"""One character, in UTF-8 or as a short escape."""

_ANY_TEXT = r'(?:[^"\\\x00-\x1f]++|\\["\\bfnrt]|\\u00(?:0[1-9a-f]|1[0-9a-f]))*+'
"""Any text without NUL as canonical JSON writes it (RFC 8785, section 3.2.2.2), in UTF-8."""

_JSON_TEXT = r'(?:[^"\\\x00-\x1f]++|\\["bfnrt]|\\\\(?!u))*+'
"""JSON text inside JSON, without escaped code points: JSON readers refuse lone surrogates."""

_DATE = (
    "(?!0000)[0-9]{4}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
)
_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{6}"

_NOTHING = "(?!)"
"""Matches nothing, so that the contract checks the value."""


def line_keys(table: Table) -> tuple[str, ...]:
    """Return the keys of an exported record in canonical order."""
    return tuple(sorted(["record_type", *(column.name for column in table.columns if column.withheld is None)]))


def line_patterns(table: Table) -> tuple[str, ...]:
    """Return the patterns of the table's lines, likeliest first.

    There is one for each shape and each choice of the column that is present.
    """
    chosen: list[str | None] = [name for rule in table.exactly_one for name in rule.columns]
    shapes: list[Variant | None] = [*sorted(table.variants, key=lambda each: not each.value.final)]
    return tuple(_pattern(table, variant, name) for variant in shapes or [None] for name in chosen or [None])


def _pattern(table: Table, variant: Variant | None, chosen: str | None) -> str:
    members = (f'"{key}":{_value(table, variant, chosen, key)}' for key in line_keys(table))
    return r"\{" + ",".join(members) + r"\}"


def _value(table: Table, variant: Variant | None, chosen: str | None, key: str) -> str:
    if key == "record_type":
        return f'"{table.record_type}"'
    column = table.column(key)
    if variant is not None and key == table.discriminator:
        return f'"{re.escape(variant.value.text)}"'
    if variant is not None and key in variant.absent:
        return "null"
    if any(key in rule.columns for rule in table.exactly_one):
        return _present(column) if key == chosen else "null"
    required = not column.nullable or (variant is not None and key in variant.required)
    return _present(column) if required else f"(?:null|{_present(column)})"


def _present(column: Column) -> str:
    if column.enum is not None:
        return '"(?:' + "|".join(re.escape(value.text) for value in column.enum.values) + ')"'
    if column.kind is Kind.TEXT and column.pattern is not None:
        return f'"{column.pattern.removeprefix("^").removesuffix("$")}"'
    if column.kind in (Kind.INTEGER, Kind.REAL):
        return _number(column)
    return {
        Kind.TEXT: f'"{_ANY_TEXT}"' if column.max_length is None else _bounded(column.max_length),
        Kind.JSON: f'"{_JSON_TEXT}"',
        Kind.BOOLEAN: "(?:true|false)",
        Kind.TIMESTAMP: f'"{_DATE}T{_TIME}Z"',
    }[column.kind]


def _bounded(length: int) -> str:
    """Match text of at most `length` characters, ASCII fastest."""
    return f'"(?:{_PLAIN}{{0,{length}}}+"|{_CHARACTER}{{0,{length}}}+")'


def _number(column: Column) -> str:
    """Match numbers of up to fifteen digits, all below 2^53.

    With bounds other than 0 nothing matches, and the contract checks the value.
    """
    if column.maximum is not None or column.minimum not in (None, 0):
        return _NOTHING
    sign = "-?" if column.minimum is None else ""
    if column.kind is Kind.INTEGER:
        return f"(?:0|{sign}[1-9][0-9]{{0,14}})"
    # A float of at least 1e-6 has no exponent: up to five zeros, then up to 17 digits.
    return rf"{sign}(?:0|[1-9][0-9]{{0,14}})(?:\.[0-9]{{1,22}})?"

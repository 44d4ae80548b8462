"""The columns that rows need in a typed output: found by reading all rows, so that none comes as a surprise."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from elspeth.contracts.plugins import Row
from elspeth.contracts.schema import FieldDefinition

__all__ = ["ColumnType", "shape_of"]


class ColumnType(StrEnum):
    """What a column holds. Lists, mappings and values of several kinds are kept as JSON text."""

    INTEGER = "integer"
    REAL = "real"
    BOOLEAN = "boolean"
    TEXT = "text"
    JSON = "json"


_OF_FIELD = {"int": ColumnType.INTEGER, "float": ColumnType.REAL, "bool": ColumnType.BOOLEAN, "str": ColumnType.TEXT}
_OF_VALUE = {int: ColumnType.INTEGER, float: ColumnType.REAL, bool: ColumnType.BOOLEAN, str: ColumnType.TEXT}
_NUMBERS = {ColumnType.INTEGER, ColumnType.REAL}


def shape_of(rows: Iterable[Row], declared: Iterable[FieldDefinition]) -> dict[str, ColumnType]:
    """Columns by name: the declared fields first, then the others in the order in which they occur.

    A column without any value is text.
    """
    fixed = {field.name: _OF_FIELD.get(field.field_type) for field in declared}
    found: dict[str, ColumnType | None] = dict(fixed)
    for row in rows:
        for name, value in row.items():
            if fixed.get(name) is None:
                found[name] = _joined(found.get(name), value)
    return {name: column or ColumnType.TEXT for name, column in found.items()}


def _joined(known: ColumnType | None, value: object) -> ColumnType | None:
    """The type that holds the value as well as those before it."""
    if value is None:
        return known
    new = _OF_VALUE.get(type(value), ColumnType.JSON)
    if known is None or known is new:
        return new
    return ColumnType.REAL if {known, new} == _NUMBERS else ColumnType.JSON

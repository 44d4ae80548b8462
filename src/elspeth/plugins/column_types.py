"""Derives the types of the columns that rows need."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import cast

from elspeth.contracts.rows import RowData
from elspeth.contracts.schema import FieldDefinition, decimal_places

__all__ = ["Column", "ColumnType", "column_types"]


class ColumnType(StrEnum):
    """The type of a column.

    Lists, mappings, and values of several types are written as JSON text.
    """

    INTEGER = "integer"
    REAL = "real"
    BOOLEAN = "boolean"
    TEXT = "text"
    DECIMAL = "decimal"
    DATE = "date"
    DATETIME = "datetime"
    DURATION = "duration"
    JSON = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """The type of a column, with the places of decimals."""

    type: ColumnType
    places: int = 0


_OF_FIELD = {
    "int": ColumnType.INTEGER,
    "float": ColumnType.REAL,
    "bool": ColumnType.BOOLEAN,
    "str": ColumnType.TEXT,
    "date": ColumnType.DATE,
    "datetime": ColumnType.DATETIME,
    "duration": ColumnType.DURATION,
}
_OF_VALUE = {
    int: ColumnType.INTEGER,
    float: ColumnType.REAL,
    bool: ColumnType.BOOLEAN,
    str: ColumnType.TEXT,
    dt.date: ColumnType.DATE,
    dt.datetime: ColumnType.DATETIME,
    dt.timedelta: ColumnType.DURATION,
}
_COMMON = {
    frozenset({ColumnType.INTEGER, ColumnType.REAL}): ColumnType.REAL,
    frozenset({ColumnType.INTEGER, ColumnType.DECIMAL}): ColumnType.DECIMAL,
}
"""The types of columns with values of two types. All other pairs need JSON."""


def column_types(rows: Iterable[RowData], declared: Iterable[FieldDefinition]) -> dict[str, Column]:
    """Return the type of each column that the rows need.

    The declared fields come first, then the others in the order in which they occur. A column without any value is
    text.
    """
    fixed = {field.name: _declared_column(field) for field in declared}
    found: dict[str, Column | None] = dict(fixed)
    for row in rows:
        for name, value in row.items():
            if fixed.get(name) is None:
                found[name] = _common_column(found.get(name), value)
    return {name: column or Column(type=ColumnType.TEXT) for name, column in found.items()}


def _declared_column(field: FieldDefinition) -> Column | None:
    """Return a field's column, or None for any type."""
    places = decimal_places(field.field_type)
    if places is not None:
        return Column(type=ColumnType.DECIMAL, places=places)
    column_type = _OF_FIELD.get(field.field_type)
    return None if column_type is None else Column(type=column_type)


def _common_column(known: Column | None, value: object) -> Column | None:
    """Return the column for the value and all values before."""
    if value is None:
        return known
    new = _column_of(value)
    if known is None:
        return new
    places = max(known.places, new.places)
    common = known.type if known.type is new.type else _COMMON.get(frozenset({known.type, new.type}), ColumnType.JSON)
    return known if (common, places) == (known.type, known.places) else replace(new, type=common, places=places)


def _column_of(value: object) -> Column:
    if isinstance(value, Decimal):
        return Column(type=ColumnType.DECIMAL, places=max(0, -cast("int", value.as_tuple().exponent)))
    return Column(type=_OF_VALUE.get(type(value), ColumnType.JSON))

"""Rows against schemas: values become the declared types, and what does not fit is named."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping

from elspeth.contracts.display import shown
from elspeth.contracts.plugins import Row
from elspeth.contracts.schema import MAX_INTEGER, FieldType, SchemaConfig

__all__ = ["RowValidator", "SchemaViolationError"]


_INTEGER = re.compile(r"[+-]?[0-9]{1,20}")
_TRUE = frozenset({"true", "t", "yes", "y", "on", "1"})
_FALSE = frozenset({"false", "f", "no", "n", "off", "0"})


class SchemaViolationError(ValueError):
    """A row does not satisfy its schema. The message names every field that is at fault."""


class RowValidator:
    """Applies one schema to rows."""

    def __init__(self, schema: SchemaConfig) -> None:
        self._fields = schema.fields or ()
        self._names = frozenset(field.name for field in self._fields)
        self._allows_extra = schema.allows_extra_fields

    def missing(self, names: Iterable[str]) -> list[str]:
        """Required fields that are not among the names."""
        present = set(names)
        return [field.name for field in self._fields if field.required and field.name not in present]

    def unexpected(self, names: Iterable[str]) -> list[str]:
        """Names that the schema does not allow."""
        return [] if self._allows_extra else [name for name in names if name not in self._names]

    def validate(self, row: Row) -> Row:
        """The row with its declared fields coerced; SchemaViolationError when that cannot be done."""
        if not self._fields:
            return row
        problems = [f"field {name!r} is missing" for name in self.missing(row)]
        problems += [f"field {name!r} is not in the schema" for name in self.unexpected(row)]
        coerced = dict(row)
        for field in self._fields:
            if field.name not in row or field.field_type == "any":
                continue
            value = row[field.name]
            if not field.required and (value is None or (value == "" and field.field_type != "str")):
                coerced[field.name] = None
                continue
            try:
                coerced[field.name] = _COERCIONS[field.field_type](value)
            except ValueError:
                problems.append(f"field {field.name!r}: expected {_EXPECTED[field.field_type]}, got {shown(value)}")
        if problems:
            raise SchemaViolationError("; ".join(problems))
        return coerced


def _to_text(value: object) -> object:
    if isinstance(value, str):
        return value
    raise ValueError


def _to_integer(value: object) -> object:
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_INTEGER:
        return value
    raise ValueError


def _to_float(value: object) -> object:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        number = float(value)
        if math.isfinite(number):
            return number
    raise ValueError


def _to_boolean(value: object) -> object:
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if isinstance(value, str | int) and text in _TRUE | _FALSE:
        return text in _TRUE
    raise ValueError


_COERCIONS: Mapping[FieldType, Callable[[object], object]] = {
    "str": _to_text,
    "int": _to_integer,
    "float": _to_float,
    "bool": _to_boolean,
}
_EXPECTED: Mapping[FieldType, str] = {
    "str": "text",
    "int": f"an integer of at most {MAX_INTEGER}",
    "float": "a finite number",
    "bool": "true or false",
}

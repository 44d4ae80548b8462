"""Row data, and how it is checked against a schema."""

from __future__ import annotations

import base64
import datetime as dt
import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from elspeth.contracts.errors import RecordableError, describe_kind
from elspeth.contracts.schema import MAX_INTEGER, FieldType, SchemaConfig

__all__ = ["InvalidRow", "RowData", "RowValidator", "SchemaViolationError", "convert_row", "convert_value"]

_INTEGER = re.compile(r"[+-]?[0-9]{1,20}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_NOT_ZERO = re.compile(r"[^eE]*[1-9]")
_TRUE = frozenset({"true", "t", "yes", "y", "on", "1"})
_FALSE = frozenset({"false", "f", "no", "n", "off", "0"})


class SchemaViolationError(RecordableError, ValueError):
    """A row does not satisfy its schema.

    The message names every field of the schema that is at fault, and repeats no values.
    """


class RowValidator:
    """The check of rows against one schema."""

    def __init__(self, schema: SchemaConfig) -> None:
        self._fields = schema.fields or ()
        self._names = frozenset(field.name for field in self._fields)
        self._allows_extra = schema.allows_extra_fields

    def missing(self, names: Iterable[str]) -> list[str]:
        """Return the required fields that are not among the names."""
        present = set(names)
        return [field.name for field in self._fields if field.required and field.name not in present]

    def unexpected(self, names: Iterable[str]) -> list[str]:
        """Return the names that the schema does not allow."""
        return [] if self._allows_extra else [name for name in names if name not in self._names]

    def validate(self, row: RowData) -> RowData:
        """Return the row with its declared fields coerced.

        Raises SchemaViolationError if that is not possible.
        """
        if not self._fields:
            return row
        problems = [] if row.keys() == self._names else self._wrong_names(row)
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
            except SchemaViolationError as problem:
                problems.append(f"field {field.name!r}: {problem}")
        if problems:
            raise SchemaViolationError("; ".join(problems))
        return coerced

    def _wrong_names(self, row: RowData) -> list[str]:
        problems = [f"field {name!r} is missing" for name in self.missing(row)]
        if unexpected := len(self.unexpected(row)):
            # Names of fields may be values, too: messages have only their number.
            problems.append(f"fields that are not in the schema: {unexpected:,}")
        return problems


def _to_text(value: object) -> object:
    if isinstance(value, str):
        return value
    raise _misfit_error("text", value)


def _to_integer(value: object) -> object:
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise _misfit_error("an integer", value)
    if abs(value) > MAX_INTEGER:
        raise SchemaViolationError(f"expected an integer from -{MAX_INTEGER} to {MAX_INTEGER}, got one beyond")
    return value


def _to_float(value: object) -> object:
    is_text = isinstance(value, str) and _NUMBER.fullmatch(value.strip()) is not None
    if not is_text and (isinstance(value, str | bool) or not isinstance(value, int | float)):
        raise _misfit_error("a number", value)
    try:
        number = float(value)  # type: ignore[arg-type]  # checked above
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise (
            _misfit_error("a finite number", value)
            if isinstance(value, float)
            else SchemaViolationError(
                f"expected a number from -{sys.float_info.max:.3g} to {sys.float_info.max:.3g}, got one beyond"
            )
        )
    if is_text and number == 0 and _NOT_ZERO.match(str(value)):
        raise SchemaViolationError("expected zero or a number that a float can tell from zero, got a smaller one")
    return number


def _to_boolean(value: object) -> object:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and (text := value.strip().lower()) in _TRUE | _FALSE:
        return text in _TRUE
    if isinstance(value, int) and value in {0, 1}:
        return value == 1
    raise _misfit_error("true or false", value)


def _misfit_error(expected: str, value: object) -> SchemaViolationError:
    return SchemaViolationError(f"expected {expected}, got {describe_kind(value)}")


_COERCIONS: Mapping[FieldType, Callable[[object], object]] = {
    "str": _to_text,
    "int": _to_integer,
    "float": _to_float,
    "bool": _to_boolean,
}


RowData = dict[str, object]
"""One row: field name to value. Values are what JSON can hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InvalidRow:
    """A source row that does not satisfy the schema.

    `data` is what could be read of it; it is withheld from exports. `error` is exported, and repeats no values. `file`
    and `line`, from 1, say where the row begins; they are None where that is not known.
    """

    data: RowData
    error: str
    file: str | None = None
    line: int | None = None


class _UnsupportedTypeError(RecordableError, ValueError):
    """A value that no row can hold."""


def convert_row(values: Mapping[str, object], validator: RowValidator, place: str) -> RowData | InvalidRow:
    """Convert values by column name to a row.

    Returns an invalid row if they do not satisfy the schema; its error begins with the place.
    """
    row: RowData = {}
    broken = next((name for name, value in values.items() if not _is_encodable(value)), None)
    if broken is not None:
        data = {name: value if _is_encodable(value) else _escape_undecoded(value) for name, value in values.items()}
        return InvalidRow(data=data, error=f"{place}: column {broken!r}: bytes that are not UTF-8")
    try:
        row = {name: convert_value(value) for name, value in values.items()}
        return validator.validate(row)
    except SchemaViolationError as error:
        return InvalidRow(data=row, error=f"{place}: {error}")
    except _UnsupportedTypeError as error:
        return InvalidRow(data={"__raw__": repr(values)}, error=f"{place}: {error}")


def _is_encodable(value: object) -> bool:
    """Return whether a text has no undecoded bytes.

    Sources read bytes that are not UTF-8 as lone surrogates.
    """
    if not isinstance(value, str) or value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _escape_undecoded(text: object) -> str:
    """Return a text with its undecoded bytes as escapes."""
    return str(text).encode(errors="surrogateescape").decode(errors="backslashreplace")


def convert_value(value: object) -> object:
    """Convert a value to one that JSON can hold.

    Times and dates become ISO 8601 text, decimals and UUIDs their text (a float would change them), bytes become base64
    text. Raises ValueError for a value of any other type.
    """
    match value:
        case None | bool() | int() | float() | str():
            return value
        case dt.date() | dt.time():  # includes datetimes
            return value.isoformat()
        case dt.timedelta():
            return value.total_seconds()
        case Decimal() | UUID():
            return str(value)
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(value).decode()
        case Mapping():
            return {str(key): convert_value(item) for key, item in value.items()}
        case list() | tuple():
            return [convert_value(item) for item in value]
        case _:
            raise _UnsupportedTypeError(f"a row cannot hold a value of type {type(value).__name__}")

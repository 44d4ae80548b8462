"""Row data, and its validation by a schema."""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from elspeth.contracts.coercion import coercion_to
from elspeth.contracts.errors import RecordableError
from elspeth.contracts.schema import SchemaConfig
from elspeth.contracts.values import MisfitError

__all__ = ["InvalidRow", "RowData", "RowValidator", "SchemaViolationError", "convert_row", "convert_value"]


class SchemaViolationError(RecordableError, ValueError):
    """A row does not satisfy its schema.

    The message names every faulty field of the schema, and repeats no values.
    """


class RowValidator:
    """Validates rows by a schema."""

    def __init__(self, schema: SchemaConfig) -> None:
        self._fields = schema.fields or ()
        self._coercions = [
            (field.name, field.required, field.field_type == "str", coercion_to(field.field_type))
            for field in self._fields
            if field.field_type != "any"
        ]
        self._names = frozenset(field.name for field in self._fields)
        self._allows_extra = schema.allows_extra_fields

    def missing(self, names: Iterable[str]) -> list[str]:
        """Return the required fields that the names lack."""
        present = set(names)
        return [field.name for field in self._fields if field.required and field.name not in present]

    def unexpected(self, names: Iterable[str]) -> list[str]:
        """Return the names that the schema does not allow."""
        return [] if self._allows_extra else [name for name in names if name not in self._names]

    def validate(self, row: RowData) -> RowData:
        """Return the row with its declared fields coerced.

        Raises SchemaViolationError if the row does not satisfy the schema.
        """
        if not self._fields:
            return row
        problems = [] if row.keys() == self._names else self._wrong_names(row)
        coerced = dict(row)
        for name, required, is_text, coerce in self._coercions:
            if name not in row:
                continue
            value = row[name]
            if not required and (value is None or (value == "" and not is_text)):
                coerced[name] = None
                continue
            try:
                coerced[name] = coerce(value)
            except MisfitError as problem:
                problems.append(f"field {name!r}: {problem}")
        if problems:
            raise SchemaViolationError("; ".join(problems))
        return coerced

    def _wrong_names(self, row: RowData) -> list[str]:
        problems = [f"field {name!r} is missing" for name in self.missing(row)]
        if unexpected := len(self.unexpected(row)):
            # Names of undeclared fields may be data, too, so messages only give their number.
            problems.append(f"fields that are not in the schema: {unexpected:,}")
        return problems


RowData = dict[str, object]
"""One row, which maps field names to values.

Values are those of JSON. Schemas and steps may also make decimals, dates, times with a zone, and durations.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class InvalidRow:
    """A source row that does not satisfy the schema.

    `data` is the part of the row that could be read; it is withheld from exports. `error` is exported, and repeats no
    values. `file` and `line`, from 1, say where the row begins; they are None if that is unknown.
    """

    data: RowData
    error: str
    file: str | None = None
    line: int | None = None


class _UnsupportedTypeError(RecordableError, ValueError):
    """A value has a type that rows cannot hold."""


def convert_row(values: Mapping[str, object], validator: RowValidator, place: str) -> RowData | InvalidRow:
    """Convert values by column name to a row.

    Returns an invalid row if they do not satisfy the schema. Its error begins with `place`.
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

    Times and dates become ISO 8601 text, durations become seconds, decimals and UUIDs become text (a float would change
    them), and bytes become base64 text. A schema that declares such a type converts them back. Raises ValueError for a
    value of any other type.
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

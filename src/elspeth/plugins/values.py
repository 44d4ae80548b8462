"""Values from outside in the terms that rows hold."""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from uuid import UUID

from elspeth.contracts.failures import RecordableError
from elspeth.contracts.plugins import InvalidRow, Row
from elspeth.plugins.coercion import RowValidator, SchemaViolationError

__all__ = ["as_row_value", "foreign_row"]


class _FormlessError(RecordableError, ValueError):
    """A value that rows have no form for."""


def foreign_row(values: Mapping[str, object], validator: RowValidator, place: str) -> Row | InvalidRow:
    """Values by name as a row of the schema, or as an invalid one that tells the place."""
    row: Row = {}
    broken = next((name for name, value in values.items() if not _is_unicode(value)), None)
    if broken is not None:
        data = {name: value if _is_unicode(value) else _escaped(value) for name, value in values.items()}
        return InvalidRow(data=data, error=f"{place}: column {broken!r}: bytes that are not UTF-8")
    try:
        row = {name: as_row_value(value) for name, value in values.items()}
        return validator.validate(row)
    except SchemaViolationError as error:
        return InvalidRow(data=row, error=f"{place}: {error}")
    except _FormlessError as error:
        return InvalidRow(data={"__raw__": repr(values)}, error=f"{place}: {error}")


def _is_unicode(value: object) -> bool:
    """False for text with what a source read in place of bytes that are not UTF-8."""
    if not isinstance(value, str) or value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _escaped(text: object) -> str:
    return str(text).encode(errors="surrogateescape").decode(errors="backslashreplace")


def as_row_value(value: object) -> object:
    """What JSON can hold of a value; ValueError for a value of a kind that rows have no form for.

    Times and dates become ISO 8601 text, decimals and UUIDs their text (a float would change them), bytes base64 text.
    """
    match value:
        case None | bool() | int() | float() | str():
            return value
        case dt.date() | dt.time():  # a datetime is a date
            return value.isoformat()
        case dt.timedelta():
            return value.total_seconds()
        case Decimal() | UUID():
            return str(value)
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(value).decode()
        case Mapping():
            return {str(key): as_row_value(item) for key, item in value.items()}
        case list() | tuple():
            return [as_row_value(item) for item in value]
        case _:
            raise _FormlessError(f"a value of type {type(value).__name__} has no form in a row")

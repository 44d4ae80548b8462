"""The transform `cast`, which gives fields their types."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from elspeth.contracts.coercion import coercion_to, to_date, to_datetime, written
from elspeth.contracts.errors import describe_kind
from elspeth.contracts.plugins import FieldOrigins, RowError, Transform, TransformOptions
from elspeth.contracts.rows import RowData
from elspeth.contracts.schema import parse_type
from elspeth.contracts.values import MisfitError
from elspeth.plugins.field_paths import FieldPath, missing_field_error

__all__ = ["CastOptions", "CastTransform"]

_Cast = Callable[[object], object]

_DIRECTIVES = frozenset("dmYyHMSfzj%")
"""The allowed directives of formats. Others, such as names of months, depend on the machine."""

_OF_TIMES = frozenset("HMSfz")

_OFFSET = re.compile(r"UTC|[+-][0-9]{2}:[0-9]{2}")


def _check_types(types: dict[str, str]) -> dict[str, str]:
    for text in types.values():
        parse_type(text.removesuffix("?"))
    return types


def _check_formats(formats: dict[str, str]) -> dict[str, str]:
    for name, text in formats.items():
        unknown = set(re.findall(r"%(.?)", text)) - _DIRECTIVES
        if unknown or "%" not in text:
            known = ", ".join(f"%{letter}" for letter in sorted(_DIRECTIVES))
            raise ValueError(f"the format of {name!r} is {text!r}: expected a text with some of {known}")
    return formats


def _check_zone(zone: str) -> str:
    if not _OFFSET.fullmatch(zone):
        raise ValueError(f"expected UTC or an offset such as +01:00, got {zone!r}")
    _zone(zone)
    return zone


def _zone(text: str) -> dt.tzinfo:
    if text == "UTC":
        return dt.UTC
    zone = dt.datetime.strptime(text, "%z").tzinfo
    if zone is None:
        raise ValueError(f"expected UTC or an offset such as +01:00, got {text!r}")
    return zone


class CastOptions(TransformOptions):
    """Options of the transform `cast`."""

    fields: Annotated[dict[str, str], Field(min_length=1), AfterValidator(_check_types)] = Field(
        description="Fields with the type of each, as a schema names it: `decimal(2)`, `date`, `int?`. With `?` the "
        "field may be missing, null or empty text, and becomes null."
    )
    formats: Annotated[dict[str, str], AfterValidator(_check_formats)] = Field(
        default={}, description="How text of a `date` or `datetime` is written, by field: `%d.%m.%Y`."
    )
    zone: Annotated[str, AfterValidator(_check_zone)] | None = Field(
        default=None, description="The zone of a `datetime` that has none: `UTC`, or an offset such as `+01:00`."
    )

    @model_validator(mode="after")
    def _formats_are_of_dates(self) -> Self:
        for name in self.formats:
            if self.fields.get(name, "").removesuffix("?") not in {"date", "datetime"}:
                raise ValueError(f"the format of {name!r} needs a field of type date or datetime")
            if self.fields[name] in {"date", "date?"} and set(re.findall(r"%(.?)", self.formats[name])) & _OF_TIMES:
                raise ValueError(f"the format of {name!r} has a time of day: expected the type datetime")
        return self


class CastTransform(Transform):
    """Gives fields their types.

    Values become of the type as in a schema, and to `str` also numbers, booleans, dates, times and durations. Names may
    lead into objects and lists: `line.taxes.0.rate`. A row fails if a value is not exactly of the type: nothing is
    rounded or cut. The message names all fields at fault.
    """

    name = "cast"
    plugin_version = "1.0.0"
    options_model = CastOptions

    def __init__(self, options: CastOptions) -> None:
        super().__init__(options)
        zone = None if options.zone is None else _zone(options.zone)
        self._casts = [
            (FieldPath(name), text.endswith("?"), _cast(text.removesuffix("?"), options.formats.get(name), zone))
            for name, text in options.fields.items()
        ]

    def field_origins(self) -> FieldOrigins:
        """Return that some fields get new values."""
        return FieldOrigins(changed=[path.text for path, _, _ in self._casts])

    def process(self, row: RowData) -> RowData | RowError:
        """Return the row with its fields cast."""
        problems: dict[str, str] = {}
        for path, is_optional, cast in self._casts:
            slot = path.find(row)
            if slot is None:
                if not is_optional:
                    return missing_field_error(path.text)
                continue
            if is_optional and (slot.value is None or slot.value == ""):
                slot.replace(None)
                continue
            try:
                slot.replace(cast(slot.value))
            except MisfitError as error:
                problems[path.text] = str(error)
        if problems:
            message = "; ".join(f"field {name!r}: {problem}" for name, problem in problems.items())
            return RowError(message=message, details={"field": next(iter(problems))})
        return row


def _cast(field_type: str, text_format: str | None, zone: dt.tzinfo | None) -> _Cast:
    if field_type == "str":
        return written
    if field_type == "date":
        return to_date if text_format is None else lambda value: to_date(_parsed(value, text_format).date())
    if field_type == "datetime":
        return lambda value: to_datetime(_zoned(value, text_format, zone))
    return coercion_to(field_type)


def _parsed(value: object, text_format: str) -> dt.datetime:
    if not isinstance(value, str) or not value.isascii():
        raise MisfitError(f"expected text in the format {text_format!r}, got {describe_kind(value)}")
    try:
        return dt.datetime.strptime(value.strip(), text_format)  # noqa: DTZ007  the zone is checked
    except (ValueError, OverflowError) as error:
        raise MisfitError(f"expected text in the format {text_format!r}, got {describe_kind(value)}") from error


def _zoned(value: object, text_format: str | None, zone: dt.tzinfo | None) -> object:
    """Return a value with a zone, if one is known."""
    if text_format is not None:
        value = _parsed(value, text_format)
    elif isinstance(value, str) and zone is not None:
        try:
            value = dt.datetime.fromisoformat(value.strip())
        except ValueError:
            return value
    if isinstance(value, dt.datetime) and value.tzinfo is None and zone is not None:
        return value.replace(tzinfo=zone)
    return value

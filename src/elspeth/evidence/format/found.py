"""Databases exported as found: their records and values.

The records are one `database`, and for each of its tables one `table` followed by the rows. A value that JSON can
express is written as plain JSON, any other as an object whose only member names its kind. Each value has exactly one
written form.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from elspeth.evidence.format.canonical import Json, Members, canonical

__all__ = [
    "DATABASE",
    "KEYS",
    "PREDICATE_TYPE",
    "ROW",
    "TABLE",
    "Column",
    "DatabaseFacts",
    "Form",
    "UndecodableText",
    "Value",
    "read_value",
    "record_schema",
    "row_schema",
    "write_value",
]

PREDICATE_TYPE = "urn:elspeth:database-as-found:v1"
"""Identifies an export as found in statements and manifests."""

DATABASE, TABLE, ROW = "database", "table", "row"
"""The record types."""

KEYS: Mapping[str, tuple[str, ...]] = {
    DATABASE: (),
    TABLE: ("schema", "table"),
    ROW: ("schema", "table", "number"),
}
"""The fields that identify a record, by record type."""

_MAX_INTEGER = 2**53 - 1
"""The largest integer that every JSON reader represents exactly (RFC 8785, section 3.2.2.3)."""

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


class UndecodableText(bytes):
    """The bytes of a text that is not UTF-8."""


Value: TypeAlias = "str | bytes | int | float | bool | None"
"""A value of a database."""


class Form(StrEnum):
    """How the values of a column are written."""

    INTEGER = "integer"
    REAL = "real"
    TEXT = "text"
    BLOB = "blob"
    BOOLEAN = "boolean"
    ANY = "any"
    """A column that takes values of every type, and in which plain JSON numbers are integers."""
    ANY_REAL = "any_real"
    """A column that takes values of every type, and in which plain JSON numbers are floating-point numbers."""


_INTEGER: Json = {"type": "integer", "minimum": -_MAX_INTEGER, "maximum": _MAX_INTEGER}
_REAL: Json = {"type": "number"}
_TEXT: Json = {"type": "string"}
_BASE64: Json = {"type": "string", "contentEncoding": "base64"}
_TAGS: Mapping[str, Json] = {
    "blob": _BASE64,
    "integer": {"type": "string", "pattern": "^(0|-?[1-9][0-9]*)$"},
    "real": {"type": "string"},
    "text_bytes": _BASE64,
}
_NUMBERS_ARE_REAL = frozenset({Form.REAL, Form.ANY_REAL})

_PLAIN: Mapping[Form, tuple[Json, ...]] = {
    Form.INTEGER: (_INTEGER,),
    Form.REAL: (_REAL,),
    Form.TEXT: (_TEXT,),
    Form.BLOB: (),
    Form.BOOLEAN: ({"type": "boolean"},),
    Form.ANY: (_INTEGER, _TEXT),
    Form.ANY_REAL: (_REAL, _TEXT),
}
_TAGS_OF: Mapping[Form, tuple[str, ...]] = {
    Form.INTEGER: ("integer",),
    Form.REAL: ("real",),
    Form.TEXT: ("text_bytes",),
    Form.BLOB: ("blob",),
    Form.BOOLEAN: (),
    Form.ANY: tuple(_TAGS),
    Form.ANY_REAL: tuple(_TAGS),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table.

    `type` is the declared type.
    """

    name: str
    type: str
    form: Form


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseFacts:
    """The facts of an export as found about its database.

    `read_at` is the time of the snapshot, in UTC.
    """

    name: str
    engine: str
    read_at: str

    @classmethod
    def from_members(cls, members: Members) -> DatabaseFacts:
        """Take the facts from a JSON object."""
        return cls(name=members.text("name"), engine=members.text("engine"), read_at=members.text("read_at"))

    def to_json(self) -> dict[str, Json]:
        """Return the facts as members of a JSON object."""
        return {"name": self.name, "engine": self.engine, "read_at": self.read_at}

    @property
    def scope(self) -> str:
        """Return what the export proves and what it does not."""
        return f"states every record of {self.title}; says nothing about what the database should have held"

    @property
    def title(self) -> str:
        """Return the database's kind and name on one line."""
        return f"the {ascii(self.engine)[1:-1]} database {self.name!a} as found at {ascii(self.read_at)[1:-1]}"


def write_value(form: Form, value: Value) -> Json:
    """Return a value of a column as JSON."""
    match value:
        case None | str() | bool():
            return value
        case int():
            is_plain = form not in _NUMBERS_ARE_REAL and -_MAX_INTEGER <= value <= _MAX_INTEGER
            return value if is_plain else {"integer": str(value)}
        case float():
            is_plain = form in _NUMBERS_ARE_REAL and _is_kept_by_json(value)
            return value if is_plain else {"real": _real_text(value)}
        case UndecodableText():
            return {"text_bytes": base64.b64encode(value).decode()}
        case _:
            return {"blob": base64.b64encode(value).decode()}


def read_value(form: Form, written: Json) -> Value:
    """Return the value of a column from its JSON.

    Raises ValueError unless `write_value` could have written that JSON for the form.
    """
    if written is None:
        return None
    if isinstance(written, bool):
        value: Value = written
        fits = form is Form.BOOLEAN
    elif isinstance(written, str):
        value, fits = written, _TEXT in _PLAIN[form]
    elif isinstance(written, int | float):
        is_real = form in _NUMBERS_ARE_REAL
        value = float(written) if is_real else written
        fits = is_real or (isinstance(written, int) and _INTEGER in _PLAIN[form])
    else:
        value, fits = _read_tagged(written, _TAGS_OF[form]), True
    if not fits or write_value(form, value) != written:
        message = f"no value of the form {form}"
        raise ValueError(message)
    return value


def _read_tagged(written: Json, tags: Sequence[str]) -> Value:
    tag, text = next(iter(written.items())) if isinstance(written, Mapping) and len(written) == 1 else (None, None)
    if tag not in tags or not isinstance(text, str):
        message = f"expected an object with one member of {', '.join(tags)}"
        raise ValueError(message)
    if tag == "integer":
        return int(text)
    if tag == "real":
        return float(text)
    try:
        content = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        message = f"no base64: {error}"
        raise ValueError(message) from error
    if tag == "blob":
        return content
    try:
        content.decode()
    except UnicodeDecodeError:
        return UndecodableText(content)
    message = "text_bytes that are UTF-8"
    raise ValueError(message)


def _real_text(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return "-0" if _is_negative_zero(value) else canonical(value).decode()


def _is_kept_by_json(value: float) -> bool:
    """Return whether every JSON reader represents the number exactly."""
    is_large = value.is_integer() and abs(value) > _MAX_INTEGER
    return math.isfinite(value) and not is_large and not _is_negative_zero(value)


def _is_negative_zero(value: float) -> bool:
    return value == 0 and math.copysign(1, value) < 0


def row_schema(columns: Sequence[Column]) -> dict[str, Json]:
    """Return the JSON Schema of the values of a row."""
    names = [column.name for column in columns]
    return {
        "$schema": _DIALECT,
        "type": "object",
        "properties": {column.name: {"$ref": f"#/$defs/{column.form}"} for column in columns},
        "required": sorted(names),
        "additionalProperties": False,
        "$defs": {form.value: _form_schema(form) for form in sorted({column.form for column in columns})},
    }


def _form_schema(form: Form) -> Json:
    tags = {tag: _TAGS[tag] for tag in _TAGS_OF[form]}
    tagged: list[Json] = [
        {
            "type": "object",
            "properties": tags,
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": False,
        }
    ]
    return {"anyOf": [*_PLAIN[form], *(tagged if tags else ()), {"type": "null"}]}


def record_schema() -> bytes:
    """Return the JSON Schema of a record.

    It is the same for all databases. The schema of a row's values is in the record of its table.
    """
    text: Json = {"type": "string"}
    optional_text: Json = {"anyOf": [text, {"type": "null"}]}
    column: Json = _object({"name": text, "type": text, "form": {"enum": [form.value for form in Form]}})
    shapes: dict[str, dict[str, Json]] = {
        DATABASE: {"name": text, "engine": text, "version": text, "read_at": text, "encoding": text},
        TABLE: {
            "schema": text,
            "table": text,
            "kind": text,
            "definition": optional_text,
            "columns": {"type": "array", "items": column},
            "key": {"type": "array", "items": text},
            "order": optional_text,
            "row_schema": {"type": "object"},
        },
        ROW: {
            "schema": text,
            "table": text,
            "number": {"type": "integer", "minimum": 1},
            "values": {"type": "object"},
        },
    }
    return canonical(
        {
            "$schema": _DIALECT,
            "title": "Records of a database exported as found, version 1",
            "oneOf": [_object({"record_type": {"const": name}, **members}) for name, members in shapes.items()],
        }
    )


def _object(members: Mapping[str, Json]) -> Json:
    return {
        "type": "object",
        "properties": dict(members),
        "required": sorted(members),
        "additionalProperties": False,
    }

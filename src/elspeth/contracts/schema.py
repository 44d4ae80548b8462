"""The row schema that a plugin declares in its options."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = [
    "FIELD_PATTERN",
    "MAX_INTEGER",
    "SCHEMA_MODES",
    "SUPPORTED_TYPES",
    "FieldDefinition",
    "FieldType",
    "SchemaConfig",
    "SchemaMode",
    "decimal_places",
    "parse_type",
]

FieldType: TypeAlias = str
"""One of `SUPPORTED_TYPES`; a decimal with its places, such as `decimal(2)`."""

SchemaMode = Literal["strict", "free"]

SUPPORTED_TYPES = frozenset({"str", "int", "float", "bool", "any", "date", "datetime", "duration", "decimal(N)"})
FIELD_PATTERN = re.compile(
    r"^(\w+):\s*(str|int|float|bool|any|datetime|date|duration|decimal\((?:1[0-8]|[0-9])\))(\?)?$"
)
_DECIMAL = re.compile(r"decimal\(([0-9]+)\)")

MAX_INTEGER = 2**53 - 1
"""The largest integer that a row may hold: beyond it, JSON numbers are not exact (RFC 8259, section 6)."""

_JSON_TYPES: Mapping[FieldType, str] = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
_JSON_FORMATS: Mapping[FieldType, str] = {"date": "date", "datetime": "date-time", "duration": "duration"}

_NEEDS = frozenset({"guaranteed_fields", "required_fields", "required_input_fields"})
"""The keys with which later releases of the predecessor declare required fields."""

# Settings may use two vocabularies. The first word of each pair is recorded.
_MODES: Mapping[str, SchemaMode | None] = {
    "strict": "strict",
    "fixed": "strict",
    "free": "free",
    "flexible": "free",
    "dynamic": None,
    "observed": None,
}

SCHEMA_MODES = tuple(_MODES)
"""The modes that settings may name."""


@dataclass(frozen=True, slots=True)
class FieldDefinition:
    """A field of a schema: its name and type."""

    name: str
    field_type: FieldType
    required: bool = True

    @classmethod
    def parse(cls, spec: str) -> FieldDefinition:
        """Parse ``name: type`` with an optional trailing ``?``.

        Raises ValueError for anything else.
        """
        match = FIELD_PATTERN.match(spec.strip())
        if match is None:
            raise ValueError(
                f"field {spec!r} is not understood: expected 'name: type' with the type one of {_types()}{_hint(spec)}"
            )
        name, field_type, optional = match.groups()
        return cls(name=name, field_type=field_type, required=optional is None)

    def to_dict(self) -> dict[str, str | bool]:
        """Return the field as the audit trail records it."""
        return {"name": self.name, "type": self.field_type, "required": self.required}

    def json_schema(self) -> dict[str, object]:
        """Return the JSON Schema of the field's values.

        Values are as in canonical JSON: decimals, dates, times and durations are text. An optional field may be null.
        """
        if self.field_type == "any":
            return {}
        kind, more = _JSON_TYPES.get(self.field_type, "string"), {}
        if self.field_type in _JSON_FORMATS:
            more = {"format": _JSON_FORMATS[self.field_type]}
        elif (places := decimal_places(self.field_type)) is not None:
            more = {"pattern": "^-?[0-9]+" + (f"\\.[0-9]{{{places}}}$" if places else "$")}
        return {"type": kind if self.required else [kind, "null"], **more}


@dataclass(frozen=True, slots=True)
class SchemaConfig:
    """The rows that a plugin accepts.

    These are any rows (dynamic), rows with at least the named fields (free), or with only those (strict).
    """

    mode: SchemaMode | None
    fields: tuple[FieldDefinition, ...] | None
    is_dynamic: bool

    @classmethod
    def from_dict(cls, config: Mapping[str, object]) -> SchemaConfig:
        """Read the ``schema`` option.

        Raises ValueError, with what was expected and found.
        """
        unknown = sorted(set(map(str, config)) - {"mode", "fields"})
        if unknown:
            hint = "; name them in 'fields', with mode 'flexible', as in 'id: any'" if unknown[0] in _NEEDS else ""
            raise ValueError(f"unknown key {unknown[0]!r}: expected 'mode' and 'fields'{hint}")
        fields, mode = config.get("fields"), config.get("mode")
        if mode is None:
            if fields == "dynamic":
                return cls(mode=None, fields=None, is_dynamic=True)
            raise ValueError("mode is missing: expected 'free' or 'strict' beside a list of fields, or fields: dynamic")
        if not isinstance(mode, str) or mode not in _MODES:
            raise ValueError(f"mode {mode!r} is unknown: expected one of {', '.join(_MODES)}")
        resolved = _MODES[mode]
        if resolved is None:
            if fields not in (None, "dynamic"):
                raise ValueError(f"mode {mode!r} accepts any fields: expected no list of fields beside it")
            return cls(mode=None, fields=None, is_dynamic=True)
        return cls(mode=resolved, fields=_parse_fields(fields, mode), is_dynamic=False)

    def to_dict(self) -> dict[str, object]:
        """Return the schema as the audit trail records it.

        `from_dict` reads it back.
        """
        if self.fields is None:
            return {"fields": "dynamic"}
        return {"mode": self.mode, "fields": [field.to_dict() for field in self.fields]}

    def json_schema(self) -> dict[str, object]:
        """Return the JSON Schema of rows that satisfy the schema.

        It is in draft 2020-12, and describes rows after the schema was applied.
        """
        schema: dict[str, object] = {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"}
        if self.fields is not None:
            schema["properties"] = {field.name: field.json_schema() for field in self.fields}
            schema["required"] = [field.name for field in self.fields if field.required]
            schema["additionalProperties"] = self.allows_extra_fields
        return schema

    @property
    def allows_extra_fields(self) -> bool:
        """Return whether rows may have fields beyond the schema."""
        return self.mode != "strict"


def _parse_fields(specs: object, mode: str) -> tuple[FieldDefinition, ...]:
    if not isinstance(specs, list | tuple) or not specs:
        raise ValueError(f"mode {mode!r} needs a list of fields such as 'id: int', got {specs!r}")
    fields = tuple(_parse_field(spec) for spec in specs)
    names = [field.name for field in fields]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"field {repeated[0]!r} is declared more than once")
    return fields


def _parse_field(spec: object) -> FieldDefinition:
    match spec:
        case str():
            return FieldDefinition.parse(spec)
        case {"name": str(name), "type": str(field_type), "required": bool(required)}:
            return FieldDefinition.parse(f"{name}: {field_type}{'' if required else '?'}")
        case dict() if len(spec) == 1:
            # An unquoted "- id: int" in YAML is a mapping of one pair.
            [(name, field_type)] = spec.items()
            return FieldDefinition.parse(f"{name}: {field_type}")
        case _:
            raise ValueError(f"field {spec!r} is not understood: expected 'name: type' with the type one of {_types()}")


def parse_type(text: str) -> FieldType:
    """Read a type as a schema names it.

    Raises ValueError for any other text.
    """
    match = FIELD_PATTERN.fullmatch(f"x: {text}")
    if match is None or match[3]:
        raise ValueError(f"type {text!r} is not known: expected one of {_types()}{_hint(text)}")
    return match[2]


def decimal_places(field_type: FieldType) -> int | None:
    """Return the places of a decimal type, None for others."""
    match = _DECIMAL.fullmatch(field_type)
    return None if match is None else int(match[1])


def _types() -> str:
    return ", ".join(sorted(SUPPORTED_TYPES))


def _hint(spec: str) -> str:
    return " with N, the decimal places, from 0 to 18" if "decimal" in spec else ""

"""The shapes of records, read from the JSON Schema (draft 2020-12) that a bag carries.

Only what that schema needs of the language is understood; anything else is refused, because a keyword that is passed
over is a rule that is not checked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from elspeth.evidence.canonical import Json, parse_object
from elspeth.evidence.errors import EvidenceError, shown

__all__ = ["Shape", "ValueRule", "read_shapes"]

_ANNOTATIONS = {"title", "description", "$comment", "contentMediaType"}
_VALUE_KEYWORDS = {"type", "const", "enum", "pattern", "maxLength", "minimum", "maximum"}
_SHAPE_KEYWORDS = {"type", "properties", "required", "additionalProperties", "allOf"}
_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}

_PLAIN_PATTERN = re.compile(r"\^[^\\^$()|]*(?:\\\.[^\\^$()|]*)*\$")
"""Patterns that Python and ECMAScript read alike, anchored at both ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueRule:
    """What a field may hold. `type` is None where only `choices` matter; `pattern` matches the whole text."""

    type: str | None = None
    choices: tuple[Json, ...] | None = None
    pattern: re.Pattern[str] | None = None
    max_length: int | None = None
    minimum: float | None = None
    maximum: float | None = None
    nullable: bool = False

    def problem(self, value: Json) -> str | None:
        """What is wrong with the value, None if nothing is."""
        if value is None and self.nullable:
            return None
        if self.choices is not None and not any(value is each or _same(value, each) for each in self.choices):
            return f"expected {' or '.join(map(shown, self.choices))}, got {shown(value)}"
        if self.type is not None and not _is_of_type(value, self.type):
            expected = f"{self.type} or null" if self.nullable else self.type
            return f"expected {expected}, got {shown(value)}"
        if isinstance(value, str):
            return self._text_problem(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return self._number_problem(value)
        return None

    def _text_problem(self, value: str) -> str | None:
        if self.max_length is not None and len(value) > self.max_length:
            return f"expected at most {self.max_length} characters, got {len(value)}"
        if self.pattern is not None and not self.pattern.fullmatch(value):
            return f"expected text that matches {self.pattern.pattern!r}, got {shown(value)}"
        return None

    def _number_problem(self, value: float) -> str | None:
        if self.minimum is not None and value < self.minimum:
            return f"expected at least {self.minimum}, got {value}"
        if self.maximum is not None and value > self.maximum:
            return f"expected at most {self.maximum}, got {value}"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One form of the records of a type: its fields, those that must be there, and groups of which one is not null."""

    rules: Mapping[str, ValueRule]
    required: frozenset[str]
    exactly_one: tuple[tuple[str, ...], ...]

    def problem(self, record: Mapping[str, Json]) -> tuple[str, str] | None:
        """The first field that is wrong, and what is wrong with it; None if the record has this shape."""
        for name in sorted(self.required - record.keys()):
            return name, "expected this field, got none"
        for name, value in record.items():
            rule = self.rules.get(name)
            found = "expected no field of this name, got one" if rule is None else rule.problem(value)
            if found:
                return name, found
        for names in self.exactly_one:
            present = [name for name in names if record[name] is not None]
            if len(present) != 1:
                return ", ".join(names), f"expected exactly one that is not null, got {len(present)}"
        return None

    @property
    def constants(self) -> Mapping[str, Json]:
        """The fields that have one value only: they tell shapes apart."""
        rules = self.rules.items()
        return {name: rule.choices[0] for name, rule in rules if rule.choices is not None and len(rule.choices) == 1}

    def fits_constants(self, record: Mapping[str, Json]) -> bool:
        """Whether the fields that tell shapes apart say that the record is of this one."""
        return all(name in record and _same(record[name], value) for name, value in self.constants.items())


def read_shapes(data: bytes, place: str) -> dict[str, list[Shape]]:
    """The shapes of every record type; EvidenceError if the schema uses what this verifier does not know."""
    return _SchemaReader(parse_object(data, place), place).shapes()


class _SchemaReader:
    def __init__(self, document: Mapping[str, Json], place: str) -> None:
        definitions = document.get("$defs")
        self._place = place
        self._alternatives = document.get("oneOf")
        self._definitions: Mapping[str, Json] = definitions if isinstance(definitions, dict) else {}

    def shapes(self) -> dict[str, list[Shape]]:
        if not isinstance(self._alternatives, list):
            raise self._error("", f"expected oneOf with the shapes of records, got {shown(self._alternatives)}")
        found: dict[str, list[Shape]] = {}
        for alternative in self._alternatives:
            where, schema = self._resolved(alternative, "oneOf")
            record_type = self._record_type(schema, where)
            # The manifest closes exports of other forms. In a bag the statement stands for it.
            if record_type != "manifest":
                found.setdefault(record_type, []).append(self._shape(schema, where))
        return found

    def _record_type(self, schema: Mapping[str, Json], where: str) -> str:
        properties = schema.get("properties")
        rule = properties.get("record_type") if isinstance(properties, dict) else None
        name = rule.get("const") if isinstance(rule, dict) else None
        if not isinstance(name, str):
            raise self._error(where, "expected a shape whose record_type is a constant")
        return name

    def _shape(self, schema: Mapping[str, Json], where: str) -> Shape:
        self._expect_keywords(schema, _SHAPE_KEYWORDS, where)
        properties, required = schema.get("properties"), schema.get("required")
        if schema.get("type") != "object" or schema.get("additionalProperties") is not False:
            raise self._error(where, "expected an object without additional properties")
        if not isinstance(properties, dict) or not isinstance(required, list) or not set(required) <= properties.keys():
            raise self._error(where, "expected properties, and which of them are required")
        rules = {name: self._value(rule, f"{where}/properties/{name}") for name, rule in properties.items()}
        groups = schema.get("allOf", [])
        if not isinstance(groups, list):
            raise self._error(where, f"expected an array in allOf, got {shown(groups)}")
        exactly_one = tuple(self._exactly_one(group, f"{where}/allOf") for group in groups)
        if not {name for names in exactly_one for name in names} <= set(required):
            raise self._error(where, "expected allOf to be about required properties")
        return Shape(rules=rules, required=frozenset(map(str, required)), exactly_one=exactly_one)

    def _value(self, schema: Json, where: str) -> ValueRule:
        where, members = self._resolved(schema, where)
        alternatives = members.get("anyOf")
        if alternatives is None:
            return self._plain_value(members, where, nullable=False)
        self._expect_keywords(members, {"anyOf"}, where)
        if not isinstance(alternatives, list) or len(alternatives) != 2 or alternatives[1] != {"type": "null"}:  # noqa: PLR2004
            raise self._error(where, "expected anyOf to be of a value and null")
        where, members = self._resolved(alternatives[0], where)
        return self._plain_value(members, where, nullable=True)

    def _plain_value(self, members: Mapping[str, Json], where: str, *, nullable: bool) -> ValueRule:
        self._expect_keywords(members, _VALUE_KEYWORDS, where)
        kind = members.get("type")
        choices = (members["const"],) if "const" in members else members.get("enum")
        if choices is not None and not (isinstance(choices, list | tuple) and all(map(_is_plain, choices))):
            raise self._error(where, f"expected plain values to choose from, got {shown(choices)}")
        if (kind is None and not choices) or (kind is not None and kind not in _TYPES):
            raise self._error(where, f"expected a type of {', '.join(_TYPES)}, got {shown(kind)}")
        max_length = self._bound(members, "maxLength", where)
        return ValueRule(
            type=str(kind) if kind is not None else None,
            choices=None if choices is None else tuple(choices),
            pattern=self._pattern(members, where),
            max_length=None if max_length is None else int(max_length),
            minimum=self._bound(members, "minimum", where),
            maximum=self._bound(members, "maximum", where),
            nullable=nullable,
        )

    def _pattern(self, members: Mapping[str, Json], where: str) -> re.Pattern[str] | None:
        text = members.get("pattern")
        if text is None:
            return None
        try:
            if isinstance(text, str) and _PLAIN_PATTERN.fullmatch(text):
                return re.compile(text[1:-1])
        except (re.error, OverflowError, RecursionError) as error:
            raise self._error(where, f"expected a pattern, got {shown(text)}: {error}") from error
        raise self._error(where, f"expected a plain pattern from ^ to $, got {shown(text)}")

    def _bound(self, members: Mapping[str, Json], name: str, where: str) -> float | None:
        value = members.get(name)
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
            return value
        raise self._error(where, f"expected a number in {name}, got {shown(value)}")

    def _exactly_one(self, group: Json, where: str) -> tuple[str, ...]:
        """The columns of `oneOf: [this one is not null and the others are, ...]`."""
        options = group.get("oneOf") if isinstance(group, dict) and len(group) == 1 else None
        first = options[0] if isinstance(options, list) and options else None
        properties = first.get("properties") if isinstance(first, dict) else None
        names = tuple(properties) if isinstance(properties, dict) else ()
        if options != [_only(chosen, names) for chosen in names]:
            raise self._error(where, "expected oneOf with each of several properties as the one that is not null")
        return names

    def _resolved(self, schema: Json, where: str) -> tuple[str, Mapping[str, Json]]:
        if not isinstance(schema, dict):
            raise self._error(where, f"expected an object, got {shown(schema)}")
        reference = schema.get("$ref")
        if reference is None:
            return where, schema
        self._expect_keywords(schema, {"$ref"}, where)
        name = reference.removeprefix("#/$defs/") if isinstance(reference, str) else ""
        target = self._definitions.get(name)
        # A definition that is a reference again is refused as an unknown keyword: nothing can go round in circles.
        if not isinstance(target, dict):
            raise self._error(where, f"expected a reference to one of $defs, got {shown(reference)}")
        return f"$defs/{name}", target

    def _expect_keywords(self, members: Mapping[str, Json], known: set[str], where: str) -> None:
        for name in members:
            if name not in known and name not in _ANNOTATIONS:
                raise self._error(where, f"the keyword {shown(name)} is not known to this verifier: use a newer one")

    def _error(self, where: str, problem: str) -> EvidenceError:
        return EvidenceError(f"{self._place}: {where}" if where else self._place, problem)


def _only(chosen: str, names: Sequence[str]) -> Json:
    return {"properties": {name: {"not": {"type": "null"}} if name == chosen else {"type": "null"} for name in names}}


def _same(left: Json, right: Json) -> bool:
    return type(left) is type(right) and left == right


def _is_plain(value: Json) -> bool:
    return value is None or isinstance(value, str | int | float)


def _is_of_type(value: Json, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    return isinstance(value, _TYPES[name])

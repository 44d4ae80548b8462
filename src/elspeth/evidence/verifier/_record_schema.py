"""Reads the shapes of records from a bag's JSON Schema.

It understands only the part of JSON Schema (draft 2020-12) that the generated schemas use. Anything else is refused,
because to ignore a keyword is to leave a rule unchecked. An attacker may have written the schema, so its size is
limited.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod

from elspeth.evidence.format.canonical import Json, parse_unambiguous
from elspeth.evidence.format.errors import EvidenceError, shown
from elspeth.evidence.format.limits import (
    MAX_CHOICES,
    MAX_DEFINITIONS,
    MAX_FIELDS,
    MAX_PATTERN,
    MAX_SHAPES,
    MAX_TYPES,
    MAX_VARIANTS,
)
from elspeth.evidence.verifier._shapes import TYPES, Shape, ValueRule

__all__ = ["read_shapes"]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_ANNOTATIONS = {"title", "description", "$comment", "contentMediaType"}
_TOP_KEYWORDS = {"$schema", "oneOf", "$defs"}
_VALUE_KEYWORDS = {"type", "const", "enum", "pattern", "maxLength", "minimum", "maximum"}
_SHAPE_KEYWORDS = {"type", "properties", "required", "additionalProperties", "allOf"}
_MANIFEST = "manifest"
"""The type of the record that closes the other forms of exports. A bag has its statement instead."""

_ATOM = re.compile(r"(\[[0-9A-Za-z-]+\]|\\\.|[0-9A-Za-z_: -])(?:\{([0-9]{1,3})\})?")
"""A character or class with a fixed count. A pattern made of these matches in one way only, and in linear time."""


def read_shapes(
    data: bytes, place: str, parse: Callable[[bytes, str], Mapping[str, Json]] = parse_unambiguous
) -> dict[str, list[Shape]]:
    """Return the shapes of every record type.

    Raises EvidenceError if the schema uses what this verifier does not know, or is too large.
    """
    return _SchemaReader(parse(data, place), place).shapes()


class _SchemaReader:
    def __init__(self, document: Mapping[str, Json], place: str) -> None:
        self._place = place
        self._expect_keywords(document, _TOP_KEYWORDS, "")
        if document.get("$schema", _DIALECT) != _DIALECT:
            raise self._error("$schema", f"expected {_DIALECT}, got {shown(document['$schema'])}")
        alternatives, definitions = document.get("oneOf"), document.get("$defs", {})
        if not isinstance(alternatives, list):
            raise self._error("", f"expected oneOf with the shapes of records, got {shown(alternatives)}")
        if not isinstance(definitions, dict):
            raise self._error("$defs", f"expected an object of definitions, got {shown(definitions)}")
        self._expect_few("alternatives in oneOf", alternatives, MAX_DEFINITIONS, "")
        self._expect_few("definitions", definitions, MAX_DEFINITIONS, "$defs")
        self._alternatives: Sequence[Json] = alternatives
        self._definitions: Mapping[str, Json] = definitions
        self._rules: dict[str, ValueRule] = {}
        """The rules of the definitions that have been read so far."""

    def shapes(self) -> dict[str, list[Shape]]:
        found: dict[str, list[Shape]] = {}
        for alternative in self._alternatives:
            where, schema = self._resolved(alternative, "oneOf")
            record_type = self._record_type(schema, where)
            if record_type != _MANIFEST:
                found.setdefault(record_type, []).append(self._shape(schema, where))
        self._expect_few("record types", found, MAX_TYPES, "oneOf")
        for record_type, shapes in found.items():
            self._expect_few(f"shapes of {record_type} records", shapes, MAX_SHAPES, "oneOf")
        # Unused definitions must be understood, too.
        for name, definition in self._definitions.items():
            if not isinstance(definition, dict) or "properties" not in definition:
                self._definition(name, f"$defs/{name}")
            elif self._record_type(definition, f"$defs/{name}") == _MANIFEST:
                self._check_manifest(definition, f"$defs/{name}")
            else:
                self._shape(definition, f"$defs/{name}")
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
        self._expect_few("properties", properties, MAX_FIELDS, where)
        if schema.get("type") != "object" or schema.get("additionalProperties") is not False:
            raise self._error(where, "expected an object without additional properties")
        names = required if isinstance(required, list) and all(isinstance(name, str) for name in required) else None
        if not isinstance(properties, dict) or names is None or not set(names) <= properties.keys():
            raise self._error(where, "expected properties, and which of them are required")
        rules = {name: self._value(rule, f"{where}/properties/{name}") for name, rule in properties.items()}
        return Shape(rules=rules, required=frozenset(names), exactly_one=self._groups(schema, set(names), where))

    def _groups(self, schema: Mapping[str, Json], required: set[str], where: str) -> tuple[tuple[str, ...], ...]:
        groups = schema.get("allOf", [])
        if not isinstance(groups, list):
            raise self._error(where, f"expected an array in allOf, got {shown(groups)}")
        self._expect_few("groups in allOf", groups, MAX_VARIANTS, where)
        exactly_one = tuple(self._exactly_one(group, f"{where}/allOf") for group in groups)
        names = [name for group in exactly_one for name in group]
        if not set(names) <= required or len(set(names)) != len(names):
            raise self._error(where, "expected allOf to be about required properties, each in one group")
        if prod(map(len, exactly_one)) > MAX_VARIANTS:
            problem = f"expected groups in allOf that leave at most {MAX_VARIANTS} choices, got more"
            raise self._error(where, problem)
        return exactly_one

    def _value(self, schema: Json, where: str) -> ValueRule:
        if isinstance(schema, dict) and "$ref" in schema:
            self._expect_keywords(schema, {"$ref"}, where)
            reference = schema["$ref"]
            name = reference.removeprefix("#/$defs/") if isinstance(reference, str) else ""
            if name in self._definitions:
                return self._definition(name, where)
        where, members = self._resolved(schema, where)
        return self._rule(members, where)

    def _definition(self, name: str, where: str) -> ValueRule:
        """Read the definition of a value, once.

        A definition that refers to another is refused, so none can refer to itself.
        """
        if name not in self._rules:
            definition = self._definitions[name]
            if not isinstance(definition, dict):
                raise self._error(where, f"expected an object, got {shown(definition)}")
            self._rules[name] = self._rule(definition, f"$defs/{name}")
        return self._rules[name]

    def _rule(self, members: Mapping[str, Json], where: str) -> ValueRule:
        alternatives = members.get("anyOf")
        if alternatives is None:
            return self._plain_value(members, where, nullable=False)
        self._expect_keywords(members, {"anyOf"}, where)
        if not isinstance(alternatives, list) or len(alternatives) != 2 or alternatives[1] != {"type": "null"}:  # noqa: PLR2004
            raise self._error(where, "expected anyOf to be of a value and null")
        first = alternatives[0]
        if isinstance(first, dict) and "anyOf" in first:
            raise self._error(where, "expected anyOf to be of a value and null")
        rule = self._value(first, where)
        return replace(rule, nullable=True)

    def _plain_value(self, members: Mapping[str, Json], where: str, *, nullable: bool) -> ValueRule:
        self._expect_keywords(members, _VALUE_KEYWORDS, where)
        kind = members.get("type")
        choices = (members["const"],) if "const" in members else members.get("enum")
        if choices is not None and not (isinstance(choices, list | tuple) and all(map(_is_plain, choices))):
            raise self._error(where, f"expected plain values to choose from, got {shown(choices)}")
        self._expect_few("values to choose from", choices, MAX_CHOICES, where)
        if choices is not None and len({(type(each), each) for each in choices}) != len(choices):
            raise self._error(where, f"expected different values to choose from, got {shown(choices)}")
        if (kind is None and not choices) or (kind is not None and not (isinstance(kind, str) and kind in TYPES)):
            raise self._error(where, f"expected a type of {', '.join(TYPES)}, got {shown(kind)}")
        max_length = self._bound(members, "maxLength", where)
        regex, length = self._regex(members, where)
        return ValueRule(
            type=str(kind) if kind is not None else None,
            choices=None if choices is None else tuple(choices),
            regex=regex,
            regex_length=length,
            max_length=None if max_length is None else int(max_length),
            minimum=self._bound(members, "minimum", where),
            maximum=self._bound(members, "maximum", where),
            nullable=nullable,
        )

    def _regex(self, members: Mapping[str, Json], where: str) -> tuple[re.Pattern[str] | None, int]:
        """Return a regular expression and its length in characters."""
        text = members.get("pattern")
        if text is None:
            return None, 0
        problem = (
            f"expected a pattern of characters and classes, each with a fixed count, from ^ to $, got {shown(text)}"
        )
        if not isinstance(text, str) or len(text) > MAX_PATTERN or text[:1] + text[-1:] != "^$":
            raise self._error(where, problem)
        length, position = 0, 1
        while position < len(text) - 1:
            atom = _ATOM.match(text, position)
            if atom is None:
                raise self._error(where, problem)
            length += int(atom[2] or 1)
            position = atom.end()
        if length > MAX_PATTERN:
            raise self._error(where, f"expected a pattern of at most {MAX_PATTERN:,} characters, got one of {length:,}")
        try:
            return re.compile(text[1:-1]), length
        except re.error as error:
            raise self._error(where, f"{problem}: {error}") from error

    def _bound(self, members: Mapping[str, Json], name: str, where: str) -> float | None:
        value = members.get(name)
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
            return value
        raise self._error(where, f"expected a number in {name}, got {shown(value)}")

    def _exactly_one(self, group: Json, where: str) -> tuple[str, ...]:
        """Return the columns of which exactly one is not null.

        The schema states this as `oneOf`, with one alternative for each column that may be the one that is not null.
        """
        options = group.get("oneOf") if isinstance(group, dict) and len(group) == 1 else None
        self._expect_few("choices in oneOf", options, MAX_VARIANTS, where)
        first = options[0] if isinstance(options, list) and options else None
        properties = first.get("properties") if isinstance(first, dict) else None
        names = tuple(properties) if isinstance(properties, dict) else ()
        if (
            not isinstance(options, list)
            or not names
            or not _same_members(options, [_only(each, names) for each in names])
        ):
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
        if not isinstance(target, dict):
            raise self._error(where, f"expected a reference to one of $defs, got {shown(reference)}")
        return f"$defs/{name}", target

    def _expect_keywords(self, members: Mapping[str, Json], known: set[str], where: str) -> None:
        for name in members:
            if name not in known and name not in _ANNOTATIONS:
                raise self._error(where, f"the keyword {shown(name)} is not known to this verifier: use a newer one")

    def _expect_few(self, what: str, found: object, most: int, where: str) -> None:
        if isinstance(found, list | dict | tuple) and len(found) > most:
            raise self._error(where, f"expected at most {most} {what}, got {len(found):,}")

    def _check_manifest(self, schema: Mapping[str, Json], where: str) -> None:
        """Refuse unknown keywords in the description of manifests."""
        known = {*_SHAPE_KEYWORDS, *_VALUE_KEYWORDS, "items", "$ref"}
        self._expect_keywords(schema, known, where)
        properties = schema.get("properties")
        parts = [*(properties.values() if isinstance(properties, dict) else ()), schema.get("items")]
        for part in (*parts, schema.get("additionalProperties")):
            if isinstance(part, dict):
                self._check_manifest(part, where)

    def _error(self, where: str, problem: str) -> EvidenceError:
        return EvidenceError(f"{self._place}: {where}" if where else self._place, problem)


def _only(chosen: str, names: Sequence[str]) -> Json:
    return {"properties": {name: {"not": {"type": "null"}} if name == chosen else {"type": "null"} for name in names}}


def _same_members(left: Sequence[Json], right: Sequence[Json]) -> bool:
    """Return whether two arrays differ only in their order."""
    return len(left) == len(right) and all(each in left for each in right)


def _is_plain(value: Json) -> bool:
    return value is None or isinstance(value, str | int | float)

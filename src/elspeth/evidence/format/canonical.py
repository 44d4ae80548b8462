"""Canonical JSON (RFC 8785), and strict parsers."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeAlias, cast

import orjson
import rfc8785

from elspeth.evidence.format.errors import EvidenceError, excerpt, printable, shown

__all__ = [
    "Json",
    "Members",
    "canonical",
    "decode_base64",
    "describe_difference",
    "parse_canonical",
    "parse_json",
    "parse_object",
    "parse_unambiguous",
    "shown_json",
]

Json: TypeAlias = "Mapping[str, Json] | Sequence[Json] | str | int | float | bool | None"

_LONGEST_SHOWN = 200
"""Characters of a value in JSON that a message shows."""

_SHA256 = re.compile("[0-9a-f]{64}")

_MAX_INTEGER = 2**53 - 1
_DEPTH = 12
"""How deep records are nested: the JSON Schema of a row is the deepest part."""

_SMALLEST, _LARGEST = 1e-4, 1e16
"""The magnitudes between which orjson writes fractions as RFC 8785 does."""


def canonical(value: Json) -> bytes:
    """Return the canonical JSON of a value.

    Raises ValueError for a value that has no canonical JSON.
    """
    # A CanonicalizationError is a ValueError. The stubs demand lists and dicts where any sequence and mapping will do.
    return rfc8785.dumps(cast("dict[str, object]", value))  # type: ignore[arg-type]


def parse_json(data: bytes, place: str) -> Json:
    """Parse a JSON text.

    Raises EvidenceError for anything else.
    """
    try:
        return cast("Json", orjson.loads(data))
    except orjson.JSONDecodeError as error:
        raise EvidenceError(place, f"expected JSON, got {excerpt(data)}: {error}") from error


def parse_object(data: bytes, place: str) -> Mapping[str, Json]:
    """Parse a JSON object.

    Raises EvidenceError for anything else.
    """
    value = parse_json(data, place)
    if not isinstance(value, dict):
        raise EvidenceError(place, f"expected a JSON object, got {excerpt(data)}")
    return value


def parse_canonical(data: bytes, place: str) -> Mapping[str, Json]:
    """Parse a JSON object in canonical form.

    Raises EvidenceError for any other bytes.
    """
    value = parse_object(data, place)
    # Quick check: sorted JSON of values that have one spelling is canonical.
    if _is_plain(value, _DEPTH) and orjson.dumps(value, option=orjson.OPT_SORT_KEYS) == data:
        return value
    try:
        expected = canonical(value)
    except (ValueError, RecursionError) as error:
        raise EvidenceError(place, f"has no canonical JSON: {error}") from error
    if expected != data:
        raise EvidenceError(place, f"is not canonical JSON: {describe_difference(expected, data)}")
    return value


def parse_unambiguous(data: bytes, place: str) -> Mapping[str, Json]:
    """Parse a JSON object in which no name occurs twice.

    Raises EvidenceError for anything else.
    """
    try:
        value = json.loads(data, object_pairs_hook=_distinct_members, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise EvidenceError(place, f"expected JSON without names that occur twice: {error}") from error
    if not isinstance(value, dict):
        raise EvidenceError(place, f"expected a JSON object, got {excerpt(data)}")
    return value


class Members:
    """The members of a JSON object, each taken once.

    Every method that takes a member raises EvidenceError if it is missing or of another type.
    """

    def __init__(self, members: Mapping[str, Json], place: str) -> None:
        self._rest = dict(members)
        self._place = place

    def close(self) -> None:
        """Raise EvidenceError if a member is left.

        A member that no code reads would go unchecked.
        """
        for name in self._rest:
            raise EvidenceError(self._place, f"expected no further member, got {shown(name)}")

    def expect(self, name: str, value: Json) -> None:
        """Take a member that must have this value."""
        found = self._take(name)
        if found != value or isinstance(found, bool):
            raise self._unexpected(name, shown(value), found)

    def has(self, name: str) -> bool:
        """Return whether the member exists and was not taken yet."""
        return name in self._rest

    def skip(self, name: str) -> None:
        """Take a member that only older versions wrote."""
        self._rest.pop(name, None)

    def text(self, name: str) -> str:
        """Take a text."""
        value = self._take(name)
        if not isinstance(value, str):
            raise self._unexpected(name, "text", value)
        return value

    def sha256(self, name: str) -> str:
        """Take a SHA-256 in hexadecimal."""
        value = self.text(name)
        if not _SHA256.fullmatch(value):
            raise self._unexpected(name, "a SHA-256 in hexadecimal", value)
        return value

    def sha256s(self, name: str) -> tuple[str, ...]:
        """Take an array of SHA-256 in hexadecimal."""
        values = self.texts(name)
        if not all(map(_SHA256.fullmatch, values)):
            raise self._unexpected(name, "an array of SHA-256 in hexadecimal", values)
        return values

    def optional_sha256(self, name: str) -> str | None:
        """Take 64 hexadecimal digits or null."""
        value = self.optional_text(name)
        if value is not None and not _SHA256.fullmatch(value):
            raise self._unexpected(name, "64 hexadecimal digits or null", value)
        return value

    def number(self, name: str) -> int:
        """Take an integer."""
        value = self._take(name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._unexpected(name, "a whole number", value)
        return value

    def boolean(self, name: str) -> bool:
        """Take a boolean."""
        value = self._take(name)
        if not isinstance(value, bool):
            raise self._unexpected(name, "true or false", value)
        return value

    def sequence(self, name: str) -> Sequence[Json]:
        """Take an array."""
        value = self._take(name)
        if not isinstance(value, list):
            raise self._unexpected(name, "an array", value)
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """Take an array of texts."""
        values = self.sequence(name)
        texts = tuple(value for value in values if isinstance(value, str))
        if len(texts) != len(values):
            raise self._unexpected(name, "an array of texts", values)
        return texts

    def objects(self, name: str) -> list[Members]:
        """Take an array of objects."""
        values = self.sequence(name)
        if not all(isinstance(value, dict) for value in values):
            raise self._unexpected(name, "an array of objects", values)
        places = (f"{self._place}: {name}[{number}]" for number in range(len(values)))
        return [Members(cast("Mapping[str, Json]", value), place) for value, place in zip(values, places, strict=True)]

    def optional_text(self, name: str) -> str | None:
        """Take a text or null."""
        value = self._take(name)
        if value is not None and not isinstance(value, str):
            raise self._unexpected(name, "text or null", value)
        return value

    def optional_number(self, name: str) -> int | None:
        """Take an integer or null."""
        value = self._take(name)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise self._unexpected(name, "a whole number or null", value)
        return value

    def optional_object(self, name: str) -> Mapping[str, Json] | None:
        """Take an object or null, without reading its members."""
        value = self._take(name)
        if value is not None and not isinstance(value, dict):
            raise self._unexpected(name, "an object or null", value)
        return value

    def members(self, name: str) -> Members:
        """Take an object."""
        value = self._take(name)
        if not isinstance(value, dict):
            raise self._unexpected(name, "an object", value)
        return Members(value, f"{self._place}: {name}")

    def counts(self, name: str) -> dict[str, int]:
        """Take an object whose values are positive integers."""
        value = self._take(name)
        counts = {each: count for each, count in value.items() if type(count) is int} if isinstance(value, dict) else {}
        if counts != value or any(count < 1 for count in counts.values()):
            raise self._unexpected(name, "an object of counts of at least one", value)
        return counts

    def _take(self, name: str) -> Json:
        if name not in self._rest:
            raise EvidenceError(self._place, f"expected a member {name!r}, got none")
        return self._rest.pop(name)

    def _unexpected(self, name: str, expected: str, found: object) -> EvidenceError:
        return EvidenceError(f"{self._place}: {name}", f"expected {expected}, got {shown(found)}")


def _is_plain(value: Json, depth: int) -> bool:
    """Return whether orjson writes the value as RFC 8785 does.

    The answer is no for values nested deeper than `depth`, and for names beyond ASCII, which may be sorted differently.
    """
    if value is None or isinstance(value, str | bool):
        return True
    if isinstance(value, int):
        return -_MAX_INTEGER <= value <= _MAX_INTEGER
    if isinstance(value, float):
        return _SMALLEST <= abs(value) < _LARGEST and not value.is_integer()
    if isinstance(value, dict):
        return depth > 0 and all(map(str.isascii, value)) and all(_is_plain(each, depth - 1) for each in value.values())
    return isinstance(value, list) and depth > 0 and all(_is_plain(each, depth - 1) for each in value)


def shown_json(value: object) -> str:
    """Return the value as JSON, cut to a message's size."""
    text = printable(orjson.dumps(value).decode())
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}... ({len(text)} characters)"


def decode_base64(text: str, place: str) -> bytes:
    """Decode standard base64 (RFC 4648, section 4).

    Raises EvidenceError for anything but the one encoding of some bytes.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise EvidenceError(place, f"expected base64, got {shown(text)}") from error
    if base64.b64encode(data).decode() != text:
        raise EvidenceError(place, f"expected base64 without spare bits, got {shown(text)}")
    return data


def _distinct_members(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) != len(pairs):
        [(name, _)] = Counter(name for name, _ in pairs).most_common(1)
        message = f"{shown(name)} occurs twice"
        raise ValueError(message)
    return members


def _refuse_constant(text: str) -> None:
    message = f"{text} is not a number"
    raise ValueError(message)


def describe_difference(expected: bytes, got: bytes) -> str:
    """Describe the first place where two lines differ."""
    pairs = enumerate(zip(expected, got, strict=False))
    start = next((number for number, (left, right) in pairs if left != right), min(len(expected), len(got)))
    return f"expected {excerpt(expected[start:])} at byte {start + 1}, got {excerpt(got[start:])}"

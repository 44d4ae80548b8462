"""Canonical JSON (RFC 8785), as it must stand in evidence: read strictly, or not at all."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeAlias, cast

import orjson
import rfc8785

from elspeth.evidence.format.errors import EvidenceError, shown

__all__ = ["Json", "canonical", "parse_canonical", "parse_json", "parse_object", "parse_unambiguous"]

Json: TypeAlias = "Mapping[str, Json] | Sequence[Json] | str | int | float | bool | None"

_CONTEXT = 24
"""How much of a line a message shows where it differs, in bytes."""


def canonical(value: Json) -> bytes:
    """Canonical JSON of the value in UTF-8; ValueError if it has none."""
    # A CanonicalizationError is a ValueError. The stubs ask for lists and dicts where any sequence and mapping will do.
    return rfc8785.dumps(cast("dict[str, object]", value))  # type: ignore[arg-type]


def parse_json(data: bytes, place: str) -> Json:
    """The value of a JSON text; EvidenceError if it is none."""
    try:
        return cast("Json", orjson.loads(data))
    except orjson.JSONDecodeError as error:
        raise EvidenceError(place, f"expected JSON, got {shown(data[:_CONTEXT])}: {error}") from error


def parse_object(data: bytes, place: str) -> Mapping[str, Json]:
    """The members of a JSON object; EvidenceError if it is none."""
    value = parse_json(data, place)
    if not isinstance(value, dict):
        raise EvidenceError(place, f"expected a JSON object, got {shown(data[:_CONTEXT])}")
    return value


def parse_canonical(data: bytes, place: str) -> Mapping[str, Json]:
    """The members of a JSON object in its one canonical form; EvidenceError for any other bytes."""
    value = parse_object(data, place)
    try:
        expected = canonical(value)
    except (ValueError, RecursionError) as error:
        raise EvidenceError(place, f"has no canonical JSON: {error}") from error
    if expected != data:
        raise EvidenceError(place, f"is not canonical JSON: {_difference(expected, data)}")
    return value


def parse_unambiguous(data: bytes, place: str) -> Mapping[str, Json]:
    """Return the members of a JSON object in any form in which no name occurs twice; EvidenceError for others."""
    try:
        value = json.loads(data, object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise EvidenceError(place, f"expected JSON without names that occur twice: {error}") from error
    if not isinstance(value, dict):
        raise EvidenceError(place, f"expected a JSON object, got {shown(data[:_CONTEXT])}")
    return value


def _once(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) != len(pairs):
        [(name, _)] = Counter(name for name, _ in pairs).most_common(1)
        message = f"{shown(name)} occurs twice"
        raise ValueError(message)
    return members


def _no_number(text: str) -> None:
    message = f"{text} is not a number"
    raise ValueError(message)


def _difference(expected: bytes, got: bytes) -> str:
    """Where two texts part, and what follows there."""
    pairs = enumerate(zip(expected, got, strict=False))
    start = next((number for number, (left, right) in pairs if left != right), min(len(expected), len(got)))
    end = start + _CONTEXT
    return f"expected {shown(expected[start:end])} at byte {start + 1}, got {shown(got[start:end])}"

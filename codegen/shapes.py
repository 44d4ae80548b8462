"""Checks of single values in the schema.

Each is a function that describes what is wrong with a value, or returns None.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

__all__ = [
    "Complaint",
    "boolean",
    "digits",
    "each",
    "flag",
    "integer",
    "list_of",
    "mapping",
    "named",
    "names",
    "one_of",
    "positive",
    "single",
    "text",
    "uri",
]

Complaint: TypeAlias = Callable[[object], str | None]


def text(value: object) -> str | None:
    """Expect text that is not empty."""
    return None if isinstance(value, str) and value.strip() else f"expected a text, got {value!r}"


def uri(value: object) -> str | None:
    """Expect a URI, in full or as prefix:name."""
    good = isinstance(value, str) and re.fullmatch(r"[A-Za-z][A-Za-z0-9+._-]*:\S+", value)
    return None if good else f"expected a URI or prefix:name, got {value!r}"


def boolean(value: object) -> str | None:
    """Expect true or false."""
    return None if isinstance(value, bool) else f"expected true or false, got {value!r}"


def flag(value: object) -> str | None:
    """Expect true; the opposite is expressed by leaving it out."""
    return None if value is True else f"expected true, got {value!r}"


def integer(value: object) -> str | None:
    """Expect a whole number."""
    return None if type(value) is int else f"expected a whole number, got {value!r}"


def positive(value: object) -> str | None:
    """Expect a whole number above 0."""
    return None if type(value) is int and value > 0 else f"expected a whole number above 0, got {value!r}"


def digits(value: object) -> str | None:
    """Expect a whole number above 0, written as text."""
    good = isinstance(value, str) and value.isdecimal() and int(value) > 0
    return None if good else f"expected a whole number above 0 in quotes, got {value!r}"


def names(value: object) -> str | None:
    """Expect a list of names, each once."""
    if not (isinstance(value, list) and value and all(text(item) is None for item in value)):
        return f"expected a list of names, got {value!r}"
    if twice := sorted({item for item in value if value.count(item) > 1}):
        return f"expected each name once, got {', '.join(twice)} again"
    return None


def one_of(*allowed: str) -> Complaint:
    """Expect one of these words."""

    def complaint(value: object) -> str | None:
        return None if value in allowed else f"expected {' or '.join(allowed)}, got {value!r}"

    return complaint


def mapping(required: Mapping[str, Complaint], optional: Mapping[str, Complaint] | None = None) -> Complaint:
    """Expect a mapping with exactly these keys."""
    known = {**required, **(optional or {})}

    def complaint(value: object) -> str | None:
        if not isinstance(value, dict):
            return f"expected a mapping with {', '.join(known)}, got {value!r}"
        for key in required:
            if key not in value:
                return f"expected the key {key!r} in {value!r}"
        for key, item in value.items():
            if key not in known:
                return f"unknown key {key!r}, expected {', '.join(known)}"
            if (problem := known[key](item)) is not None:
                return f"{key}: {problem}"
        return None

    return complaint


def named(value: object) -> str | None:
    """Expect a mapping from names to anything."""
    if not isinstance(value, dict) or not value:
        return f"expected a mapping by name, got {value!r}"
    others = [name for name in value if text(name) is not None]
    return f"expected a text as name, got {others[0]!r}: YAML may need quotes here" if others else None


def each(item_complaint: Complaint) -> Complaint:
    """Expect a mapping from names to values of one shape."""

    def complaint(value: object) -> str | None:
        for name, item in value.items() if isinstance(value, dict) else ():
            if (problem := item_complaint(item)) is not None:
                return f"{name}: {problem}"
        return named(value)

    return complaint


def single(item_complaint: Complaint) -> Complaint:
    """Expect a mapping from one name to a value."""
    by_name = each(item_complaint)

    def complaint(value: object) -> str | None:
        if isinstance(value, dict) and len(value) > 1:
            return f"expected one name, got {', '.join(map(str, value))}"
        return by_name(value)

    return complaint


def list_of(item_complaint: Complaint) -> Complaint:
    """Expect a list of values of one shape."""

    def complaint(value: object) -> str | None:
        if not isinstance(value, list) or not value:
            return f"expected a list, got {value!r}"
        for number, item in enumerate(value):
            if (problem := item_complaint(item)) is not None:
                return f"[{number}]: {problem}"
        return None

    return complaint

"""Finds the differences between two trees of settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Difference", "find_differences"]


class Difference(NamedTuple):
    """A place at which two trees differ, with both values.

    The place is written as in messages about settings: ``gates[0].routes.true``. A missing value is None.
    """

    path: str
    first: object
    second: object


def find_differences(first: object, second: object, path: str = "") -> Iterator[Difference]:
    """Yield the places at which two JSON values differ.

    Lists of different lengths differ as a whole.
    """
    if isinstance(first, dict) and isinstance(second, dict):
        for key in sorted(first.keys() | second.keys()):
            yield from find_differences(first.get(key), second.get(key), f"{path}.{key}" if path else key)
    elif isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        for index, (old, new) in enumerate(zip(first, second, strict=True)):
            yield from find_differences(old, new, f"{path}[{index}]")
    elif first != second:
        yield Difference(path, first, second)

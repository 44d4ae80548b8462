"""Checks of the objects that settings name, such as `s3://bucket/key`.

Every object that is written must have a single owner.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations

from elspeth.contracts.input_paths import matches_pattern
from elspeth.core.settings.parts import Parts
from elspeth.core.settings.paths import NamedObject, named_objects
from elspeth.core.settings.problems import Problem
from elspeth.objects.address import ObjectPath, is_address, place_of

__all__ = ["object_problems"]


def object_problems(parts: Parts, values: Mapping[str, str]) -> Iterator[Problem]:
    """Yield problems of the objects that settings name."""
    limits = parts.rate_limit
    if limits is not None and limits.persistence_path is not None and is_address(limits.persistence_path):
        message = "expected a local path, got the address of an object"
        yield Problem(location=("rate_limit", "persistence_path"), message=message)
    for first, second in combinations(named_objects(parts, values), 2):
        if first.is_input and second.is_input and first.owner != second.owner:
            continue
        if _are_same(first, second):
            message = f"the object {second.text!r} is also that of {first.owner}: give each its own"
            yield Problem(location=second.location, message=message)
    yield from _store_problems(parts, values)


def _store_problems(parts: Parts, values: Mapping[str, str]) -> Iterator[Problem]:
    """Yield problems of objects that overlap the payload store."""
    store = None if parts.payload_store is None else place_of(parts.payload_store.base_path)
    if not isinstance(store, ObjectPath):
        return
    for each in named_objects(parts, values):
        relation = "is also" if each.path == store else "lies below" if f"{store}".startswith(f"{each.path}/") else None
        if relation is not None:
            message = f"the address {str(store)!r} {relation} that of {each.owner}: give each its own"
            yield Problem(location=("payload_store", "base_path"), message=message)


def _are_same(first: NamedObject, second: NamedObject) -> bool:
    """Return whether two addresses may name the same object."""
    if first.is_pattern and second.is_pattern:
        return False
    if first.is_pattern or second.is_pattern:
        pattern, other = (first, second) if first.is_pattern else (second, first)
        return matches_pattern(other.path, pattern.text)
    return first.path == second.path

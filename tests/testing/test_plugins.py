"""The checks that all plugin contracts share."""

from __future__ import annotations

from elspeth.testing.plugins import repeated_values


def test_values_of_four_characters_are_found_at_any_nesting() -> None:
    row = {"a": [{"b": "four"}], "c": 1234, "d": "abc", "e": True, "f": None, "name": "élan"}
    assert repeated_values([row], "four 1234 abc True None", {}) == ["1234", "four"]
    assert repeated_values([row], "name", {"got": ["élan"]}) == ["élan"]

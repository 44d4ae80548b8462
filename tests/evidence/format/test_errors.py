"""Values in messages are safe to print, and short."""

from __future__ import annotations

import pytest

from elspeth.evidence.format.errors import EvidenceError, KeyFileError, excerpt, printable, shown


@pytest.mark.parametrize("kind", [EvidenceError, KeyFileError])
def test_an_error_keeps_its_place_and_its_problem(kind: type[EvidenceError]) -> None:
    error = kind("line 1", "expected JSON")
    assert (str(error), error.place, error.problem) == ("line 1: expected JSON", "line 1", "expected JSON")


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("ä€😀 '\"\\", "ä€😀 '\"\\"),
        ("ä\x1b[31m\n\u202e\\", "ä\\x1b[31m\\n\\u202e\\"),
        ("\U000e0001\ud800", "\\U000e0001\\ud800"),
    ],
)
def test_only_what_cannot_be_printed_is_escaped(text: str, escaped: str) -> None:
    assert printable(text) == escaped


def test_a_value_is_cut_with_its_length() -> None:
    assert shown("x" * 78) == f"'{'x' * 78}'"
    assert shown("x" * 79) == f"'{'x' * 79}... (81 characters)"
    assert shown({"a": [None, 1.5]}) == "{'a': [None, 1.5]}"


def test_the_beginning_of_bytes_is_shown() -> None:
    assert excerpt(b"x" * 30) == f"'{'x' * 30}'"
    assert excerpt(b"x" * 31) == f"'{'x' * 30}'..."
    assert excerpt(b"\xff\x00'") == '"\ufffd\\x00\'"'

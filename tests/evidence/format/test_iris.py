"""IRIs of runs and records."""

from __future__ import annotations

import pytest

from elspeth.evidence.format.iris import base_of_run, segment


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("run-1_2.3~", "run-1_2.3~"),
        ("a!$&'()*+,;=b", "a!$&'()*+,;=b"),
        ("ä", "ä"),
        ("a/b?c#d", "a%2Fb%3Fc%23d"),
        ("a:b@c", "a%3Ab%40c"),
        ("50% \n", "50%25%20%0A"),
        (".", "%2E"),
        ("..", "%2E%2E"),
        ("...", "..."),
        ("..a", "..a"),
        ("", ""),
    ],
)
def test_a_key_is_one_segment_of_an_iri(key: str, expected: str) -> None:
    """A reader would resolve `.` and `..` as directories."""
    assert segment(key) == expected
    assert base_of_run(key) == f"urn:elspeth:run:{expected}/"

"""Values of the predecessor's databases as JSON has them."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone

import pytest

from elspeth.core.landscape.migration._old_rows import OldRow, plain
from elspeth.core.landscape.migration._places import _token_of

LARGEST = 2**53 - 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("", ""),
        ("2026-01-02 03:04:05", "2026-01-02 03:04:05"),
        (True, 1),
        (0, 0),
        (LARGEST, LARGEST),
        (-LARGEST, -LARGEST),
        (LARGEST + 1, {"type": "int", "text": str(LARGEST + 1)}),
        (-LARGEST - 1, {"type": "int", "text": str(-LARGEST - 1)}),
        (0.5, 0.5),
        (math.nan, {"type": "float", "text": "nan"}),
        (-math.inf, {"type": "float", "text": "-inf"}),
        (b"\x00\xff", {"type": "bytes", "base64": "AP8="}),
        pytest.param(memoryview(b""), {"type": "bytes", "base64": ""}, id="memoryview"),
        (datetime(2026, 1, 2, 3, tzinfo=UTC).replace(tzinfo=None), "2026-01-02T03:00:00.000000Z"),
        (datetime(2026, 1, 2, 3, tzinfo=timezone(timedelta(hours=2))), "2026-01-02T01:00:00.000000Z"),
        (datetime(2026, 1, 2, 3, tzinfo=UTC), "2026-01-02T03:00:00.000000Z"),
        (timedelta(1), {"type": "timedelta", "text": "1 day, 0:00:00"}),
    ],
    ids=repr,
)
def test_a_value_that_json_lacks_becomes_its_type_and_text(value: object, expected: object) -> None:
    found = plain(value)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-02 03:04:05", "2026-01-02T03:04:05.000000Z"),
        ("2026-01-02 03:04:05.000000", "2026-01-02T03:04:05.000000Z"),
        ("2026-01-02 03:04:05.600000", "2026-01-02T03:04:05.600000Z"),
        *((same, same) for same in ("2026-01-02 03:04:05.6", "2026-01-02T03:04:05", "2026-01-02 03:04:05+00:00", "x")),
    ],
)
def test_only_the_spellings_of_sqlalchemy_are_times(text: str, expected: str) -> None:
    assert plain(text, is_time=True) == expected
    assert plain(text) == text


@pytest.mark.parametrize(
    ("token", "expected"), [("t" * 64, "t" * 64), ("t" * 65, None), ("", None), (7, None), (None, None)]
)
def test_only_a_possible_id_of_a_token_is_taken_for_one(token: str | int | None, expected: str | None) -> None:
    assert _token_of(OldRow(run_id="run", values={"token_id": token})) == expected
    assert _token_of(OldRow(run_id="run", values={})) is None

"""Stored and exported values become those of contracts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from elspeth.schema import stored

NOON = datetime(2026, 1, 1, 12, 0, 0, 5, tzinfo=UTC)
TOO_EARLY = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1)))


@pytest.mark.parametrize(("value", "expected"), [(0, False), (1, True), (True, True), (2, 2), ("1", "1"), (None, None)])
def test_numbers_become_booleans(value: object, expected: object) -> None:
    assert (type(stored.boolean(value)), stored.boolean(value)) == (type(expected), expected)


@pytest.mark.parametrize(
    ("value", "expected"), [(1, 1.0), (-0.0, 0.0), (0.5, 0.5), (True, True), ("1", "1"), (None, None)]
)
def test_numbers_become_floats_without_a_negative_zero(value: object, expected: object) -> None:
    assert repr(stored.real(value)) == repr(expected)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-01-01 12:00:00.000005", NOON),
        (NOON.replace(tzinfo=None), NOON),
        ("2026-01-01T13:00:00.000005+01:00", NOON),
        (NOON.astimezone(timezone(timedelta(hours=-5))), NOON),
        ("noon", "noon"),
        (TOO_EARLY, TOO_EARLY),
        (TOO_EARLY.isoformat(), TOO_EARLY.isoformat()),
        (5, 5),
        (None, None),
    ],
)
def test_times_become_utc(value: object, expected: object) -> None:
    found = stored.time(value)
    assert (found, getattr(found, "tzinfo", None)) == (expected, getattr(expected, "tzinfo", None))


@pytest.mark.parametrize(
    "value",
    [
        "2026-01-01T12:00:00Z",
        "2026-01-01T12:00:00.000005+00:00",
        "2026-01-01T13:00:00.000005+01:00",
        "2026-01-01 12:00:00.000005Z",
        "2026-01-01T12:00:00.000005",
        TOO_EARLY.isoformat(),
        "noon",
        5,
        None,
    ],
)
def test_an_exported_time_has_one_spelling(value: object) -> None:
    assert stored.exported_time("2026-01-01T12:00:00.000005Z") == NOON
    assert stored.exported_time("2026-01-01T12:00:00.000000Z") == NOON.replace(microsecond=0)
    assert stored.exported_time(value) is value

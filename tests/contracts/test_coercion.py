"""Values become decimals, dates, times and durations, or are refused."""

import datetime as dt
import time
from collections.abc import Iterator
from decimal import Decimal

import pytest

from elspeth.contracts.coercion import coercion_to, written
from elspeth.contracts.expressions import compile_expression
from elspeth.contracts.values import MisfitError, timestamp_text

UTC = dt.UTC
AT = dt.datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
PLUS_ONE = dt.timezone(dt.timedelta(hours=1))


@pytest.mark.parametrize(
    ("field_type", "value", "expected"),
    [
        ("decimal(2)", "12.3", Decimal("12.30")),
        ("decimal(2)", " +12.340 ", Decimal("12.34")),
        ("decimal(2)", "1e3", Decimal("1000.00")),
        ("decimal(2)", "-0.00", Decimal("0.00")),
        ("decimal(2)", 12, Decimal("12.00")),
        ("decimal(2)", 12.3, Decimal("12.30")),
        ("decimal(0)", Decimal("7.0"), Decimal(7)),
        ("decimal(18)", "99999999999999999999.999999999999999999", Decimal("99999999999999999999.999999999999999999")),
        ("date", "2024-02-29", dt.date(2024, 2, 29)),
        ("date", dt.date(2026, 3, 1), dt.date(2026, 3, 1)),
        ("datetime", "2026-03-01T13:30:00+01:00", AT),
        ("datetime", "2026-03-01 12:30Z", AT),
        ("datetime", "2026-03-01T12:30:00.000000000Z", AT),
        ("datetime", "2026-03-01T12:30:00.5+0000", AT.replace(microsecond=500_000)),
        ("datetime", AT.astimezone(PLUS_ONE), AT),
        ("duration", "PT1H30M", dt.timedelta(minutes=90)),
        ("duration", "-P2W", dt.timedelta(days=-14)),
        ("duration", " PT5S ", dt.timedelta(seconds=5)),
        ("duration", "P1DT0.25S", dt.timedelta(days=1, milliseconds=250)),
        ("duration", 90, dt.timedelta(seconds=90)),
        ("duration", 0.000001, dt.timedelta(microseconds=1)),
        ("float", Decimal("12.30"), 12.3),
        ("bool", 0, False),
    ],
)
def test_values_are_coerced_to_the_type(field_type: str, value: object, expected: object) -> None:
    found = coercion_to(field_type)(value)
    assert (repr(found), type(found)) == (repr(expected), type(expected))


@pytest.mark.parametrize(
    ("field_type", "value", "message"),
    [
        ("decimal(2)", "12.345", "expected a decimal of at most 2 decimal places, got more"),
        ("decimal(0)", "7.5", "expected a decimal of at most 0 decimal places, got more"),
        ("decimal(2)", 0.1 + 0.2, "expected a number of at most 15 digits, got a float of more"),
        ("decimal(2)", "1" + "0" * 20, "expected a decimal of at most 20 digits before the point, got a larger one"),
        ("decimal(2)", "1e999", "expected a decimal of at most 20 digits before the point, got a larger one"),
        ("decimal(2)", "1e-19", "expected at most 18 decimal places, got more"),
        ("decimal(2)", "1e9999", "expected a decimal, got text of 6 characters"),
        ("decimal(2)", "1,5", "expected a decimal, got text of 3 characters"),
        ("decimal(2)", "9" * 65, "expected a decimal, got text of 65 characters"),
        ("decimal(2)", "NaN", "expected a decimal, got text of 3 characters"),
        ("decimal(2)", True, "expected a decimal, got a boolean"),
        ("decimal(2)", None, "expected a decimal, got null"),
        ("date", "2026-02-30", "expected a date, got a day that the calendar does not have"),
        ("date", "20260301", "expected a date such as 2026-03-01, got text of 8 characters"),
        ("date", "01.03.2026", "expected a date such as 2026-03-01, got text of 10 characters"),
        ("date", AT, "expected a date such as 2026-03-01, got a date and time"),
        ("datetime", "2026-03-01T12:30:00", "expected a date and time with a zone, got one without"),
        ("datetime", dt.datetime(2026, 3, 1), "expected a date and time with a zone, got one without"),  # noqa: DTZ001
        ("datetime", "2026-03-01T25:00Z", "expected a date and time, got one that clock or calendar do not have"),
        (
            "datetime",
            "0001-01-01T00:00+01:00",
            "expected a date and time from the year 1 to 9999 in UTC, got one beyond",
        ),
        (
            "datetime",
            "2026-03-01T12:30:00.0000001Z",
            "expected a date and time such as 2026-03-01T12:30:00+01:00, got text of 28 characters",
        ),
        (
            "datetime",
            dt.date(2026, 3, 1),
            "expected a date and time such as 2026-03-01T12:30:00+01:00, got a date",
        ),
        ("duration", "P1M", "expected a duration such as P1DT2H30M, got text of 3 characters"),
        ("duration", "P", "expected a duration such as P1DT2H30M, got text of 1 character"),
        ("duration", "PT", "expected a duration such as P1DT2H30M, got text of 2 characters"),
        ("duration", "P999999999W", "expected a duration of at most 999999999 days, got a longer one"),
        ("duration", 1e15, "expected a duration of at most 999999999 days, got a longer one"),
        ("duration", 0.0000001, "expected a duration in whole microseconds, got a part of one"),
        ("duration", True, "expected a duration such as P1DT2H30M, or a number of seconds, got a boolean"),
        ("int", Decimal(4), "expected an integer, got a decimal"),
        ("str", dt.date(2026, 3, 1), "expected text, got a date"),
    ],
)
def test_values_that_cannot_be_represented_exactly_are_refused(field_type: str, value: object, message: str) -> None:
    with pytest.raises(MisfitError) as caught:
        coercion_to(field_type)(value)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        (True, "true"),
        (7, "7"),
        (2.5, "2.5"),
        (0.1 + 0.2, "0.30000000000000004"),
        (Decimal("1.10"), "1.10"),
        (dt.date(2026, 3, 1), "2026-03-01"),
        (AT, "2026-03-01T12:30:00.000000Z"),
        (dt.timedelta(minutes=90), "PT1H30M"),
    ],
)
def test_scalar_values_have_a_text(value: object, text: str) -> None:
    assert written(value) == text


@pytest.mark.parametrize("value", [None, [], {}, float("nan"), object()])
def test_other_values_have_no_text(value: object) -> None:
    with pytest.raises(MisfitError):
        written(value)


@pytest.fixture
def far_from_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set the machine twelve hours ahead of UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "FAR-12")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("far_from_utc")
def test_the_time_zone_of_the_machine_changes_no_value() -> None:
    at = dt.datetime(2026, 3, 1, 20, 30, tzinfo=UTC)
    assert coercion_to("datetime")("2026-03-01T20:30:00Z") == at
    assert timestamp_text(at) == timestamp_text(at.replace(tzinfo=None)) == "2026-03-01T20:30:00.000000Z"
    assert compile_expression("date(row['at'])").evaluate({"at": at}) == dt.date(2026, 3, 1)
    assert compile_expression("hour(row['at'])").evaluate({"at": at}) == 20

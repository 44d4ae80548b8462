"""Fields are converted to their types, or the row fails."""

import datetime as dt
from decimal import Decimal

import pytest

from elspeth.contracts.plugins import RowError
from tests.plugins.transforms.processing import problem_of, process

AT = dt.datetime(2026, 3, 1, 12, 30, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("value", "field_type", "options", "expected"),
    [
        ("12.3", "decimal(2)", {}, Decimal("12.30")),
        ("7", "int", {}, 7),
        ("", "int?", {}, None),
        (None, "date?", {}, None),
        (7, "str", {}, "7"),
        (Decimal("1.10"), "str", {}, "1.10"),
        (Decimal("1.10"), "float", {}, 1.1),
        ("2026-03-01", "date", {}, dt.date(2026, 3, 1)),
        (" 01.03.2026", "date", {"formats": {"x": "%d.%m.%Y"}}, dt.date(2026, 3, 1)),
        ("2026-03-01T13:30:00+01:00", "datetime", {}, AT),
        (" 2026-03-01 12:30:00 ", "datetime", {"zone": "UTC"}, AT),
        ("2026-03-01 13:30:00", "datetime", {"zone": "+01:00"}, AT),
        ("2026-03-01 07:30:00", "datetime", {"zone": "-05:00"}, AT),
        ("2026-03-01T12:30Z", "datetime", {"zone": "+01:00"}, AT),
        ("01.03.2026 13:30", "datetime", {"formats": {"x": "%d.%m.%Y %H:%M"}, "zone": "+01:00"}, AT),
        ("260301 1330 +0100", "datetime?", {"formats": {"x": "%y%m%d %H%M %z"}}, AT),
        ("PT1M", "duration", {}, dt.timedelta(minutes=1)),
    ],
)
def test_a_value_is_converted_to_its_type(
    value: object, field_type: str, options: dict[str, object], expected: object
) -> None:
    row = process("cast", {"a": 1, "x": value}, fields={"x": field_type}, **options)
    assert isinstance(row, dict)
    assert (row, type(row["x"])) == ({"a": 1, "x": expected}, type(expected))


def test_a_value_inside_an_object_or_list_is_cast_in_its_place() -> None:
    row = process("cast", {"line": {"taxes": [{"rate": "0.077"}]}}, fields={"line.taxes.0.rate": "decimal(3)"})
    assert row == {"line": {"taxes": [{"rate": Decimal("0.077")}]}}


def test_an_optional_field_may_be_missing() -> None:
    assert process("cast", {"a": 1}, fields={"x": "int?", "line.x": "int?"}) == {"a": 1}


@pytest.mark.parametrize(
    ("row", "options", "message"),
    [
        ({}, {"fields": {"x": "int"}}, "field 'x' is missing"),
        ({"x": []}, {"fields": {"x": "int?"}}, "field 'x': expected an integer, got a list of 0 items"),
        (
            {"x": {}},
            {"fields": {"x": "date?"}},
            "field 'x': expected a date such as 2026-03-01, got an object with 0 fields",
        ),
        (
            {"x": "1.234", "y": "z"},
            {"fields": {"x": "decimal(2)", "y": "int"}},
            (
                "field 'x': expected a decimal of at most 2 decimal places, got more; "
                "field 'y': expected an integer, got text of 1 character"
            ),
        ),
        (
            {"x": "2026-03-01"},
            {"fields": {"x": "date"}, "formats": {"x": "%d.%m.%Y"}},
            "field 'x': expected text in the format '%d.%m.%Y', got text of 10 characters",
        ),
        (
            {"x": "2026-03-01T12:30"},
            {"fields": {"x": "datetime"}},
            "field 'x': expected a date and time with a zone, got one without",
        ),
        (
            {"x": "noon"},
            {"fields": {"x": "datetime"}, "zone": "UTC"},
            "field 'x': expected a date and time such as 2026-03-01T12:30:00+01:00, got text of 4 characters",
        ),
        (
            {"x": "\u0660\u0661.03.2026"},
            {"fields": {"x": "date"}, "formats": {"x": "%d.%m.%Y"}},
            "field 'x': expected text in the format '%d.%m.%Y', got text of 10 characters",
        ),
        (
            {"x": "01.03.\u0662\u0660\u0662\u0666"},
            {"fields": {"x": "date"}, "formats": {"x": "%d.%m.%Y"}},
            "field 'x': expected text in the format '%d.%m.%Y', got text of 10 characters",
        ),
        ({"x": None}, {"fields": {"x": "int"}}, "field 'x': expected an integer, got null"),
    ],
)
def test_a_value_that_is_not_of_its_type_fails_the_row(
    row: dict[str, object], options: dict[str, object], message: str
) -> None:
    error = process("cast", row, **options)
    assert error == RowError(message=message, details={"field": "x"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"fields": {"x": "decimal"}},
            (
                "type 'decimal' is not known: expected one of any, bool, date, datetime, decimal(N), duration, float, "
                "int, str with N, the decimal places, from 0 to 18"
            ),
        ),
        (
            {"fields": {"x": "int??"}},
            (
                "type 'int?' is not known: "
                "expected one of any, bool, date, datetime, decimal(N), duration, float, int, str"
            ),
        ),
        (
            {"fields": {"x": "date"}, "formats": {"x": "%d %B"}},
            "the format of 'x' is '%d %B': expected a text with some of %%, %H, %M, %S, %Y, %d, %f, %j, %m, %y, %z",
        ),
        (
            {"fields": {"x": "date"}, "formats": {"x": "today"}},
            "the format of 'x' is 'today': expected a text with some of %%, %H, %M, %S, %Y, %d, %f, %j, %m, %y, %z",
        ),
        (
            {"fields": {"x": "int"}, "formats": {"x": "%d"}},
            "the format of 'x' needs a field of type date or datetime",
        ),
        (
            {"fields": {"x": "date"}, "formats": {"x": "%Y-%m-%d %H"}},
            "the format of 'x' has a time of day: expected the type datetime",
        ),
        (
            {"fields": {"x": "date?"}, "formats": {"x": "%H:%M"}},
            "the format of 'x' has a time of day: expected the type datetime",
        ),
        (
            {"fields": {"x": "datetime"}, "zone": "Europe/Zurich"},
            "expected UTC or an offset such as +01:00, got 'Europe/Zurich'",
        ),
        (
            {"fields": {"x": "datetime"}, "zone": "+01:00:30"},
            "expected UTC or an offset such as +01:00, got '+01:00:30'",
        ),
    ],
)
def test_impossible_options_are_refused(options: dict[str, object], message: str) -> None:
    assert problem_of("cast", **options) == message

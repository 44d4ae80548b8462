"""Decimals, dates, times and durations keep their value and type."""

import datetime as dt
import json
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from elspeth.contracts.coercion import coercion_to
from elspeth.contracts.values import (
    DECIMALS,
    MisfitError,
    bounded_decimal,
    canonical_text,
    decode_row,
    encode_row,
    float_to_decimal,
    plain_row,
)
from elspeth.core.canonical import canonical_json

AMOUNTS = st.decimals(-(10**12), 10**12, allow_nan=False, allow_infinity=False, places=4).map(bounded_decimal)
TYPED = {
    "decimal(4)": AMOUNTS,
    "date": st.dates(),
    "datetime": st.datetimes(timezones=st.just(dt.UTC)).map(lambda at: at.replace(fold=0)),
    "duration": st.timedeltas(),
}
VALUES = st.one_of(*TYPED.values())
NAMES = st.sampled_from(["a", "$decimal", "$object", "$date", "$"])
JSON = st.none() | st.booleans() | st.integers() | st.text(max_size=3)
CELLS = st.recursive(VALUES | JSON, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner))


@pytest.mark.parametrize("field_type", TYPED)
@given(data=st.data())
def test_a_value_is_read_back_from_its_canonical_text(field_type: str, data: st.DataObject) -> None:
    value = data.draw(TYPED[field_type])
    text = canonical_text(value)  # type: ignore[arg-type]  # one of the strategies above
    read = coercion_to(field_type)(text)
    assert (read, type(read)) == (value, type(value))
    assert canonical_text(read) == text  # type: ignore[arg-type]


@pytest.mark.parametrize("field_type", TYPED)
@given(data=st.data())
def test_canonical_json_holds_the_canonical_text_of_a_value(field_type: str, data: st.DataObject) -> None:
    value = data.draw(TYPED[field_type])
    assert json.loads(canonical_json({"x": value})) == plain_row({"x": value})
    assert canonical_json([value]) == canonical_json([canonical_text(value)])  # type: ignore[arg-type]


@given(st.dictionaries(NAMES, CELLS))
def test_a_stored_row_keeps_the_types_of_its_values(row: dict[str, object]) -> None:
    read = decode_row(json.loads(json.dumps(encode_row(row))))
    assert repr(read) == repr(row)  # also tells 1 from True, and a decimal's places


@given(st.decimals(allow_nan=True, allow_infinity=True))
def test_a_decimal_is_rounded_to_at_most_38_digits_or_refused(value: Decimal) -> None:
    try:
        bounded = bounded_decimal(value)
    except MisfitError:
        assert not value.is_finite() or value.copy_abs() > Decimal("99999999999999999999.9")
        return
    whole, _, places = canonical_text(bounded).lstrip("-").partition(".")
    assert (len(whole) <= 20, len(places) <= 18, bounded.is_signed() and not bounded) == (True, True, False)
    assert DECIMALS.subtract(bounded, value).copy_abs() <= Decimal("5e-19")


@example(123456789012345, 2)
@example(-(10**15) + 1, 0)
@given(st.integers(-(10**15) + 1, 10**15 - 1), st.integers(0, 18))
def test_a_float_of_15_digits_becomes_the_decimal_that_was_written(digits: int, places: int) -> None:
    written = Decimal(digits).scaleb(-places)
    assert float_to_decimal(float(written)) == written


@pytest.mark.parametrize("number", [0.1 + 0.2, 12345678901234567.89, 1 / 3, float("inf"), float("nan")])
def test_a_float_of_more_digits_is_not_accepted_as_a_decimal(number: float) -> None:
    with pytest.raises(MisfitError, match="expected a number of at most 15 digits, got a float of more"):
        float_to_decimal(number)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("1E-7"), "0.0000001"),
        (Decimal("12.30"), "12.30"),
        (dt.date(33, 4, 3), "0033-04-03"),
        (dt.datetime(2026, 3, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=2))), "2026-02-28T23:00:00.000000Z"),
        (dt.timedelta(), "PT0S"),
        (dt.timedelta(days=-1, microseconds=-1), "-P1DT0.000001S"),
        (dt.timedelta(days=1, hours=2, minutes=30, seconds=5.5), "P1DT2H30M5.5S"),
        (dt.timedelta(seconds=5400), "PT1H30M"),
        (dt.timedelta(days=400), "P400D"),
    ],
)
def test_values_have_known_canonical_texts(value: Decimal | dt.date | dt.timedelta, text: str) -> None:
    """Durations are canonical xsd:dayTimeDuration (XML Schema 1.1, part 2)."""
    assert canonical_text(value) == text


def test_a_tuple_is_stored_like_a_list() -> None:
    row: dict[str, object] = {"x": (Decimal("1.50"), {"y": (dt.date(2026, 3, 1),)})}
    assert plain_row(row) == plain_row({"x": [*row["x"]]}) == {"x": ["1.50", {"y": ["2026-03-01"]}]}  # type: ignore[misc]
    assert decode_row(encode_row(row)) == {"x": [Decimal("1.50"), {"y": [dt.date(2026, 3, 1)]}]}
    assert json.dumps(encode_row(row)) == '{"x": [{"$decimal": "1.50"}, {"y": [{"$date": "2026-03-01"}]}]}'


def test_a_time_without_a_zone_is_not_stored() -> None:
    with pytest.raises(MisfitError, match="expected a date and time with a zone, got one without"):
        encode_row({"at": dt.datetime(2026, 3, 1)})  # noqa: DTZ001  without a zone on purpose

"""Canonical JSON and hashes over it."""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections import UserDict
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import IntEnum, StrEnum
from random import Random
from uuid import UUID

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from elspeth.core.canonical import (
    CANONICAL_VERSION,
    CanonicalError,
    canonical_bytes,
    canonical_json,
    stable_hash,
    timestamp_text,
)

MAX_INTEGER = 2**53 - 1

TEXT = st.text(st.characters(codec="utf-8"))
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | FLOATS | TEXT
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=20)


def double(bits: int) -> float:
    (value,) = struct.unpack(">d", bits.to_bytes(8))
    assert isinstance(value, float)
    return value


# -- laws ----------------------------------------------------------------------------------------------------------


@given(VALUES)
@settings(max_examples=300)
def test_canonical_json_equals_that_of_the_reference_package(value: object) -> None:
    assert canonical_bytes(value) == rfc8785.dumps(value)  # type: ignore[arg-type]


@given(st.integers(0, 2**64 - 1).map(double).filter(math.isfinite))
@settings(max_examples=1000)
def test_every_double_is_written_as_the_reference_package_writes_it(value: float) -> None:
    assert canonical_bytes(value) == rfc8785.dumps(value)


@given(st.integers(-400, 400), st.integers(1, 10**17))
@settings(max_examples=1000)
def test_decimal_fractions_of_every_size_are_written_as_the_reference_package_writes_them(
    exponent: int, digits: int
) -> None:
    value = float(f"{digits}e{exponent}")
    if math.isfinite(value):
        assert canonical_bytes([value, -value]) == rfc8785.dumps([value, -value])


@given(st.dictionaries(TEXT, SCALARS, min_size=2), st.randoms(use_true_random=False))
def test_the_order_of_keys_in_the_input_does_not_matter(value: dict[str, object], random: Random) -> None:
    items = list(value.items())
    random.shuffle(items)
    assert canonical_bytes(dict(items)) == canonical_bytes(value)


@given(VALUES)
def test_reading_canonical_json_and_writing_it_again_changes_nothing(value: object) -> None:
    written = canonical_bytes(value)
    assert canonical_bytes(json.loads(written, parse_int=as_ecmascript_reads)) == written


def as_ecmascript_reads(digits: str) -> float:
    """Parse an integer as ECMAScript does.

    Large doubles are written as digits only; ECMAScript reads them as doubles again.
    """
    return int(digits) if abs(int(digits)) <= MAX_INTEGER else float(digits)


@given(VALUES)
def test_the_hash_is_the_sha256_of_the_canonical_json(value: object) -> None:
    assert stable_hash(value) == hashlib.sha256(rfc8785.dumps(value)).hexdigest()  # type: ignore[arg-type]


@given(st.datetimes(timezones=st.just(UTC)), st.timedeltas(timedelta(hours=-14), timedelta(hours=14)))
def test_a_time_is_written_in_utc_whatever_zone_it_is_in(moment: datetime, offset: timedelta) -> None:
    whole_minutes = timedelta(minutes=offset // timedelta(minutes=1))
    try:
        elsewhere = moment.astimezone(timezone(whole_minutes))
    except OverflowError:  # beyond the years that a datetime can hold
        return
    assert timestamp_text(elsewhere) == timestamp_text(moment)
    assert datetime.fromisoformat(timestamp_text(moment)) == moment


# -- known answers ---------------------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_the_example_of_rfc_8785_section_3_2_2_is_reproduced() -> None:
    value = json.loads(
        r"""{
          "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
          "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
          "literals": [null, true, false]
        }"""
    )
    assert canonical_json(value) == (
        '{"literals":[null,true,false],'
        '"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )


@pytest.mark.smoke
def test_keys_are_sorted_by_utf_16_code_units_as_in_rfc_8785_section_3_2_3() -> None:
    value = {
        "\u20ac": "Euro Sign",
        "\r": "Carriage Return",
        "\ufb33": "Hebrew Letter Dalet With Dagesh",
        "1": "One",
        "\U0001f600": "Emoji: Grinning Face",
        "\u0080": "Control",
        "\u00f6": "Latin Small Letter O With Diaeresis",
    }
    assert list(json.loads(canonical_json(value)).values()) == [
        "Carriage Return",
        "One",
        "Control",
        "Latin Small Letter O With Diaeresis",
        "Euro Sign",
        "Emoji: Grinning Face",
        "Hebrew Letter Dalet With Dagesh",
    ]


@pytest.mark.parametrize(
    ("bits", "text"),
    [
        (0x0000000000000000, "0"),
        (0x8000000000000000, "0"),
        (0x0000000000000001, "5e-324"),
        (0x8000000000000001, "-5e-324"),
        (0x7FEFFFFFFFFFFFFF, "1.7976931348623157e+308"),
        (0xFFEFFFFFFFFFFFFF, "-1.7976931348623157e+308"),
        (0x4340000000000000, "9007199254740992"),
        (0xC340000000000000, "-9007199254740992"),
        (0x4430000000000000, "295147905179352830000"),
        (0x44B52D02C7E14AF5, "9.999999999999997e+22"),
        (0x44B52D02C7E14AF6, "1e+23"),
        (0x44B52D02C7E14AF7, "1.0000000000000001e+23"),
        (0x444B1AE4D6E2EF4E, "999999999999999700000"),
        (0x444B1AE4D6E2EF4F, "999999999999999900000"),
        (0x444B1AE4D6E2EF50, "1e+21"),
        (0x3EB0C6F7A0B5ED8C, "9.999999999999997e-7"),
        (0x3EB0C6F7A0B5ED8D, "0.000001"),
        (0x41B3DE4355555553, "333333333.3333332"),
        (0x41B3DE4355555554, "333333333.33333325"),
        (0x41B3DE4355555555, "333333333.3333333"),
        (0x41B3DE4355555556, "333333333.3333334"),
        (0x41B3DE4355555557, "333333333.33333343"),
        (0xBECBF647612F3696, "-0.0000033333333333333333"),
        (0x43143FF3C1CB0959, "1424953923781206.2"),
    ],
)
def test_the_numbers_of_rfc_8785_appendix_b_are_reproduced(bits: int, text: str) -> None:
    assert canonical_json(double(bits)) == text


def test_the_hash_of_an_empty_object_never_changes() -> None:
    """Compare with the output of `printf '{}' | sha256sum`."""
    assert stable_hash({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


# -- beyond JSON's own types ---------------------------------------------------------------------------------------


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Name(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ((1, "a"), '[1,"a"]'),
        (UserDict({"b": 1, "a": 2}), '{"a":2,"b":1}'),
        (Colour.RED, '"red"'),
        ({Colour.RED: 1}, '{"red":1}'),
        (Level.HIGH, "3"),
        (Name("text"), '"text"'),
        (Decimal("1.10"), '"1.10"'),
        (UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        (date(2026, 3, 1), '"2026-03-01"'),
        (datetime(2026, 3, 1, 12, 30, tzinfo=UTC), '"2026-03-01T12:30:00.000000Z"'),
        (datetime(2026, 3, 1, 12, 30, 0, 5, tzinfo=timezone(timedelta(hours=2))), '"2026-03-01T10:30:00.000005Z"'),
        (datetime(2026, 3, 1, 12, 30), '"2026-03-01T12:30:00.000000Z"'),  # noqa: DTZ001  # without a zone on purpose
        (b"\x00\xff", '{"__bytes__":"AP8="}'),
        (bytearray(b"a"), '{"__bytes__":"YQ=="}'),
    ],
    ids=repr,
)
def test_other_types_become_text_or_numbers(value: object, text: str) -> None:
    assert canonical_json(value) == text


# -- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (math.nan, "a number is not finite, which JSON does not have"),
        (math.inf, "a number is not finite, which JSON does not have"),
        ([-math.inf], "a number is not finite, which JSON does not have"),
        (2**53, "an integer is beyond 2^53-1 and would change in other JSON readers"),
        ({"a": -(2**53)}, "an integer is beyond 2^53-1 and would change in other JSON readers"),
        ({1: "a"}, "a key is of type int: canonical JSON has text keys only"),
        ({None: "a"}, "a key is of type NoneType: canonical JSON has text keys only"),
        ("\ud800", "value has no canonical JSON: str is not valid UTF-8: surrogates not allowed"),
        ({"\udfff": 1}, "value has no canonical JSON: str is not valid UTF-8: surrogates not allowed"),
        ({1, 2}, "value of type set has no canonical JSON"),
        (object(), "value of type object has no canonical JSON"),
    ],
    ids=["nan", "inf", "-inf", "2^53", "-2^53", "int key", "null key", "surrogate", "surrogate key", "set", "object"],
)
def test_values_that_json_cannot_express_are_refused(value: object, message: str) -> None:
    with pytest.raises(CanonicalError) as caught:
        canonical_bytes(value)
    assert str(caught.value) == message


@pytest.mark.parametrize("value", [math.nan, math.inf, 2**53, -(2**53), "\ud800", {"\udfff": 1}, {1: "a"}], ids=repr)
def test_the_reference_package_refuses_the_same_values(value: object) -> None:
    with pytest.raises((rfc8785.CanonicalizationError, UnicodeEncodeError)):
        rfc8785.dumps(value)  # type: ignore[arg-type]


def test_endless_nesting_is_refused() -> None:
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(CanonicalError, match=r"^value has no canonical JSON: maximum recursion depth exceeded"):
        canonical_bytes(endless)


def test_only_one_version_of_the_hash_is_known() -> None:
    assert stable_hash({}, CANONICAL_VERSION) == stable_hash({})
    with pytest.raises(CanonicalError) as caught:
        stable_hash({}, "md5-v0")
    assert str(caught.value) == "unknown canonical version 'md5-v0', expected 'sha256-rfc8785-v1'"

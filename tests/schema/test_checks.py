"""The values that the schema accepts, and errors for others."""

from __future__ import annotations

import math
import pickle
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from types import SimpleNamespace

import pytest

from elspeth.schema.checks import (
    BOOLEAN,
    JSON,
    MAX_INTEGER,
    TIMESTAMP,
    Acceptor,
    AuditIntegrityError,
    Contract,
    constant,
    integer,
    is_lower_hex,
    matches,
    member,
    optional,
    real,
    text,
)

ERROR = AuditIntegrityError(table="rows", key={"row_id": "r"}, field="row_index", expected="an integer", got="x")


def test_an_error_names_record_field_and_what_was_expected() -> None:
    assert str(ERROR) == "rows row_id='r': row_index: expected an integer, got 'x'"


def test_an_error_names_the_database_that_it_was_found_in() -> None:
    named = ERROR.in_database("sqlite:///a.db")
    assert str(named) == f"audit database sqlite:///a.db: {ERROR}"
    assert named.in_database("sqlite:///b.db") is named
    assert ERROR.database is None


@pytest.mark.parametrize("error", [ERROR, ERROR.in_database("sqlite:///a.db")], ids=["plain", "named"])
def test_an_error_survives_pickling(error: AuditIntegrityError) -> None:
    found = pickle.loads(pickle.dumps(error))  # noqa: S301  the test's own error
    assert isinstance(found, AuditIntegrityError)
    assert (str(found), vars(found)) == (str(error), vars(error))


@pytest.mark.parametrize(("length", "shown"), [(78, f"'{'x' * 78}'"), (79, f"'{'x' * 79}... (81 characters)")])
def test_only_long_values_are_truncated(length: int, shown: str) -> None:
    error = AuditIntegrityError(table="rows", key={}, field="f", expected="less", got="x" * length)
    assert str(error) == f"rows: f: expected less, got {shown}"


class Way(StrEnum):
    """Two ways."""

    THERE = "there"
    BACK = "back"


NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)

ACCEPTORS: list[tuple[Acceptor, list[object], list[object]]] = [
    (text(), ["", "ä\n", "x" * 10_000], ["a\0", "\ud800", b"a", None, Way.BACK]),
    (text(max_length=3), ["", "äöü"], ["abcd", "a\0"]),
    (text(max_length=3, pattern="[ab]+"), ["a", "aba"], ["", "abab", "ab\n", "xa", None]),
    (integer(), [MAX_INTEGER, -MAX_INTEGER], [MAX_INTEGER + 1, -MAX_INTEGER - 1, 1.0, True]),
    (integer(minimum=0, maximum=2), [0, 2], [-1, 3]),
    (real(), [0.5, float(MAX_INTEGER), -float(MAX_INTEGER)], [float(2**53), 1, math.nan, math.inf]),
    (real(minimum=0, maximum=1.5), [0.0, 1.5], [-0.1, 1.6]),
    (member(Way), [Way.THERE, Way.BACK], ["there", "elsewhere", None]),
    (constant(Way.BACK), [Way.BACK], [Way.THERE, None]),
    (optional(integer(minimum=1)), [None, 1], [0, ""]),
    (JSON, ["null", "[]", '{"a":1}'], ["", "{", None, b"1", 1]),
    (BOOLEAN, [True, False], [1, 0, None]),
    (TIMESTAMP, [NOON], [NOON.replace(tzinfo=None), NOON.astimezone(timezone(timedelta(hours=1))), "2026", None]),
]


@pytest.mark.parametrize(("acceptor", "right", "wrong"), ACCEPTORS, ids=lambda each: getattr(each, "expected", ""))
def test_values_up_to_the_bounds_are_accepted(acceptor: Acceptor, right: list[object], wrong: list[object]) -> None:
    assert [value for value in right if not acceptor.accepts(value)] == []
    assert [value for value in wrong if acceptor.accepts(value)] == []


def test_of_several_fields_exactly_one_is_there() -> None:
    contract = Contract(table="calls", key=("number",), fields=(), exactly_one=(("a", "b", "c"),))
    contract.check(SimpleNamespace(number=7, a=None, b="", c=None))
    for b, c, got in ((None, None, "None"), ("", 0, "'b and c'")):
        with pytest.raises(AuditIntegrityError) as caught:
            contract.check(SimpleNamespace(number=7, a=None, b=b, c=c))
        assert str(caught.value) == f"calls number=7: a, b, c: expected exactly one of them, got {got}"


def test_lower_hex_is_whole_bytes() -> None:
    assert [each for each in ("", "0a", "0A", "0", "0a ", "0g") if is_lower_hex(each)] == ["", "0a"]
    assert (matches("a+", "aa"), matches("a+", "aab"), matches("a+", "aa\n")) == (True, False, False)

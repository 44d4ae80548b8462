"""Rows get the declared types, or every reason against them."""

import datetime as dt
import json
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from elspeth.contracts.rows import (
    InvalidRow,
    RowData,
    RowValidator,
    SchemaViolationError,
    convert_row,
    convert_value,
)
from elspeth.contracts.schema import MAX_INTEGER, SUPPORTED_TYPES, FieldDefinition, SchemaConfig, SchemaMode
from elspeth.contracts.values import plain_row

FLOATS = "from -1.8e+308 to 1.8e+308"


def validator(mode: str, *fields: str) -> RowValidator:
    return RowValidator(SchemaConfig.from_dict({"mode": mode, "fields": list(fields)}))


def test_a_dynamic_schema_leaves_the_row_unchanged() -> None:
    row: dict[str, object] = {"a": "1"}
    assert RowValidator(SchemaConfig.from_dict({"fields": "dynamic"})).validate(row) is row


@pytest.mark.parametrize(
    ("field", "value", "coerced"),
    [
        ("decimal(2)", "42", Decimal("42.00")),
        ("decimal(2)?", "", None),
        ("date", "2026-03-01", dt.date(2026, 3, 1)),
        ("date?", "", None),
        ("datetime?", "", None),
        ("duration?", "", None),
        ("int", "42", 42),
        ("int", " -7 ", -7),
        ("int", "+7", 7),
        ("int", 7, 7),
        ("int", str(MAX_INTEGER), MAX_INTEGER),
        ("int", -MAX_INTEGER, -MAX_INTEGER),
        ("int?", "", None),
        ("int?", None, None),
        ("float", "2.5", 2.5),
        ("float", "1e3", 1000.0),
        ("float", " -.5 ", -0.5),
        ("float", "+7.", 7.0),
        ("float", "5e-324", 5e-324),
        ("float", "0.000e-999", 0.0),
        ("float", "-0", -0.0),
        ("float", 3, 3.0),
        ("float?", "", None),
        ("bool", "TRUE", True),
        ("bool", "no", False),
        ("bool", "0", False),
        ("bool", True, True),
        ("bool", 1, True),
        ("bool?", "", None),
        ("str", "", ""),
        ("str", " as it is ", " as it is "),
        ("str?", "", ""),
        ("str?", None, None),
        ("any", [1], [1]),
        ("any", None, None),
    ],
)
def test_values_are_coerced_to_the_declared_type(field: str, value: object, coerced: object) -> None:
    row: dict[str, object] = {"x": value, "more": "kept"}
    result = validator("free", f"x: {field}").validate(row)
    assert result == {"x": coerced, "more": "kept"}
    assert type(result["x"]) is type(coerced)
    assert row == {"x": value, "more": "kept"}


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("int", "4.0", "an integer, got text of 3 characters"),
        ("int", "1_000", "an integer, got text of 5 characters"),
        ("int", "٣", "an integer, got text of 1 character"),
        ("int", "", "an integer, got empty text"),
        ("int", True, "an integer, got a boolean"),
        ("int", False, "an integer, got a boolean"),
        ("int", MAX_INTEGER + 1, f"an integer from -{MAX_INTEGER} to {MAX_INTEGER}, got one beyond"),
        ("int", "-9007199254740992", f"an integer from -{MAX_INTEGER} to {MAX_INTEGER}, got one beyond"),
        ("int", "9" * 5_000, "an integer, got text of 5,000 characters"),
        ("float", "nan", "a number, got text of 3 characters"),
        ("float", "Infinity", "a number, got text of 8 characters"),
        ("float", float("nan"), "a finite number, got a number that is not finite"),
        ("float", "1e999", f"a number {FLOATS}, got one beyond"),
        ("float", "-1e999", f"a number {FLOATS}, got one beyond"),
        ("float", 10**400, f"a number {FLOATS}, got one beyond"),
        ("float", "1e-400", "zero or a number that a float can tell from zero, got a smaller one"),
        ("float", "-.5e-99999", "zero or a number that a float can tell from zero, got a smaller one"),
        ("float", f"0.{'0' * 400}1", "zero or a number that a float can tell from zero, got a smaller one"),
        ("float", "1_000.5", "a number, got text of 7 characters"),
        ("float", "١٢", "a number, got text of 2 characters"),
        ("float", "\uff11\uff12", "a number, got text of 2 characters"),
        ("float", "0x10", "a number, got text of 4 characters"),
        ("float", ".", "a number, got text of 1 character"),
        ("float", True, "a number, got a boolean"),
        ("float", [1], "a number, got a list of 1 item"),
        ("bool", "maybe", "true or false, got text of 5 characters"),
        ("bool", 2, "true or false, got an integer"),
        ("bool", 1.0, "true or false, got a number"),
        ("bool", {}, "true or false, got an object with 0 fields"),
        ("str", 5, "text, got an integer"),
        ("str", None, "text, got null"),
    ],
)
def test_values_that_do_not_fit_are_refused(field: str, value: object, expected: str) -> None:
    with pytest.raises(SchemaViolationError) as caught:
        validator("free", f"x: {field}").validate({"x": value})
    assert str(caught.value) == f"field 'x': expected {expected}"


def test_all_reasons_are_named_together() -> None:
    with pytest.raises(SchemaViolationError) as caught:
        validator("strict", "a: int", "b: str", "c: str?").validate({"a": "x", "d": "1"})
    assert str(caught.value) == (
        "field 'b' is missing; fields that are not in the schema: 1; "
        "field 'a': expected an integer, got text of 1 character"
    )


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)


@given(st.sampled_from(["int", "float", "bool", "str", "int?", "float?", "bool?", "str?"]), VALUES)
def test_coercion_is_idempotent(field: str, value: object) -> None:
    checked = validator("strict", f"x: {field}")
    try:
        once = checked.validate({"x": value})
    except SchemaViolationError:
        return
    assert checked.validate(once) == once


NAMES = ("a", "b", "c")
TEXTS = ["", "7", "2.5", "yes", "text", "2026-03-01", "2026-03-01T12:30Z", "P1DT2.5S"]
CELLS = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(TEXTS)
TYPES = [*sorted(SUPPORTED_TYPES - {"decimal(N)"}), "decimal(0)", "decimal(2)"]
FIELDS = st.lists(
    st.builds(
        FieldDefinition,
        name=st.sampled_from(NAMES),
        field_type=st.sampled_from(TYPES),
        required=st.booleans(),
    ),
    min_size=1,
    unique_by=lambda field: field.name,
).map(tuple)


@given(
    fields=FIELDS,
    mode=st.sampled_from(["strict", "free"]),
    cells=st.lists(CELLS, max_size=6),
    left_out=st.sets(st.sampled_from([*NAMES, "d"])),
)
def test_a_row_that_the_schema_accepts_satisfies_its_json_schema(
    fields: tuple[FieldDefinition, ...], mode: SchemaMode, cells: list[object], left_out: set[str]
) -> None:
    row: RowData = {"d": cells[:1]} if mode == "free" and "d" not in left_out else {}
    for field in fields:
        if field.required or field.name not in left_out:
            row[field.name] = next(cell for cell in [*cells, *TEXTS] if fits(field, cell))
    schema = SchemaConfig(mode=mode, fields=fields, is_dynamic=False)
    accepted = RowValidator(schema).validate(row)
    Draft202012Validator(schema.json_schema()).validate(plain_row(accepted))


def fits(field: FieldDefinition, cell: object) -> bool:
    try:
        RowValidator(SchemaConfig(mode="strict", fields=(field,), is_dynamic=False)).validate({field.name: cell})
    except SchemaViolationError:
        return False
    return True


def test_foreign_values_are_converted_to_json_types() -> None:
    values = {
        "time": dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC),
        "date": dt.date(2026, 1, 2),
        "span": dt.timedelta(minutes=1),
        "price": Decimal("1.10"),
        "bytes": b"\x00\x01",
        "buffers": [bytearray(b"\x00"), memoryview(b"\x01")],
        "object": {1: {"price": Decimal("2.50")}},
        "identity": UUID(int=7),
        "clock": dt.time(3, 4),
        "list": [(1, Decimal(2))],
    }
    assert convert_value(values) == {
        "time": "2026-01-02T03:04:05+00:00",
        "date": "2026-01-02",
        "span": 60.0,
        "price": "1.10",
        "bytes": "AAE=",
        "buffers": ["AA==", "AQ=="],
        "object": {"1": {"price": "2.50"}},
        "identity": "00000000-0000-0000-0000-000000000007",
        "clock": "03:04:00",
        "list": [[1, "2"]],
    }
    assert json.dumps(convert_value(values))
    with pytest.raises(ValueError, match="a row cannot hold a value of type set"):
        convert_value({1})


@pytest.mark.parametrize(
    ("values", "data", "error"),
    [
        (
            {"a": "x\udcff", "b": "\u00fc", "c": "y\udcfe"},
            {"a": "x\\xff", "b": "\u00fc", "c": "y\\xfe"},
            "row 1: column 'a': bytes that are not UTF-8",
        ),
        (
            {"a": "x", "b": {1}},
            {"__raw__": "{'a': 'x', 'b': {1}}"},
            "row 1: a row cannot hold a value of type set",
        ),
        ({"a": 1, "b": b"1"}, {"a": 1, "b": "MQ=="}, "row 1: field 'a': expected text, got an integer"),
    ],
    ids=["bytes", "type", "schema"],
)
def test_a_row_that_cannot_be_converted_keeps_its_data(
    values: dict[str, object], data: dict[str, object], error: str
) -> None:
    assert convert_row(values, validator("free", "a: str"), "row 1") == InvalidRow(data=data, error=error)


def test_a_row_that_can_be_converted_has_the_types_of_its_schema() -> None:
    found = convert_row({"a": "\u00fc", "n": "7", "b": b"1"}, validator("free", "a: str", "n: int"), "row 1")
    assert found == {"a": "\u00fc", "n": 7, "b": "MQ=="}

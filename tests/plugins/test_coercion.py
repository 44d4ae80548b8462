"""Rows become what their schema declares, or are refused with every reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth.contracts.schema import MAX_INTEGER, SchemaConfig
from elspeth.plugins.coercion import RowValidator, SchemaViolationError


def validator(mode: str, *fields: str) -> RowValidator:
    return RowValidator(SchemaConfig.from_dict({"mode": mode, "fields": list(fields)}))


def test_a_dynamic_schema_leaves_the_row_alone() -> None:
    row: dict[str, object] = {"a": "1"}
    assert RowValidator(SchemaConfig.from_dict({"fields": "dynamic"})).validate(row) is row


@pytest.mark.parametrize(
    ("field", "value", "coerced"),
    [
        ("int", "42", 42),
        ("int", " -7 ", -7),
        ("int", "+7", 7),
        ("int", 7, 7),
        ("int?", "", None),
        ("int?", None, None),
        ("float", "2.5", 2.5),
        ("float", "1e3", 1000.0),
        ("float", 3, 3.0),
        ("float?", "", None),
        ("bool", "TRUE", True),
        ("bool", "no", False),
        ("bool", "0", False),
        ("bool", True, True),
        ("bool", 1, True),
        ("bool?", "", None),
        ("str", "", ""),
        ("str?", "", ""),
        ("str?", None, None),
        ("any", [1], [1]),
        ("any", None, None),
    ],
)
def test_values_become_the_declared_type(field: str, value: object, coerced: object) -> None:
    row: dict[str, object] = {"x": value, "more": "kept"}
    result = validator("free", f"x: {field}").validate(row)
    assert result == {"x": coerced, "more": "kept"}
    assert type(result["x"]) is type(coerced)
    assert row == {"x": value, "more": "kept"}


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("int", "4.0", f"an integer of at most {MAX_INTEGER}, got '4.0'"),
        ("int", "1_000", f"an integer of at most {MAX_INTEGER}, got '1_000'"),
        ("int", "٣", f"an integer of at most {MAX_INTEGER}, got '٣'"),
        ("int", "", f"an integer of at most {MAX_INTEGER}, got ''"),
        ("int", True, f"an integer of at most {MAX_INTEGER}, got True"),
        ("int", MAX_INTEGER + 1, f"an integer of at most {MAX_INTEGER}, got 9007199254740992"),
        ("float", "nan", "a finite number, got 'nan'"),
        ("float", "1e999", "a finite number, got '1e999'"),
        ("float", "x" * 100, f"a finite number, got '{'x' * 59}..."),
        ("bool", "maybe", "true or false, got 'maybe'"),
        ("bool", 2, "true or false, got 2"),
        ("bool", 1.0, "true or false, got 1.0"),
        ("str", 5, "text, got 5"),
    ],
)
def test_what_does_not_fit_is_refused(field: str, value: object, expected: str) -> None:
    with pytest.raises(SchemaViolationError) as caught:
        validator("free", f"x: {field}").validate({"x": value})
    assert str(caught.value) == f"field 'x': expected {expected}"


def test_all_reasons_are_named_together() -> None:
    with pytest.raises(SchemaViolationError) as caught:
        validator("strict", "a: int", "b: str", "c: str?").validate({"a": "x", "d": "1"})
    assert str(caught.value) == (
        "field 'b' is missing; field 'd' is not in the schema; "
        f"field 'a': expected an integer of at most {MAX_INTEGER}, got 'x'"
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

"""Objects are flattened into fields, and long texts are truncated."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth.contracts.plugins import RowError
from elspeth.contracts.rows import RowData
from tests.plugins.transforms.processing import problem_of, process

ROW: RowData = {"id": 1, "line": {"sum": 2, "tax": {"rate": 3, "none": {}}}, "list": [{"a": 1}], "z": 4}


def test_the_members_of_objects_become_fields_in_their_place() -> None:
    flat = process("flatten", ROW)
    assert isinstance(flat, dict)
    assert list(flat.items()) == [("id", 1), ("line.sum", 2), ("line.tax.rate", 3), ("list", [{"a": 1}]), ("z", 4)]


def test_only_the_named_objects_are_flattened() -> None:
    row: RowData = {"a": {"b": {"c": 1}}, "d": {"e": 2}}
    assert process("flatten", row, fields=["a"], separator="_") == {"a_b_c": 1, "d": {"e": 2}}


def test_two_fields_of_one_name_fail_the_row() -> None:
    error = RowError(message="two fields would both be named 'a.b'", details={"field": "a.b"})
    assert process("flatten", {"a": {"b": 1}, "a.b": 2}) == error
    turned = RowError(message="two fields would both be named 'a.b'", details={"field": "a"})
    assert process("flatten", {"a.b": 2, "a": {"b": 1}}) == turned


def test_one_named_object_is_flattened_alone() -> None:
    assert process("flatten", {"a": {"b": 1}, "d": {"e": 2}}, fields=["d"]) == {"a": {"b": 1}, "d.e": 2}


LEAVES = st.integers() | st.none() | st.text(max_size=2)
OBJECTS = st.dictionaries(
    st.sampled_from("abc"), st.recursive(LEAVES, lambda x: st.dictionaries(st.sampled_from("abc"), x))
)


def leaves(value: object) -> list[object]:
    """Return the leaves of an object."""
    return [leaf for item in value.values() for leaf in leaves(item)] if isinstance(value, dict) else [value]


@given(OBJECTS)
def test_flattening_keeps_every_leaf_in_its_order_and_happens_once(row: RowData) -> None:
    flat = process("flatten", row)
    assert isinstance(flat, dict)
    assert list(flat.values()) == leaves(row)
    assert process("flatten", flat) == flat


@pytest.mark.parametrize(
    ("text", "suffix", "cut"),
    [("abcdef", "", "abcde"), ("abcdef", "...", "ab..."), ("abcde", "...", "abcde"), (None, "...", None)],
)
def test_a_text_is_cut_to_the_length_with_its_suffix(text: str | None, suffix: str, cut: str | None) -> None:
    assert process("truncate", {"x": {"t": text}}, fields={"x.t": 5}, suffix=suffix) == {"x": {"t": cut}}


def test_a_text_may_have_room_for_the_suffix_alone() -> None:
    assert process("truncate", {"x": "abcdef"}, fields={"x": 3}, suffix="...") == {"x": "..."}


def test_a_missing_value_or_one_that_is_not_text_fails_the_row() -> None:
    assert process("truncate", {"x": 5}, fields={"x": 5}) == RowError(
        message="field 'x': expected text, got an integer", details={"field": "x"}
    )
    assert process("truncate", {}, fields={"x": 5}) == RowError(message="field 'x' is missing", details={"field": "x"})
    assert (
        problem_of("truncate", fields={"x": 2}, suffix="...") == "the 2 characters of 'x' have no room for the suffix"
    )

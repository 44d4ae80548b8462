"""Conditions keep rows, expressions compute fields."""

from elspeth.contracts.plugins import RowDrop, RowError
from tests.plugins.transforms.processing import problem_of, process


def test_rows_for_which_the_condition_is_not_true_are_dropped() -> None:
    condition = "row['n'] > 1"
    assert process("filter", {"n": 2}, condition=condition) == {"n": 2}
    dropped = RowDrop(reason="the condition is not true", details={"condition": condition})
    assert process("filter", {"n": 1}, condition=condition) == dropped


def test_a_condition_need_not_be_a_boolean() -> None:
    for value, is_kept in ((0, False), (1, True), ("", False), ("x", True), (None, False)):
        found = process("filter", {"n": value}, condition="row['n']")
        assert (found == {"n": value}) is is_kept


def test_a_condition_without_a_value_fails_the_row() -> None:
    error = RowError(message="the row has no field 'n'", details={"field": "n"})
    assert process("filter", {}, condition="row['n'] > 1") == error
    assert process("value_transform", {}, fields={"x": "row['n'] + 1"}) == error


def test_an_expression_sees_what_is_computed_before_it() -> None:
    fields = {"net": "row['gross'] / 2", "gross": "0", "text": "text(row['net'] + row['gross'])"}
    assert process("value_transform", {"gross": 3.0}, fields=fields) == {"gross": 0, "net": 1.5, "text": "1.5"}


def test_invalid_expressions_are_refused() -> None:
    assert problem_of("filter", condition="row['n'] >").startswith("the condition is not a valid expression")
    assert problem_of("value_transform", fields={"x": ""}).startswith("the expression for 'x' is empty")

"""Annotations say what a function takes and returns."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from elspeth.contracts.expressions import EvaluationError
from elspeth.contracts.python_functions import FunctionError, batch_function, row_function
from elspeth.contracts.rows import RowData
from tests.fixtures.python_modules import ModuleWriter

HEAD = """
import datetime as dt
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal, Optional, TypedDict, Union

from elspeth.contracts.plugins import RowError

class Order(TypedDict):
    id: int
"""


@pytest.mark.parametrize("annotation", ["dict", "dict[str, object]", "Mapping[str, Any]", "Order", "'Order'"])
def test_a_parameter_annotated_as_a_mapping_takes_the_row(write_module: ModuleWriter, annotation: str) -> None:
    directory = write_module(f"{HEAD}\ndef f(any_name: {annotation}) -> int:\n    return any_name['id']\n")
    assert row_function("rules:f", str(directory)).evaluate({"id": 3, "other": 1}) == 3


@pytest.mark.parametrize(
    ("parameters", "row", "result"),
    [
        ("a: int, b: int", {"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 2}),
        ("a: int, *, b: int = 5", {"a": 1}, {"a": 1, "b": 5}),
        ("a: float | None", {"a": None}, {"a": None}),
        ("a: float", {"a": 2}, {"a": 2}),
        ("a: object", {"a": [1]}, {"a": [1]}),
        ("a: list[int]", {"a": ["not looked at"]}, {"a": ["not looked at"]}),
        ("a: Decimal", {"a": Decimal("1.5")}, {"a": Decimal("1.5")}),
        ("a: Any, b: dict", {"a": 1, "b": {}}, {"a": 1, "b": {}}),
        ("a: dict, b: int", {"a": {}, "b": 1}, {"a": {}, "b": 1}),
        ("a: Optional[int]", {"a": None}, {"a": None}),
        ("a: Union[int, str]", {"a": "1"}, {"a": "1"}),
    ],
)
def test_other_parameters_take_the_fields_with_their_names(
    write_module: ModuleWriter, parameters: str, row: RowData, result: object
) -> None:
    directory = write_module(f"{HEAD}\ndef f({parameters}) -> dict[str, object]:\n    return dict(locals())\n")
    assert row_function("rules:f", str(directory)).evaluate(row) == result


@pytest.mark.parametrize(
    ("annotation", "value", "problem"),
    [
        ("int", True, "expected int, got a boolean"),
        ("int", "7", "expected int, got text of 1 character"),
        ("str | None", 7, "expected str | None, got an integer"),
        ("Decimal", 1.5, "expected Decimal, got a number"),
        ("dt.date", dt.datetime(2026, 1, 1, tzinfo=dt.UTC), "expected date, got a date and time"),
        ("list[int]", {}, "expected list[int], got an object with 0 fields"),
    ],
)
def test_a_value_of_another_type_fails_the_row(
    write_module: ModuleWriter, annotation: str, value: object, problem: str
) -> None:
    directory = write_module(f"{HEAD}\ndef f(a: {annotation}, b: int = 1) -> int:\n    return 1\n")
    function = row_function("rules:f", str(directory))
    with pytest.raises(EvaluationError) as caught:
        function.evaluate({"a": value})
    assert (str(caught.value), caught.value.field) == (f"field 'a': {problem}", "a")
    with pytest.raises(EvaluationError, match="field 'a' is missing"):
        function.evaluate({"b": 1})


KNOWN = """bool, int, float, str, list, dict, Decimal, date, datetime, timedelta, None, object, \
or `dict[str, object]` for the row"""


@pytest.mark.parametrize(
    ("signature", "problem"),
    [
        ("(a) -> int", "function 'rules:f' needs annotations, which say what it takes: a"),
        ("(row: dict)", "function 'rules:f' needs annotations, which say what it takes: the result"),
        ("() -> int", "function 'rules:f': expected parameters that can be given by name, no `*` or `/`"),
        ("(*rows: dict) -> int", "function 'rules:f': expected parameters that can be given by name, no `*` or `/`"),
        ("(**row: dict) -> int", "function 'rules:f': expected parameters that can be given by name, no `*` or `/`"),
        ("(a: int, /) -> int", "function 'rules:f': expected parameters that can be given by name, no `*` or `/`"),
        (
            "(a: complex) -> int",
            f"function 'rules:f': parameter 'a' takes complex, which no field has: expected {KNOWN}",
        ),
        (
            "(a: 'Unknown') -> int",
            "function 'rules:f': its annotations have no value: NameError: name 'Unknown' is not defined",
        ),
    ],
)
def test_uninformative_annotations_are_refused(write_module: ModuleWriter, signature: str, problem: str) -> None:
    directory = write_module(f"{HEAD}\ndef f{signature}:\n    return 1\n")
    with pytest.raises(FunctionError) as caught:
        row_function("rules:f", str(directory))
    assert str(caught.value) == problem


@pytest.mark.parametrize(
    ("returns", "labels", "problem"),
    [
        ("bool", {"true", "false"}, None),
        ("str", {"a"}, None),
        ("int", {"1"}, None),
        ("Literal['a', 'b']", {"a", "b"}, None),
        ("bool", {"yes", "no"}, "expected the labels that the function returns, 'false', 'true', got 'no', 'yes'"),
        ("Literal['a', 'b']", {"a"}, "expected the labels that the function returns, 'a', 'b', got 'a'"),
        ("Literal['a']", {"a", "b"}, "expected the labels that the function returns, 'a', got 'a', 'b'"),
        ("Literal['a'] | Literal[2]", {"a", "2"}, None),
        ("Literal['a'] | str", {"a"}, "expected to return bool, str, int or Literal, got typing.Literal['a'] | str"),
        ("dict", {"a"}, "expected to return bool, str, int or Literal, got dict"),
        ("str | None", {"a"}, "expected to return bool, str, int or Literal, got str | None"),
    ],
)
def test_a_gate_has_the_labels_that_its_function_returns(
    write_module: ModuleWriter, returns: str, labels: set[str], problem: str | None
) -> None:
    directory = write_module(f"{HEAD}\ndef f(a: int) -> {returns}:\n    return 1\n")
    assert row_function("rules:f", str(directory)).label_problem(labels) == problem


@pytest.mark.parametrize(
    ("returns", "got"),
    [
        ("dict", None),
        ("list[dict] | RowError", None),
        ("dict | list[dict] | None", None),
        ("int", "int"),
        ("dict | int", "dict | int"),
        ("RowError", "RowError"),
        ("list[int]", "list[int]"),
    ],
)
def test_a_function_without_a_field_for_its_result_returns_rows(
    write_module: ModuleWriter, returns: str, got: str | None
) -> None:
    directory = write_module(f"{HEAD}\ndef f(a: int) -> {returns}:\n    return {{}}\n")
    function = row_function("rules:f", str(directory))
    assert function.returns_rows is ("list[dict]" in returns)
    assert function.returns_none is returns.endswith("None")
    if got is None:
        function.require_rows()
        return
    with pytest.raises(FunctionError) as caught:
        function.require_rows()
    assert str(caught.value) == (
        "function 'rules:f': expected to return a row (`dict[str, object]`) or a list of rows, got "
        f"{got}: name the field for another result with `result`"
    )


@pytest.mark.parametrize("returns", ["dict", "list[dict[str, object]]", "Sequence[Mapping]", "Order"])
def test_a_batch_is_a_list_of_rows(write_module: ModuleWriter, returns: str) -> None:
    directory = write_module(f"{HEAD}\ndef f(rows: list[dict]) -> {returns}:\n    return {{'n': len(rows)}}\n")
    assert batch_function("rules:f", str(directory)).evaluate([{}, {}]) == [{"n": 2}]


def test_a_batch_function_may_return_an_error_and_an_empty_row(write_module: ModuleWriter) -> None:
    directory = write_module(f"{HEAD}\ndef f(rows: list[dict]) -> dict | RowError:\n    return {{}}\n")
    assert batch_function("rules:f", str(directory)).evaluate([{}]) == [{}]


@pytest.mark.parametrize(
    ("signature", "problem"),
    [
        (
            "(row: dict) -> dict",
            "expected one parameter that takes a list of rows (`list[dict[str, object]]`), got dict",
        ),
        (
            "(rows: list[dict], more: int) -> dict",
            "expected one parameter that takes a list of rows (`list[dict[str, object]]`), got list[dict] | int",
        ),
        (
            "(rows: list[int]) -> dict",
            "expected one parameter that takes a list of rows (`list[dict[str, object]]`), got list[int]",
        ),
        ("(rows: list[dict]) -> RowError", "expected to return a list of rows or a row, got nothing"),
        ("(rows: list[dict]) -> list[dict] | int", "expected to return a list of rows or a row, got list[dict] | int"),
        ("(rows: list[dict]) -> int", "expected to return a list of rows or a row, got int"),
    ],
)
def test_other_functions_are_not_batch_functions(write_module: ModuleWriter, signature: str, problem: str) -> None:
    directory = write_module(f"{HEAD}\ndef f{signature}:\n    return 1\n")
    with pytest.raises(FunctionError) as caught:
        batch_function("rules:f", str(directory))
    assert str(caught.value) == f"function 'rules:f': {problem}"

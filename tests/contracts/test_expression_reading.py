"""Which fields an expression reads at each evaluation."""

from __future__ import annotations

import pytest

from elspeth.contracts.expressions import NotedRow, compile_expression

Row = dict[str, object]


@pytest.mark.parametrize(
    ("condition", "row", "asked"),
    [
        ("row['a'] > 1", {"a": 2, "b": 2}, ["a"]),
        ("row['a'] > 1 or row['b'] > 1", {"a": 2, "b": 2}, ["a"]),
        ("row['a'] > 1 or row['b'] > 1", {"a": 1, "b": 2}, ["a", "b"]),
        ("row['a'] > 1 and row['b'] > 1", {"a": 1, "b": 2}, ["a"]),
        ("row['b'] > 1 if row['a'] else row['c'] > 1", {"a": True, "b": 2, "c": 3}, ["a", "b"]),
        ("0 < row['a'] < row['b']", {"a": 0, "b": 2}, ["a"]),
        ("row.get('gone', 5) > row['a']", {"a": 1, "b": 2}, ["gone", "a"]),
        ("row.get('gone', row['a']) > 1", {"a": 1}, ["gone", "a"]),
        ("row.get('a', row['b']) > 1", {"a": 1, "b": 2}, ["a"]),
        ("row['a']['x'] > 1", {"a": {"x": 2, "y": 3}}, ["a"]),
        ("row['a'] == row['a']", {"a": None}, ["a"]),
        ("1 > 2", {"a": 1}, []),
    ],
)
def test_only_fields_that_decide_are_read(condition: str, row: Row, asked: list[str]) -> None:
    expression, noted = compile_expression(condition), NotedRow(row)
    assert expression.evaluate(noted) == expression.evaluate(row)
    assert [*noted.asked] == asked


def test_a_field_that_the_row_lacks_is_read_too() -> None:
    noted = NotedRow({"a": 1})
    with pytest.raises(KeyError):
        noted["gone"]
    assert "b" not in noted
    assert [*noted.asked] == ["gone", "b"]


def test_iterating_over_a_row_reads_all_fields() -> None:
    noted = NotedRow({"a": 1, "b": 2})
    assert (len(noted), [*noted.asked]) == (2, [])
    assert [*noted] == ["a", "b"]
    assert [*noted.asked] == ["a", "b"]

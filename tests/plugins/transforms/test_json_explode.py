"""Lists inside objects, and empty lists."""

from copy import deepcopy

from elspeth.contracts.plugins import RowDrop, RowError
from elspeth.contracts.rows import RowData
from tests.plugins.transforms.processing import process

OPTIONS = {"array_field": "order.lines", "output_field": "line"}


def test_a_list_inside_an_object_makes_rows() -> None:
    row: RowData = {"order": {"id": 1, "lines": ["a", "b"]}}
    assert process("json_explode", row, **OPTIONS) == [
        {"order": {"id": 1}, "line": "a", "line_index": 0},
        {"order": {"id": 1}, "line": "b", "line_index": 1},
    ]


def test_an_empty_list_is_treated_as_the_settings_say() -> None:
    def explode(on_empty: str) -> object:
        return process("json_explode", {"order": {"lines": []}}, on_empty=on_empty, **OPTIONS)

    assert explode("keep") == {"order": {}, "line": None, "line_index": None}
    assert explode("drop") == RowDrop(reason="the list is empty", details={"field": "order.lines"})
    row: RowData = {"order": {"lines": []}, "line": 1}
    taken = RowError(message="field 'line' exists already", details={"field": "line"})
    assert process("json_explode", deepcopy(row), on_empty="keep", **OPTIONS) == taken
    assert process("json_explode", deepcopy(row), on_empty="drop", **OPTIONS) == explode("drop")
    assert explode("error") == RowError(
        message="field 'order.lines' is an empty list", details={"field": "order.lines"}
    )


def test_a_missing_path_fails_the_row() -> None:
    rows: list[RowData] = [{}, {"order": None}, {"order": [1]}, {"order": {}}]
    for row in rows:
        error = RowError(message="field 'order.lines' is missing", details={"field": "order.lines"})
        assert process("json_explode", row, **OPTIONS) == error


def test_a_keyword_is_found_inside_objects() -> None:
    options = {"fields": ["order.notes.0", "gone.deep"], "blocked_patterns": ["secret"]}
    assert process("keyword_filter", {"order": {"notes": ["a secret"]}}, **options) == RowError(
        message="field 'order.notes.0' contains the blocked pattern 'secret'",
        details={"field": "order.notes.0", "pattern": "secret"},
    )

"""Error fields never replace a row's own fields."""

from __future__ import annotations

from elspeth.contracts.error_fields import ERROR_FIELDS, add_error_fields
from elspeth.contracts.rows import RowData

VALUES = ("refused", "score", "orders", 7, 3)


def test_error_fields_come_after_the_fields_of_the_row() -> None:
    row: RowData = {"id": 1}
    assert list(add_error_fields(row, VALUES).items()) == [("id", 1), *zip(ERROR_FIELDS, VALUES, strict=True)]
    assert row == {"id": 1}


def test_a_row_that_failed_before_keeps_its_error_fields() -> None:
    once = add_error_fields({"id": 1}, VALUES)
    again = add_error_fields(once, VALUES)
    assert once.items() <= again.items()
    assert list(again)[len(once) :] == [f"{name}_" for name in ERROR_FIELDS]


def test_one_conflicting_field_renames_all_error_fields() -> None:
    row: RowData = {"error_line": 1, "error_row_": 2}
    assert list(add_error_fields(row, VALUES))[2:] == [f"{name}__" for name in ERROR_FIELDS]

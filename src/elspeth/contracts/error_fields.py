"""Fields that tell, in the row itself, why it failed."""

from __future__ import annotations

from collections.abc import Sequence

from elspeth.contracts.rows import RowData

__all__ = ["ERROR_FIELDS", "add_error_fields"]

ERROR_FIELDS = ("error_reason", "error_step", "error_source", "error_line", "error_row")
"""The reason, the step that failed, the source or its file, the line there or None, and the index of the source row."""


def add_error_fields(row: RowData, values: Sequence[object]) -> RowData:
    """Return a row with error fields added at its end.

    `values` are in the order of `ERROR_FIELDS`. If the row has a field of one of these names, as a row that failed
    before has, all names get as many underscores as make them new.
    """
    suffix = ""
    while any(f"{name}{suffix}" in row for name in ERROR_FIELDS):
        suffix += "_"
    return row | {f"{name}{suffix}": value for name, value in zip(ERROR_FIELDS, values, strict=True)}

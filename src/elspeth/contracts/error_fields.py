"""Fields that state, in a failed row, why it failed."""

from __future__ import annotations

from collections.abc import Sequence

from elspeth.contracts.rows import RowData

__all__ = ["ERROR_FIELDS", "add_error_fields"]

ERROR_FIELDS = ("error_reason", "error_step", "error_source", "error_line", "error_row")
"""The fields: reason, failed step, source or its file, line there or None, and index of the source row."""


def add_error_fields(row: RowData, values: Sequence[object]) -> RowData:
    """Return a row with error fields added at its end.

    `values` are in the order of `ERROR_FIELDS`. If the row has a field of one of these names already, because it failed
    before, underscores are added to all names until they are new.
    """
    suffix = ""
    while any(f"{name}{suffix}" in row for name in ERROR_FIELDS):
        suffix += "_"
    return row | {f"{name}{suffix}": value for name, value in zip(ERROR_FIELDS, values, strict=True)}

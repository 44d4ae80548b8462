"""Rows into a CSV file."""

from __future__ import annotations

import re
from typing import cast

from elspeth.contracts.plugins import JsonObject, Row, RowRejectedError
from elspeth.plugins.sinks.file import FileSink, FileSinkOptions, json_text

__all__ = ["CsvSink"]

EXTRA = "__extra__"
"""The column of what has no column, in a file that takes rows which failed; also what the source calls it."""

_SPECIAL = re.compile('[",\r\n]')


class CsvSink(FileSink):
    """Rows as a UTF-8 CSV file with a header line.

    The columns are the fields of the schema, then those of the first row. A later row may lack some of them (the cells
    are empty) but have no others. None is an empty cell, booleans are true and false, lists and mappings are JSON.

    Rows that failed differ in their fields. A file that takes such rows has a last column `__extra__`, which holds the
    fields that are no columns, as a JSON object.
    """

    name = "csv"
    plugin_version = "1.1.0"

    def __init__(self, options: FileSinkOptions) -> None:
        super().__init__(options)
        self._declared = [field.name for field in options.schema_config.fields or ()]
        self._columns: list[str] | None = None
        self._known: frozenset[str] = frozenset()
        self._takes_any_field = False

    def expect_failed_rows(self) -> None:
        """Have a column for fields that are no columns."""
        self._takes_any_field = True

    def render(self, row: Row) -> bytes:
        """The row as one CSV record, after the header if it is the first."""
        columns, before = self._columns, ""
        if columns is None:
            columns = self._columns_of(row)
            before = _record(columns)
        elif not self._known.issuperset(row):
            row = self._fitted(row)
        content = (before + _record([_cell(row.get(name)) for name in columns])).encode()
        if self._columns is None:
            self._columns, self._known = columns, frozenset(columns)
        return content

    def _columns_of(self, row: Row) -> list[str]:
        """The columns of a file whose first row this is."""
        columns = [*self._declared, *(name for name in row if name not in self._declared)]
        if self._takes_any_field:
            return [*(name for name in columns if name != EXTRA), EXTRA]
        if not columns:
            raise RowRejectedError("the row has no fields, so that the file would have no columns")
        return columns

    def _fitted(self, row: Row) -> Row:
        """The row with what has no column in one that the file has for it; RowRejectedError if it has none."""
        unknown = {name: value for name, value in row.items() if name not in self._known}
        if not self._takes_any_field:
            problem = "fields that are not among the columns of the file, which are those of its first row"
            raise RowRejectedError(f"{problem}: {len(unknown):,}")
        kept = {name: value for name, value in row.items() if name in self._known}
        return {**kept, EXTRA: unknown | ({EXTRA: row[EXTRA]} if EXTRA in row else {})}

    def state(self) -> JsonObject:
        """The columns, once there are any."""
        return {"columns": self._columns}

    def restore(self, state: JsonObject) -> None:
        """The columns of the first row."""
        self._columns = cast("list[str] | None", state["columns"])
        self._known = frozenset(self._columns or ())

    def ending(self) -> bytes:
        """Nothing; the header alone if there was no row and the schema names the columns."""
        return _record(self._declared).encode() if self._columns is None and self._declared else b""


def _record(cells: list[str]) -> str:
    """One record (RFC 4180, section 2). Python's own writer leaves a lone carriage return unquoted, which loses it."""
    if cells == [""]:
        return '""\n'  # an empty line would not be a record
    return ",".join(map(_quoted, cells)) + "\n"


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if _SPECIAL.search(cell) else cell


def _cell(value: object) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return json_text(value)

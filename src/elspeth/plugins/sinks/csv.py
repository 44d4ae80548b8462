"""Rows into a CSV file."""

from __future__ import annotations

import re
from typing import cast

from elspeth.contracts.display import fields_are
from elspeth.contracts.plugins import JsonObject, Row, RowRejectedError
from elspeth.plugins.sinks.file import FileSink, FileSinkOptions, json_text

__all__ = ["CsvSink"]

_SPECIAL = re.compile('[",\r\n]')


class CsvSink(FileSink):
    """Rows as a UTF-8 CSV file with a header line.

    The columns are the fields of the schema, then those of the first row. A later row may lack some of them (the cells
    are empty) but have no others. None is an empty cell, booleans are true and false, lists and mappings are JSON.
    """

    name = "csv"
    plugin_version = "1.0.0"

    def __init__(self, options: FileSinkOptions) -> None:
        super().__init__(options)
        self._declared = [field.name for field in options.schema_config.fields or ()]
        self._columns: list[str] | None = None
        self._known: frozenset[str] = frozenset()

    def render(self, row: Row) -> bytes:
        """The row as one CSV record, after the header if it is the first."""
        columns, before = self._columns, ""
        if columns is None:
            columns = [*self._declared, *(name for name in row if name not in self._declared)]
            if not columns:
                raise RowRejectedError("the row has no fields, so that the file would have no columns")
            before = _record(columns)
        elif not self._known.issuperset(row):
            unknown = fields_are(len(row.keys() - self._known))
            raise RowRejectedError(f"{unknown} not among the columns of the file, which are those of its first row")
        content = (before + _record([_cell(row.get(name)) for name in columns])).encode()
        if self._columns is None:
            self._columns, self._known = columns, frozenset(columns)
        return content

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

"""CSV files as source and sink."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from typing import TextIO, cast

from elspeth.contracts.plugins import JsonObject, RowRejectedError
from elspeth.contracts.rows import InvalidRow, RowData, SchemaViolationError
from elspeth.plugins._csv_dialect import CsvSinkOptions, CsvSourceOptions, NumberReader
from elspeth.plugins._csv_format import CsvFormat
from elspeth.plugins._csv_header import check_names, read_header, suspect_delimiter
from elspeth.plugins._csv_lines import CsvLines
from elspeth.plugins.files import FileSink
from elspeth.plugins.input_files import InputFile, TextSource

__all__ = ["CsvSink", "CsvSinkOptions", "CsvSource", "CsvSourceOptions"]

_EXTRA = "__extra__"
"""The column that collects fields without a column. The source uses the same name for surplus cells."""


class CsvSource(TextSource):
    """Rows of CSV files with a header line.

    Blank lines are skipped. A row with too few or too many fields, wrong quoting, bytes that do not fit the encoding,
    NUL characters, or values that do not fit the schema is an invalid row, and reading goes on after it. A header that
    does not fit the schema, a quote that is not closed within `max_record_lines`, or a record too long to hold in
    memory is an error of the file.
    """

    name = "csv"
    plugin_version = "1.2.0"
    options_model = CsvSourceOptions
    options: CsvSourceOptions

    def __init__(self, options: CsvSourceOptions) -> None:
        super().__init__(options)
        self._nulls = frozenset(options.null_values)
        is_plain = options.decimal == "." and options.thousands is None
        self._numbers = None if is_plain else NumberReader(options)

    def check_files(self, files: Sequence[InputFile]) -> None:
        """Check every header before the first row."""
        headers: dict[str, list[str]] = {}
        for file in files:
            if file.is_regular:
                with file.opened(newline=self.newline) as text:
                    lines = CsvLines(text, file, self.options)
                    headers[file.name] = read_header(lines, lines.records(), self._validator, self._added)
        if self.options.schema_config.is_dynamic:
            check_names(headers)

    def rows(self, text: TextIO, file: InputFile) -> Iterator[RowData | InvalidRow]:
        """Yield the rows after the header."""
        lines = CsvLines(text, file, self.options)
        records = lines.records()
        header = read_header(lines, records, self._validator, self._added)
        width, nulls = len(header), self._nulls
        while True:
            lines.begin_record()
            try:
                cells: list[str] = next(records)
            except StopIteration:
                return
            except csv.Error as error:
                lines.refuse_open_quote()
                yield lines.invalid({"__raw__": lines.text()}, str(error))
                continue
            if not cells:
                continue
            row: RowData = dict(zip(header, cells, strict=False))
            if nulls:
                row = {name: None if cell in nulls else cell for name, cell in row.items()}
            if self._added:
                self._add_place(row, file, lines.first)
            if lines.flaw is not None:
                yield lines.invalid(row, lines.flaw)
            elif len(cells) != width:
                if len(cells) > width:
                    row["__extra__"] = cells[width:]
                hint = suspect_delimiter(cells, self.options)
                yield lines.invalid(row, f"expected {width} fields, got {len(cells)}{hint}")
            else:
                yield self._validated(row, lines)

    def _validated(self, row: RowData, lines: CsvLines) -> RowData | InvalidRow:
        try:
            return self._validator.validate(row if self._numbers is None else self._numbers.normalize(row))
        except SchemaViolationError as error:
            return lines.invalid(row, str(error))


class CsvSink(FileSink):
    """Rows as a CSV file with a header line.

    The columns are the fields of the schema, then those of the first row. A later row may lack some of them (they are
    null), but has no others. Null is an empty cell unless the options say otherwise; booleans are true and false;
    decimals, dates, times and durations are their canonical text; lists and mappings are JSON. Rows that failed differ
    in their fields. A file that takes such rows has a last column `__extra__`, with the fields that have no column as a
    JSON object.
    """

    name = "csv"
    plugin_version = "1.1.0"
    options_model = CsvSinkOptions

    def __init__(self, options: CsvSinkOptions) -> None:
        super().__init__(options)
        self._format = CsvFormat(options)
        self._encoding = options.encoding
        self._mark = len("".encode(options.encoding))  # the size of the byte order mark, which every encoded text has
        self._declared = [field.name for field in options.schema_config.fields or ()]
        self._columns: list[str] | None = None
        self._known: frozenset[str] = frozenset()
        self._takes_any_field = False

    def expect_failed_rows(self) -> None:
        """Add a column for fields that have none."""
        self._takes_any_field = True

    def render(self, row: RowData) -> bytes:
        """Return the row as a record, after any header."""
        columns, before = self._columns, ""
        if columns is None:
            columns = self._columns_of(row)
            before = self._format.record(columns)
        elif not self._known.issuperset(row):
            row = self._fit(row)
        cells = [self._format.cell(row.get(name)) for name in columns]
        content = self._encode(before + self._format.record(cells))
        if self._columns is None:
            self._columns, self._known = columns, frozenset(columns)
        return content

    def _columns_of(self, row: RowData) -> list[str]:
        """Return the columns of a file with this first row."""
        columns = [*self._declared, *(name for name in row if name not in self._declared)]
        if self._takes_any_field:
            return [*(name for name in columns if name != _EXTRA), _EXTRA]
        if not columns:
            raise RowRejectedError("the row has no fields, so that the file would have no columns")
        return columns

    def _fit(self, row: RowData) -> RowData:
        """Move fields without a column to `__extra__`.

        Raises RowRejectedError if the file does not have that column.
        """
        unknown = {name: value for name, value in row.items() if name not in self._known}
        if not self._takes_any_field:
            problem = "fields that are not among the columns of the file, which are those of its first row"
            raise RowRejectedError(f"{problem}: {len(unknown):,}")
        kept = {name: value for name, value in row.items() if name in self._known}
        return {**kept, _EXTRA: unknown | ({_EXTRA: row[_EXTRA]} if _EXTRA in row else {})}

    def state(self) -> JsonObject:
        """Return the columns, if they are known already."""
        return {"columns": self._columns}

    def restore(self, state: JsonObject) -> None:
        """Restore the columns of the first row."""
        self._columns = cast("list[str] | None", state["columns"])
        self._known = frozenset(self._columns or ())

    def ending(self) -> bytes:
        """Return the header if no row was written, or nothing."""
        return self._encode(self._format.record(self._declared)) if self._columns is None and self._declared else b""

    def _encode(self, text: str) -> bytes:
        """Encode a text, with a byte order mark at first.

        Raises RowRejectedError if the encoding lacks a character.
        """
        try:
            content = text.encode(self._encoding)
        except UnicodeEncodeError as error:
            raise RowRejectedError(
                f"a field has a character that the encoding {self._encoding} does not have"
            ) from error
        return content if self._columns is None else content[self._mark :]

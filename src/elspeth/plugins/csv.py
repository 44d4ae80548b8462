"""CSV files as source and sink."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from math import isfinite
from pathlib import Path
from typing import TextIO, cast

from pydantic import PositiveInt

from elspeth.contracts.errors import short_repr
from elspeth.contracts.plugins import FilePath, JsonObject, PluginError, RowRejectedError, Source, SourceOptions
from elspeth.contracts.rows import InvalidRow, RowData, RowValidator, SchemaViolationError
from elspeth.plugins.files import FileSink, FileSinkOptions, TextFile
from elspeth.plugins.json_text import encode_json

__all__ = ["CsvSink", "CsvSource", "CsvSourceOptions"]

_EXTRA = "__extra__"
"""The column for fields without a column. The source uses the same name for surplus cells."""

_SPECIAL = re.compile('[",\r\n]')

_MAX_CHARACTERS = 16_777_216  # of one record: limits the memory it takes
_OTHER_DELIMITERS = ";\t|"
_CELL = re.compile(r'(?:"(?:[^"]|"")*+"|[^",\r\n][^,\r\n]*+|)(?:,|\r\n|\r|\n)')


class CsvSourceOptions(SourceOptions):
    """Options of the CSV source.

    `max_record_lines` limits the lines of one record: a quoted cell may have line breaks.
    """

    path: FilePath
    max_record_lines: PositiveInt = 1_000


class CsvSource(Source):
    """Rows of a UTF-8 CSV file with a header line.

    Blank lines are skipped. A row with too few or too many fields, wrong quoting, bytes that are not UTF-8, NUL
    characters, or values that do not fit the schema is an invalid row, and reading goes on after it. A header that does
    not fit the schema, a quote that is not closed within `max_record_lines`, or a record too long to hold in memory is
    an error of the file.
    """

    name = "csv"
    plugin_version = "1.1.0"
    options_model = CsvSourceOptions

    def __init__(self, options: CsvSourceOptions) -> None:
        super().__init__(options)
        self._file = TextFile(Path(options.path))
        self._max_record_lines = options.max_record_lines
        self._validator = RowValidator(options.schema_config)

    def check(self) -> None:
        """Raise PluginError if the file cannot be opened."""
        self._file.check()

    def read(self) -> Iterator[RowData | InvalidRow]:
        """Yield every row in order.

        Raises PluginError with the file, and the line if it is known.
        """
        csv.field_size_limit(_MAX_CHARACTERS)
        with self._file.opened(newline="") as file:
            yield from self._rows(_Lines(file, self._file.path, self._max_record_lines))

    def fraction_read(self) -> float | None:
        """Return the fraction of the file that has been read."""
        return self._file.fraction_read()

    def _rows(self, lines: _Lines) -> Iterator[RowData | InvalidRow]:
        reader = csv.reader(lines, strict=True)
        header = self._header(lines, reader)
        width = len(header)
        while True:
            lines.begin_record()
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                lines.refuse_open_quote()
                yield lines.invalid({"__raw__": lines.text()}, str(error))
                continue
            if not cells:
                continue
            row: RowData = dict(zip(header, cells, strict=False))
            if lines.flaw is not None:
                yield lines.invalid(row, lines.flaw)
            elif len(cells) != width:
                if len(cells) > width:
                    row["__extra__"] = cells[width:]
                yield lines.invalid(row, f"expected {width} fields, got {len(cells)}")
            else:
                try:
                    yield self._validator.validate(row)
                except SchemaViolationError as error:
                    yield lines.invalid(row, str(error))

    def _header(self, lines: _Lines, reader: Iterator[list[str]]) -> list[str]:
        try:
            header = next(reader, [])
        except csv.Error as error:
            lines.refuse_open_quote()
            raise PluginError(f"{self._file.path}, line 1: {error}") from error
        problems = [f"{lines.flaw}, as in UTF-16" if "NUL" in lines.flaw else lines.flaw] if lines.flaw else []
        if not header:
            problems.append("expected a header line with the names of the fields")
        if "" in header:
            problems.append(f"field {header.index('') + 1} has no name")
        problems += [f"the name {name!r} occurs twice" for name in sorted({n for n in header if header.count(n) > 1})]
        missing = self._validator.missing(header)
        problems += [f"the schema requires a field {name!r}{_padding_hint(name, header)}" for name in missing]
        problems += [f"the schema does not allow the field {name!r}" for name in self._validator.unexpected(header)]
        if missing:
            problems += _delimiter_hints(header)
        if problems:
            raise PluginError(f"{self._file.path}, header: {'; '.join(problems)}")
        return header


def _padding_hint(name: str, header: list[str]) -> str:
    """Return a hint if the header pads a name."""
    found = next((each for each in header if each.strip() == name), None)
    return "" if found is None else f", and {found!r} has spaces around it"


def _delimiter_hints(header: list[str]) -> Iterator[str]:
    """Yield a hint if the header looks like one cell."""
    if len(header) == 1:
        for delimiter in _OTHER_DELIMITERS:
            if delimiter in header[0]:
                yield f"the only field is {short_repr(header[0])}: is the delimiter {delimiter!r}? expected ','"


class _Lines:
    """The lines of a file, and flaws of the record."""

    def __init__(self, file: TextIO, path: Path, max_record_lines: int) -> None:
        self._file = file
        self._path = path
        self._max_record_lines = max_record_lines
        self._number = 0
        self._first = 1
        self._record: list[str] = []
        self._characters = 0
        self._is_at_end = False
        self.flaw: str | None = None

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if len(self._record) == self._max_record_lines:
            limit = f"is not closed within {self._max_record_lines:,} lines"
            # A run can be resumed with a corrected file, but not with other settings.
            advice = "close it; if the record is longer, raise max_record_lines and run the pipeline again"
            raise self._open_quote_error(f"{limit}: {advice}")
        line = self._file.readline(_MAX_CHARACTERS + 1)
        if not line:
            self._is_at_end = True
            raise StopIteration
        self._number += 1
        self._characters += len(line)
        if len(line) > _MAX_CHARACTERS:
            raise PluginError(f"{self._path}, line {self._number}: longer than {_MAX_CHARACTERS} characters")
        if self._characters > _MAX_CHARACTERS:
            raise self._open_quote_error(f"is not closed within {_MAX_CHARACTERS:,} characters")
        if not line.isascii():
            line = self._replace_undecodable(line)
        if "\0" in line:
            self.flaw = "NUL characters"
            line = line.replace("\0", "\\x00")
        self._record.append(line)
        return line

    def begin_record(self) -> None:
        """Forget the previous record."""
        self._record.clear()
        self._characters = 0
        self._first = self._number + 1
        self.flaw = None

    def text(self) -> str:
        """Return the lines of the record as one text."""
        return "".join(self._record)

    def invalid(self, row: RowData, problem: str) -> InvalidRow:
        """Return the record as an invalid row, with its line."""
        return InvalidRow(data=row, error=f"line {self._first}: {problem}")

    def refuse_open_quote(self) -> None:
        """Raise PluginError if an open quote reaches the file's end."""
        if self._is_at_end:
            raise self._open_quote_error("is never closed")

    def _open_quote_error(self, problem: str) -> PluginError:
        """Return the error of a quote that would swallow rows."""
        text, position = self.text(), 0
        while cell := _CELL.match(text, position):
            position = cell.end()
        line = self._first
        for each in self._record:
            position -= len(each)
            if position < 0:
                break
            line += 1
        return PluginError(f"{self._path}, line {line}: a quote opens here and {problem}")

    def _replace_undecodable(self, line: str) -> str:
        try:
            line.encode()
        except UnicodeEncodeError:
            self.flaw = "bytes that are not UTF-8"
            return line.encode(errors="surrogateescape").decode(errors="backslashreplace")
        return line


class CsvSink(FileSink):
    """Rows as a UTF-8 CSV file with a header line.

    The columns are the fields of the schema, then those of the first row. A later row may lack some of them (its cells
    are empty), but has no others. None is an empty cell, booleans are true and false, lists and mappings are JSON.
    Rows that failed differ in their fields. A file that takes such rows has a last column `__extra__`, with the fields
    that have no column as a JSON object.
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
        """Add a column for fields that have none."""
        self._takes_any_field = True

    def render(self, row: RowData) -> bytes:
        """Return the row as a record, after any header."""
        columns, before = self._columns, ""
        if columns is None:
            columns = self._columns_of(row)
            before = _record(columns)
        elif not self._known.issuperset(row):
            row = self._fit(row)
        content = (before + _record([_render_cell(row.get(name)) for name in columns])).encode()
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
        """Move fields without a column to the column for them.

        Raises RowRejectedError if the file has no such column.
        """
        unknown = {name: value for name, value in row.items() if name not in self._known}
        if not self._takes_any_field:
            problem = "fields that are not among the columns of the file, which are those of its first row"
            raise RowRejectedError(f"{problem}: {len(unknown):,}")
        kept = {name: value for name, value in row.items() if name in self._known}
        return {**kept, _EXTRA: unknown | ({_EXTRA: row[_EXTRA]} if _EXTRA in row else {})}

    def state(self) -> JsonObject:
        """Return the columns, once there are any."""
        return {"columns": self._columns}

    def restore(self, state: JsonObject) -> None:
        """Restore the columns of the first row."""
        self._columns = cast("list[str] | None", state["columns"])
        self._known = frozenset(self._columns or ())

    def ending(self) -> bytes:
        """Return the header if no row was written, else nothing."""
        return _record(self._declared).encode() if self._columns is None and self._declared else b""


def _record(cells: list[str]) -> str:
    """Return one record (RFC 4180, section 2).

    Python's own writer leaves a lone carriage return unquoted, so that readers take it for a line break.
    """
    if cells == [""]:
        return '""\n'  # an empty line is not a record
    if _SPECIAL.search("".join(cells)):
        cells = list(map(_quote, cells))
    return ",".join(cells) + "\n"


def _quote(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if _SPECIAL.search(cell) else cell


def _render_cell(value: object) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if type(value) is int or (type(value) is float and isfinite(value)):
        return repr(value)  # what JSON writes, too
    return encode_json(value)

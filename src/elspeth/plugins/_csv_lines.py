"""Reads the lines of a CSV file with their flaws."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from typing import TextIO

from elspeth.contracts.plugins import PluginError
from elspeth.contracts.rows import InvalidRow, RowData
from elspeth.plugins._csv_dialect import CsvSourceOptions
from elspeth.plugins._undecoded import escape_undecoded
from elspeth.plugins.input_files import InputFile

__all__ = ["MAX_CHARACTERS", "CsvLines"]

MAX_CHARACTERS = 16_777_216  # of one record: limits the memory it takes


_LINE_END = re.compile(r"\r\n|\r|\n")


class CsvLines:
    """The lines of a file, with the current record's flaw."""

    def __init__(self, text: TextIO, file: InputFile, options: CsvSourceOptions) -> None:
        self._text = text
        self.file = file
        self.options = options
        self._comment = options.comment
        self._number = 0
        self._record: list[str] = []
        self._characters = 0
        self._is_at_end = False
        self.first = 1
        self.flaw: str | None = None
        self._skip(options.skip_lines)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._read_line()
        if self._comment is not None:
            while not self._record and line.startswith(self._comment):
                self.begin_record()
                line = self._read_line()
        self._characters += len(line)
        if self._characters > MAX_CHARACTERS:
            raise self._unfinished_error(f"is not closed within {MAX_CHARACTERS:,} characters")
        if (escaped := escape_undecoded(line)) is not None:
            self.flaw = f"bytes that are not {self.file.encoding}"
            line = escaped
        if "\0" in line:
            self.flaw = "NUL characters"
            line = line.replace("\0", "\\x00")
        self._record.append(line)
        return line

    def records(self) -> Iterator[list[str]]:
        """Return Python's reader of the records in these lines."""
        csv.field_size_limit(max(csv.field_size_limit(), MAX_CHARACTERS))  # process-wide: other code may need more
        options = self.options
        return csv.reader(
            self,
            delimiter=options.delimiter,
            quotechar=options.quote,
            escapechar=options.escape,
            quoting=csv.QUOTE_MINIMAL if options.quote else csv.QUOTE_NONE,
            strict=True,
        )

    def begin_record(self) -> None:
        """Forget the previous record."""
        self._record.clear()
        self._characters = 0
        self.first = self._number + 1
        self.flaw = None

    def text(self) -> str:
        """Return the lines of the record as one text."""
        return "".join(self._record)

    def invalid(self, row: RowData, problem: str) -> InvalidRow:
        """Return the record as an invalid row, with its line."""
        return self.file.invalid(row, problem, self.first)

    def refuse_open_quote(self) -> None:
        """Raise PluginError if an open quote reaches the file's end."""
        if self._is_at_end:
            raise self._unfinished_error("is never closed")

    def _read_line(self) -> str:
        limit = self.options.max_record_lines
        if len(self._record) == limit:
            # A run can be resumed with a corrected file, but not with changed settings.
            advice = "close it; if the record is longer, raise max_record_lines and run the pipeline again"
            raise self._unfinished_error(f"is not closed within {limit:,} lines: {advice}")
        line = self._text.readline(MAX_CHARACTERS + 1)
        if not line:
            self._is_at_end = True
            raise StopIteration
        self._number += 1
        if len(line) > MAX_CHARACTERS:
            raise PluginError(f"{self.file.name}, line {self._number}: longer than {MAX_CHARACTERS} characters")
        return line

    def _skip(self, lines: int) -> None:
        """Skip the first lines.

        Raises PluginError if there are fewer.
        """
        for _ in range(lines):
            try:
                self._read_line()
            except StopIteration:
                found = f"expected {lines:,} lines to skip, got {self._number:,}"
                raise PluginError(f"{self.file.name}: {found}") from None
        self.begin_record()

    def _unfinished_error(self, problem: str) -> PluginError:
        """Return the error for a field without an end."""
        text, position, cell = self.text(), 0, self._cell()
        while position < len(text) and (found := cell.match(text, position)):
            position = found.end()
        line, quote = self.first + len(_LINE_END.findall(text, 0, position)), self.options.quote
        is_quoted = quote is not None and text.startswith(quote, position)
        what = "a quote opens here" if is_quoted else "a field with escaped line breaks begins here"
        return PluginError(f"{self.file.name}, line {line}: {what} and {problem}")

    def _cell(self) -> re.Pattern[str]:
        """Return the pattern of a cell and of its end."""
        options = self.options
        delimiter, quote = re.escape(options.delimiter), re.escape(options.quote or "")
        escape = re.escape(options.escape or "")
        escaped = rf"|{escape}." if escape else ""
        quoted = rf"{quote}(?:[^{quote}{escape}]|{quote}{quote}{escaped})*+{quote}|" if quote else ""
        plain = rf"(?:[^{quote}{delimiter}{escape}\r\n]{escaped})(?:[^{delimiter}{escape}\r\n]{escaped})*+|"
        return re.compile(rf"(?:{quoted}{plain})(?:{delimiter}|\r\n|\r|\n)", re.DOTALL)

"""Rows from a CSV file."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from elspeth.contracts.plugins import InvalidRow, PluginError, Row
from elspeth.plugins.base import FilePath, Source, SourceOptions
from elspeth.plugins.coercion import RowValidator, SchemaViolationError

__all__ = ["CsvSource", "CsvSourceOptions"]

MAX_CHARACTERS = 16_777_216  # of one line and of one field: what one row may cost in memory


class CsvSourceOptions(SourceOptions):
    """Options of the CSV source."""

    path: FilePath


class CsvSource(Source):
    """Rows of a UTF-8 CSV file with a header line.

    Blank lines are skipped. A row with too few or too many fields, wrong quoting, bytes that are not UTF-8, NUL
    characters, or values that do not fit the schema is an invalid row, and reading goes on after it. A header that does
    not fit the schema, or a line too long to hold in memory, is an error of the file.
    """

    name = "csv"
    plugin_version = "1.0.0"
    options_model = CsvSourceOptions

    def __init__(self, options: CsvSourceOptions) -> None:
        super().__init__(options)
        self._path = Path(options.path)
        self._validator = RowValidator(options.schema_config)
        self._file: TextIO | None = None
        self._size = 0

    def read(self) -> Iterator[Row | InvalidRow]:
        """Every row in order; PluginError names the file, and the line where there is one."""
        csv.field_size_limit(MAX_CHARACTERS)
        try:
            # A byte that is not UTF-8 becomes a lone surrogate, so that only its own record is invalid.
            with self._path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as self._file:
                self._size = os.fstat(self._file.fileno()).st_size
                yield from self._rows(_Lines(self._file, self._path))
        except OSError as error:
            raise PluginError(f"{self._path} cannot be read: {error.strerror}") from error

    def fraction_read(self) -> float | None:
        """How much of the file has been read."""
        if self._file is None:
            return None
        return 1.0 if self._file.closed else self._file.buffer.tell() / self._size

    def _rows(self, lines: _Lines) -> Iterator[Row | InvalidRow]:
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
                yield lines.invalid({"__raw__": lines.text()}, str(error))
                continue
            if not cells:
                continue
            row: Row = dict(zip(header, cells, strict=False))
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
            raise PluginError(f"{self._path}, line 1: {error}") from error
        problems = [lines.flaw] if lines.flaw else []
        if not header:
            problems.append("expected a header line with the names of the fields")
        if "" in header:
            problems.append(f"field {header.index('') + 1} has no name")
        problems += [f"the name {name!r} occurs twice" for name in sorted({n for n in header if header.count(n) > 1})]
        problems += [f"the schema requires a field {name!r}" for name in self._validator.missing(header)]
        problems += [f"the schema does not allow the field {name!r}" for name in self._validator.unexpected(header)]
        if problems:
            raise PluginError(f"{self._path}, header: {'; '.join(problems)}")
        return header


class _Lines:
    """The lines of a file, with what is wrong in those of the record that is being read."""

    def __init__(self, file: TextIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._number = 0
        self._first = 1
        self._record: list[str] = []
        self.flaw: str | None = None

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._file.readline(MAX_CHARACTERS + 1)
        if not line:
            raise StopIteration
        self._number += 1
        if len(line) > MAX_CHARACTERS:
            raise PluginError(f"{self._path}, line {self._number}: longer than {MAX_CHARACTERS} characters")
        if not line.isascii():
            line = self._replace_undecodable(line)
        if "\0" in line:
            self.flaw = "NUL characters"
            line = line.replace("\0", "\\x00")
        self._record.append(line)
        return line

    def begin_record(self) -> None:
        """Forget the record before."""
        self._record.clear()
        self._first = self._number + 1
        self.flaw = None

    def text(self) -> str:
        """The lines of the record."""
        return "".join(self._record)

    def invalid(self, row: Row, problem: str) -> InvalidRow:
        """The record as an invalid row, with the line it begins in."""
        return InvalidRow(data=row, error=f"line {self._first}: {problem}")

    def _replace_undecodable(self, line: str) -> str:
        try:
            line.encode()
        except UnicodeEncodeError:
            self.flaw = "bytes that are not UTF-8"
            return line.encode(errors="surrogateescape").decode(errors="backslashreplace")
        return line

"""Rows from JSON files: one array, or an object on each line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from elspeth.contracts.plugins import InvalidRow, PluginError, Row
from elspeth.plugins.base import FilePath, Source, SourceOptions
from elspeth.plugins.coercion import RowValidator, SchemaViolationError
from elspeth.plugins.sources.json_text import MAX_CHARACTERS, ArrayReader, JsonTextError, as_row, decode

__all__ = ["JsonSource", "JsonSourceOptions", "JsonlSource"]


class JsonSourceOptions(SourceOptions):
    """Options of the JSON sources."""

    path: FilePath


class _JsonFileSource(Source):
    """What both sources have in common: a UTF-8 file, and rows against a schema."""

    options_model = JsonSourceOptions

    def __init__(self, options: JsonSourceOptions) -> None:
        super().__init__(options)
        self._path = Path(options.path)
        self._validator = RowValidator(options.schema_config)
        self._file: TextIO | None = None
        self._size = 0

    def read(self) -> Iterator[Row | InvalidRow]:
        """Every row in order; PluginError names the file, and the place in it where there is one."""
        try:
            # A byte that is not UTF-8 becomes a lone surrogate, so that only its own row is invalid.
            with self._path.open(encoding="utf-8-sig", errors="surrogateescape", newline="\n") as self._file:
                self._size = os.fstat(self._file.fileno()).st_size
                yield from self._rows(self._file)
        except OSError as error:
            raise PluginError(f"{self._path} cannot be read: {error.strerror}") from error

    def fraction_read(self) -> float | None:
        """How much of the file has been read."""
        if self._file is None:
            return None
        return 1.0 if self._file.closed else self._file.buffer.tell() / self._size

    def _rows(self, file: TextIO) -> Iterator[Row | InvalidRow]:
        raise NotImplementedError

    def _row(self, value: object, place: str) -> Row | InvalidRow:
        """The value as a row of the schema, or as an invalid one."""
        try:
            row = as_row(value)
        except JsonTextError as error:
            return InvalidRow(data={"__raw__": value}, error=f"{place}: {error}")
        try:
            return self._validator.validate(row)
        except SchemaViolationError as error:
            return InvalidRow(data=row, error=f"{place}: {error}")


class JsonSource(_JsonFileSource):
    """Rows of a UTF-8 JSON file that is an array of objects, or has an object on each line.

    An element that is no object, or does not fit the schema, is an invalid row. In an array, text that is not JSON is an
    error of the file, for nothing behind it can be read; in lines, it is an invalid row.
    """

    name = "json"
    plugin_version = "1.0.0"

    def _rows(self, file: TextIO) -> Iterator[Row | InvalidRow]:
        first = _first_character(file)
        if first != "[":
            yield from _of_lines(self, file)
            return
        try:
            for number, value in enumerate(ArrayReader(file)):
                yield self._row(value, f"element {number}")
        except JsonTextError as error:
            raise PluginError(f"{self._path}: {error}") from error


class JsonlSource(_JsonFileSource):
    """Rows of a UTF-8 file with a JSON object on each line.

    Blank lines are skipped. A line that is not JSON, not an object, not UTF-8, longer than 16 million characters, or
    that does not fit the schema is an invalid row, and reading goes on after it.
    """

    name = "jsonl"
    plugin_version = "1.0.0"

    def _rows(self, file: TextIO) -> Iterator[Row | InvalidRow]:
        yield from _of_lines(self, file)

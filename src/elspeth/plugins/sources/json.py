"""Rows from JSON files: one array, or an object on each line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from elspeth.contracts.display import shown
from elspeth.contracts.plugins import InvalidRow, PluginError, Row
from elspeth.plugins.base import FilePath, Source, SourceOptions
from elspeth.plugins.coercion import RowValidator, SchemaViolationError
from elspeth.plugins.sources.json_text import MAX_CHARACTERS, ArrayReader, JsonTextError, decode

__all__ = ["JsonSource", "JsonSourceOptions", "JsonlSource"]

_SHOWN_CHARACTERS = 1_000  # of a line too long to keep


class JsonSourceOptions(SourceOptions):
    """Options of the JSON sources."""

    path: FilePath


class JsonlSource(Source):
    """Rows of a UTF-8 file with a JSON object on each line.

    Blank lines are skipped. A line that is not JSON, not an object, not UTF-8, longer than 16 million characters, or
    that does not fit the schema is an invalid row, and reading goes on after it.
    """

    name = "jsonl"
    plugin_version = "1.0.0"
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
        number = 0
        while line := file.readline(MAX_CHARACTERS + 1):
            number += 1
            if len(line) > MAX_CHARACTERS and not line.endswith("\n"):
                _skip_line(file)
                yield InvalidRow(
                    data={"__raw__": line[:_SHOWN_CHARACTERS]},
                    error=f"line {number}: longer than {MAX_CHARACTERS} characters, of which the first are kept",
                )
            elif not line.isspace():
                yield self._of_line(line, f"line {number}")

    def _of_line(self, line: str, place: str) -> Row | InvalidRow:
        text = line.encode(errors="surrogateescape").decode(errors="backslashreplace")
        if text != line:
            return InvalidRow(data={"__raw__": text.rstrip("\r\n")}, error=f"{place}: bytes that are not UTF-8")
        try:
            return self._row(decode(line.rstrip("\r\n")), place)
        except JsonTextError as error:
            return InvalidRow(data={"__raw__": line.rstrip("\r\n")}, error=f"{place}: {error}")

    def _row(self, value: object, place: str) -> Row | InvalidRow:
        """The value as a row of the schema, or as an invalid one."""
        if not isinstance(value, dict):
            return InvalidRow(data={"__raw__": value}, error=f"{place}: expected an object, got {shown(value)}")
        try:
            return self._validator.validate(value)
        except SchemaViolationError as error:
            return InvalidRow(data=value, error=f"{place}: {error}")


class JsonSource(JsonlSource):
    """Rows of a UTF-8 JSON file that is an array of objects, or has an object on each line.

    An element that is no object, or does not fit the schema, is an invalid row. Text in an array that is not JSON is an
    error of the file, for nothing behind it can be read.
    """

    name = "json"
    plugin_version = "1.0.0"

    def _rows(self, file: TextIO) -> Iterator[Row | InvalidRow]:
        if _first_character(file) != "[":
            yield from super()._rows(file)
            return
        try:
            for number, value in enumerate(ArrayReader(file)):
                yield self._row(value, f"element {number}")
        except JsonTextError as error:
            raise PluginError(f"{self._path}: {error}") from error


def _first_character(file: TextIO) -> str:
    """The first character that is no space; the file is at its beginning again."""
    character = " "
    while character.isspace():
        character = file.read(1)
    file.seek(0)
    return character


def _skip_line(file: TextIO) -> None:
    while (rest := file.readline(MAX_CHARACTERS)) and not rest.endswith("\n"):
        pass

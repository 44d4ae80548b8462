"""JSON and JSON Lines files as sources and sinks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from elspeth.contracts.errors import describe_kind
from elspeth.contracts.plugins import FilePath, JsonObject, PluginError, Source, SourceOptions
from elspeth.contracts.rows import InvalidRow, RowData, RowValidator, SchemaViolationError
from elspeth.plugins.files import FileSink, FileSinkOptions, TextFile
from elspeth.plugins.json_text import (
    MAX_CHARACTERS,
    ArrayReader,
    JsonTextError,
    Unreadable,
    decode_json,
    encode_json,
    spans_lines,
)

__all__ = ["JsonSink", "JsonSource", "JsonSourceOptions", "JsonlSink", "JsonlSource"]

_KEPT_CHARACTERS = 1_000  # kept of a line that is too long
_FIRST_LINES = 16  # searched for values over several lines
_LINES_OF_A_VALUE = 3  # enough to recognise a value over several lines
_FIRST_CHARACTERS = 65_536  # read of each of them


class JsonSourceOptions(SourceOptions):
    """Options of the JSON sources."""

    path: FilePath


class JsonlSource(Source):
    """Rows of a UTF-8 file with an object per line.

    Blank lines are skipped. A line that is not JSON, not an object, not UTF-8, longer than 16 million characters, or
    that does not fit the schema is an invalid row, and reading goes on after it. A file that is one value over several
    lines is an error of the file.
    """

    name = "jsonl"
    plugin_version = "1.1.0"
    options_model = JsonSourceOptions

    def __init__(self, options: JsonSourceOptions) -> None:
        super().__init__(options)
        self._file = TextFile(Path(options.path))
        self._validator = RowValidator(options.schema_config)

    def check(self) -> None:
        """Raise PluginError if the file cannot be opened."""
        self._file.check()

    def read(self) -> Iterator[RowData | InvalidRow]:
        """Yield every row in order.

        Raises PluginError with the file, and the place in it if it is known.
        """
        with self._file.opened(newline="\n") as file:
            yield from self._rows(file)

    def fraction_read(self) -> float | None:
        """Return the fraction of the file that has been read."""
        return self._file.fraction_read()

    def _rows(self, file: TextIO) -> Iterator[RowData | InvalidRow]:
        self._refuse_values_over_lines(file)
        number = 0
        while line := file.readline(MAX_CHARACTERS + 1):
            number += 1
            if len(line) > MAX_CHARACTERS and not line.endswith("\n"):
                _skip_line(file)
                yield InvalidRow(
                    data={"__raw__": line[:_KEPT_CHARACTERS]},
                    error=f"line {number}: longer than {MAX_CHARACTERS} characters, of which the first are kept",
                )
            elif not line.isspace():
                yield self._read_line(line, f"line {number}")

    def _refuse_values_over_lines(self, file: TextIO) -> None:
        """Raise PluginError for a value over several lines.

        A nested line of it might pass for a row. Afterwards the file is at its beginning again.
        """
        lines: dict[int, str] = {}
        number = 0
        while len(lines) < _FIRST_LINES and (line := file.readline(_FIRST_CHARACTERS)):
            number += 1
            if len(line) == _FIRST_CHARACTERS:
                break
            if not line.isspace():
                lines[number] = line
        file.seek(0)
        texts = list(lines.values())
        for index, number in enumerate(lines):
            if spans_lines(texts[index : index + _LINES_OF_A_VALUE]):
                is_array = texts[index].lstrip().startswith("[")
                found = f"{'array' if is_array else 'object'} over several lines"
                where = f", line {number}: an {found} begins here" if index else f": the file is one {found}"
                raise PluginError(f"{self._file.path}{where}: expected {self._expected(is_array=is_array)}")

    def _expected(self, *, is_array: bool) -> str:
        return "an object on each line" + ("; the plugin json reads arrays" if is_array else "")

    def _read_line(self, line: str, place: str) -> RowData | InvalidRow:
        text = line.encode(errors="surrogateescape").decode(errors="backslashreplace")
        if text != line:
            return InvalidRow(data={"__raw__": text.rstrip("\r\n")}, error=f"{place}: bytes that are not UTF-8")
        try:
            return self._make_row(decode_json(line.rstrip("\r\n")), place)
        except JsonTextError as error:
            return InvalidRow(data={"__raw__": line.rstrip("\r\n")}, error=f"{place}: {error}")

    def _make_row(self, value: object, place: str) -> RowData | InvalidRow:
        """Return the value as a valid or an invalid row."""
        if isinstance(value, Unreadable):
            return InvalidRow(data={"__raw__": value.text}, error=f"{place}: {value.problem}")
        if not isinstance(value, dict):
            return InvalidRow(data={"__raw__": value}, error=f"{place}: expected an object, got {describe_kind(value)}")
        try:
            return self._validator.validate(value)
        except SchemaViolationError as error:
            return InvalidRow(data=value, error=f"{place}: {error}")


class JsonSource(JsonlSource):
    """Rows of a UTF-8 JSON array, or of JSON lines.

    An element that is not an object, that holds what rows cannot hold, or that does not fit the schema is an invalid
    row. Text in an array that is not JSON is an error of the file: nothing after it can be read.
    """

    name = "json"
    plugin_version = "1.1.0"

    def _rows(self, file: TextIO) -> Iterator[RowData | InvalidRow]:
        if _first_character(file) != "[":
            yield from super()._rows(file)
            return
        number = 0
        try:
            for number, each in enumerate(ArrayReader(file), start=1):
                yield self._make_row(each.value, f"element {number - 1}, line {each.line}")
        except JsonTextError as error:
            raise PluginError(f"{self._file.path}, element {number}: {error}") from error

    def _expected(self, *, is_array: bool) -> str:  # noqa: ARG002  an array is read
        return "an array of objects, or an object on each line"


def _first_character(file: TextIO) -> str:
    """Return the first character that is not white space.

    Afterwards the file is at its beginning again.
    """
    character = " "
    while character.isspace():
        character = file.read(1)
    file.seek(0)
    return character


def _skip_line(file: TextIO) -> None:
    while (rest := file.readline(MAX_CHARACTERS)) and not rest.endswith("\n"):
        pass


class JsonSink(FileSink):
    """Rows as a UTF-8 JSON array, an object per line."""

    name = "json"
    plugin_version = "1.0.0"

    def __init__(self, options: FileSinkOptions) -> None:
        super().__init__(options)
        self._is_empty = True

    def render(self, row: RowData) -> bytes:
        """Return the row as an element of the array."""
        content = encode_json(row).encode()
        before = b"[\n" if self._is_empty else b",\n"
        self._is_empty = False
        return before + content

    def state(self) -> JsonObject:
        """Return whether the array is still empty."""
        return {"is_empty": self._is_empty}

    def restore(self, state: JsonObject) -> None:
        """Restore whether the array is still empty."""
        self._is_empty = bool(state["is_empty"])

    def ending(self) -> bytes:
        """Return the end of the array."""
        return b"[]\n" if self._is_empty else b"\n]\n"


class JsonlSink(FileSink):
    """Rows as JSON objects in UTF-8, one per line."""

    name = "jsonl"
    plugin_version = "1.0.0"

    def render(self, row: RowData) -> bytes:
        """Return the row as one line."""
        return encode_json(row).encode() + b"\n"

    def ending(self) -> bytes:
        """Return nothing."""
        return b""

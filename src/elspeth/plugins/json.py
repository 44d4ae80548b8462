"""JSON and JSON Lines files as sources and sinks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, Self, TextIO

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from elspeth.contracts.errors import describe_kind, short_repr
from elspeth.contracts.plugins import JsonObject, PluginError
from elspeth.contracts.rows import InvalidRow, RowData
from elspeth.plugins._look_ahead import LookAhead
from elspeth.plugins._undecoded import escape_undecoded
from elspeth.plugins.files import FileSink, FileSinkOptions
from elspeth.plugins.input_files import InputFile, TextSource, TextSourceOptions
from elspeth.plugins.json_text import (
    MAX_CHARACTERS,
    ArrayReader,
    JsonTextError,
    Unreadable,
    decode_json,
    encode_json,
    spans_lines,
)

__all__ = ["JsonSink", "JsonSinkOptions", "JsonSource", "JsonSourceOptions", "JsonlSink", "JsonlSource"]

_KEPT_CHARACTERS = 1_000  # kept of a line that is too long
_FIRST_LINES = 16  # searched for values over several lines
_LINES_OF_A_VALUE = 3  # enough to recognise a value over several lines
_FIRST_CHARACTERS = 65_536  # read of each of them


def _read_record_path(value: object) -> tuple[object, ...]:
    names = value.split(".") if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not names or (isinstance(value, str) and "" in names):
        raise ValueError(f"expected names joined by points, as data.items, got {short_repr(value)}")
    return tuple(names)


RecordPath = Annotated[
    tuple[str, ...],
    BeforeValidator(_read_record_path),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}),
]
"""The names that lead to a list inside an object."""


class JsonlSource(TextSource):
    """Rows of files with a JSON object per line.

    Blank lines are skipped. A line that is not JSON, not an object, not of the encoding, longer than 16 million
    characters, or that does not fit the schema is an invalid row, and reading goes on after it. A file that is one
    value over several lines is an error of the file.
    """

    name = "jsonl"
    plugin_version = "1.1.0"
    newline = "\n"

    def rows(self, text: TextIO, file: InputFile) -> Iterator[RowData | InvalidRow]:
        """Yield the rows of the lines."""
        yield from self._rows_of_lines(LookAhead(text), file)

    def _rows_of_lines(self, text: LookAhead, file: InputFile) -> Iterator[RowData | InvalidRow]:
        self._refuse_values_over_lines(text, file)
        number = 0
        while line := text.readline(MAX_CHARACTERS + 1):
            number += 1
            if len(line) > MAX_CHARACTERS and not line.endswith("\n"):
                text.skip_line()
                problem = f"longer than {MAX_CHARACTERS} characters, of which the first are kept"
                yield file.invalid({"__raw__": line[:_KEPT_CHARACTERS]}, problem, number)
            elif not line.isspace():
                yield self._read_line(line, file, number)

    def _refuse_values_over_lines(self, text: LookAhead, file: InputFile) -> None:
        """Raise PluginError for a value over several lines.

        One of its lines might otherwise be read as a row.
        """
        lines = text.first_lines(_FIRST_LINES, _FIRST_CHARACTERS)
        texts = list(lines.values())
        for index, number in enumerate(lines):
            if spans_lines(texts[index : index + _LINES_OF_A_VALUE]):
                is_array = texts[index].lstrip().startswith("[")
                found = f"{'array' if is_array else 'object'} over several lines"
                where = f", line {number}: an {found} begins here" if index else f": the file is one {found}"
                raise PluginError(f"{file.name}{where}: expected {self._expected(is_array=is_array)}")

    def _expected(self, *, is_array: bool) -> str:
        return "an object on each line" + ("; the plugin json reads arrays" if is_array else "")

    def _read_line(self, line: str, file: InputFile, number: int) -> RowData | InvalidRow:
        line = line.rstrip("\r\n")
        if (escaped := escape_undecoded(line)) is not None:
            return file.invalid({"__raw__": escaped}, f"bytes that are not {file.encoding}", number)
        try:
            return self._make_row(decode_json(line), file, number)
        except JsonTextError as error:
            return file.invalid({"__raw__": line}, str(error), number)

    def _make_row(self, value: object, file: InputFile, line: int, element: int | None = None) -> RowData | InvalidRow:
        """Return the value as a valid or an invalid row."""
        if isinstance(value, Unreadable):
            return file.invalid({"__raw__": value.text}, value.problem, line, element)
        if not isinstance(value, dict):
            return file.invalid({"__raw__": value}, f"expected an object, got {describe_kind(value)}", line, element)
        return self.accept(value, file, line, element)


class JsonSourceOptions(TextSourceOptions):
    """Options of the JSON source."""

    format: Literal["json", "jsonl"] | None = Field(
        default=None,
        description="`json`: a list, or an object that contains one; `jsonl`: an object on each line. By default, the "
        "beginning of the file decides.",
    )
    record_path: RecordPath | None = Field(
        default=None,
        description="The list of rows in an object: its name, or the names that lead to it, as `data.items`. A list of "
        "names where a name contains a point.",
    )

    @model_validator(mode="after")
    def _record_path_is_in_an_object(self) -> Self:
        if self.format == "jsonl" and self.record_path is not None:
            raise ValueError("record_path: expected only with format: json, in which a file is one object")
        return self


class JsonSource(JsonlSource):
    """Rows of JSON arrays, or of JSON lines.

    An array may be the whole file or, with `record_path`, be inside an object. An element that is not an object, that
    holds what rows cannot hold, or that does not fit the schema is an invalid row. Text in an array that is not JSON is
    an error of the file: nothing after it can be read.
    """

    name = "json"
    plugin_version = "1.1.0"
    options_model = JsonSourceOptions
    options: JsonSourceOptions

    def rows(self, text: TextIO, file: InputFile) -> Iterator[RowData | InvalidRow]:
        """Yield the rows of the array, or of the lines."""
        ahead, path = LookAhead(text), self.options.record_path or ()
        is_lines = self.options.format == "jsonl" or (self.options.format is None and not path and ahead.first() != "[")
        if is_lines:
            yield from self._rows_of_lines(ahead, file)
            return
        number, elements = 0, ArrayReader(ahead, path)
        try:
            for number, each in enumerate(elements, start=1):
                yield self._make_row(each.value, file, each.line, number - 1)
        except JsonTextError as error:
            place = f", element {number}" if elements.is_in_array else ""
            raise PluginError(f"{file.name}{place}: {error}") from error

    def _expected(self, *, is_array: bool) -> str:
        if is_array or self.options.format == "jsonl":
            return "an object on each line"
        return "an array of objects, or an object on each line; record_path names a list inside one object"


class JsonSinkOptions(FileSinkOptions):
    """Options of the JSON sink."""

    format: Literal["json", "jsonl"] = Field(
        default="json", description="`json`: one array; `jsonl`: an object on each line, as of the plugin `jsonl`."
    )


class JsonSink(FileSink):
    """Rows as a UTF-8 JSON array, an object per line.

    With `format: jsonl` the lines alone.
    """

    name = "json"
    plugin_version = "1.0.0"
    options_model = JsonSinkOptions

    def __init__(self, options: JsonSinkOptions) -> None:
        super().__init__(options)
        self._is_lines = options.format == "jsonl"
        self._is_empty = True

    def render(self, row: RowData) -> bytes:
        """Return the row as an element of the array."""
        content = encode_json(row).encode()
        if self._is_lines:
            return content + b"\n"
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
        if self._is_lines:
            return b""
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

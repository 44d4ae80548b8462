"""Reads and writes JSON text strictly.

Texts that are not standard JSON, or that readers of JSON interpret in different ways, are refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TextIO

from elspeth.contracts.errors import RecordableError
from elspeth.contracts.plugins import RowRejectedError
from elspeth.contracts.values import TypedValue, canonical_text
from elspeth.plugins._look_ahead import LookAhead
from elspeth.plugins._undecoded import escape_undecoded

__all__ = [
    "MAX_CHARACTERS",
    "ArrayReader",
    "Element",
    "JsonTextError",
    "Unreadable",
    "decode_json",
    "encode_json",
    "spans_lines",
]

MAX_CHARACTERS = 16_777_216  # of one row: limits the memory it takes
_CHUNK = 65_536
_LONGEST_TAIL = len("e+")  # how much of a cut-off number the decoder may ignore: it reads `1e+` as 1
_SPACE = " \t\n\r"
_NOT_ZERO = re.compile("[^eE]*[1-9]")


class JsonTextError(RecordableError, ValueError):
    """A text is not the JSON that was expected.

    The message does not quote the text.
    """


def _make_object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise JsonTextError("a name occurs twice in one object")
    return found


def _refuse_constant(text: str) -> object:
    raise JsonTextError(f"{text} is not a JSON number")


def _make_number(text: str) -> float:
    number = float(text)
    if number in {float("inf"), float("-inf")}:
        raise JsonTextError("a number is too large for a float")
    if number == 0 and _NOT_ZERO.match(text):
        raise JsonTextError("a number is too small for a float, and is not zero")
    return number


def _skip(_: object) -> None:
    """Replace a skipped value by None."""


_DECODER = json.JSONDecoder(object_pairs_hook=_make_object, parse_constant=_refuse_constant, parse_float=_make_number)
_SKIPPER = json.JSONDecoder(object_pairs_hook=_skip, parse_constant=_skip, parse_float=_skip, parse_int=_skip)


def decode_json(text: str) -> object:
    """Return the value of a JSON text.

    Raises JsonTextError for any other text, and for JSON that readers interpret differently.
    """
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise JsonTextError(f"not JSON: {error.msg} at character {error.pos + 1}") from error
    except RecursionError as error:
        raise JsonTextError("not JSON that can be read: nested too deeply") from error
    except ValueError as error:
        raise _decoding_error(error) from error


def encode_json(value: object) -> str:
    """Return a value as JSON, keys in their order.

    Decimals, dates, times and durations become their canonical text. Raises RowRejectedError if JSON cannot represent
    the value.
    """
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=_text_of)
    except TypeError as error:
        raise RowRejectedError(str(error)) from error  # the message names a type only
    except ValueError as error:
        raise RowRejectedError("a number is not finite, which JSON does not have") from error


def _text_of(value: object) -> str:
    if isinstance(value, TypedValue):
        return canonical_text(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _decoding_error(error: ValueError) -> JsonTextError:
    """Return the error for a value that the decoder refused.

    Any error other than a JsonTextError means that Python does not read so many digits.
    """
    return error if isinstance(error, JsonTextError) else JsonTextError("an integer has too many digits to be read")


def spans_lines(lines: Sequence[str]) -> bool:
    """Return whether the first value continues on the next line.

    `lines` are the first lines of a JSON text that are not blank. If the next line begins with an object, the first
    line is a truncated row, not the beginning of a value.
    """
    first, text = lines[0].rstrip("\r\n"), "".join(lines)
    try:
        _, end = _SKIPPER.raw_decode(text, len(text) - len(text.lstrip(_SPACE)))
    except json.JSONDecodeError as error:
        # The line ends inside a string, so the row is truncated.
        return (
            len(lines) > 1 and error.pos >= len(first) and text[error.pos : error.pos + 1] not in ("{", "[", "\r", "\n")
        )
    except RecursionError:
        return False
    return end > len(lines[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """An element of an array that no row can hold.

    It is valid JSON. `text` is the element, and `problem` says why it cannot be a row.
    """

    text: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Element:
    """An element of an array, with its first line."""

    line: int
    value: object | Unreadable


class ArrayReader:
    """Reads the elements of one JSON array in a file.

    The array is the whole file, or the value at the `path` of names in an object. Memory holds one element, or one
    other value of the object, not the whole file. `is_in_array` says whether elements are being read. JsonTextError
    names the line and column after which nothing can be read.
    """

    def __init__(self, file: LookAhead | TextIO, path: Sequence[str] = ()) -> None:
        self._file = file
        self._path = path
        self._shown_path = ".".join(path)
        self._has_undecoded = False
        self.is_in_array = False
        self._text = ""
        self._position = 0
        self._line = 1  # the line of position `_counted`
        self._counted = 0
        self._before_text = 0  # characters of that line before `_text`

    def __iter__(self) -> Iterator[Element]:
        yield from self._value_at(0)
        if self._peek():
            raise self._error(f"expected nothing after the {'object' if self._path else 'array'}")

    def _value_at(self, depth: int) -> Iterator[Element]:
        """Yield the elements at the remaining path."""
        if depth == len(self._path):
            yield from self._array()
            return
        name, is_found = self._path[depth], False
        at = f" at {'.'.join(self._path[:depth])}" if depth else ""
        self._expect("{", f"expected an object{at} for record_path {self._shown_path}")
        for found in self._names():
            if found != name:
                self._element()
            elif is_found:
                raise self._error(f"the name {name!r} of record_path {self._shown_path} occurs twice")
            else:
                is_found = True
                yield from self._value_at(depth + 1)
        if not is_found:
            raise self._error(f"the object{at} has no {name!r} for record_path {self._shown_path}: it ends")

    def _array(self) -> Iterator[Element]:
        where = f" at record_path {self._shown_path}" if self._path else ""
        self._expect("[", f"expected an array{where}")
        self.is_in_array = True
        if self._peek() == "]":
            self._position += 1
            self.is_in_array = False
            return
        while True:
            yield self._element()
            if self._expect(",]", "expected ',' or ']' after an element") == "]":
                break
        self.is_in_array = False

    def _names(self) -> Iterator[str]:
        """Yield the names in an object.

        Each value must be read before the next name.
        """
        if self._peek() == "}":
            self._position += 1
            return
        while True:
            if self._peek() != '"':
                raise self._error("expected a name in double quotes")
            yield self._name()
            if self._expect(",}", "expected ',' or '}' after a value") == "}":
                return

    def _name(self) -> str:
        name = str(self._element().value)
        self._expect(":", "expected ':' after a name")
        return name

    def _expect(self, characters: str, problem: str) -> str:
        found = self._peek()
        if not found or found not in characters:
            raise self._error(problem)
        self._position += 1
        return found

    def _peek(self) -> str:
        """Return the next character that is not white space.

        Returns an empty text at the end of the file.
        """
        while True:
            while self._position < len(self._text):
                if self._text[self._position] not in _SPACE:
                    return self._text[self._position]
                self._position += 1
            if not self._read_more():
                return ""

    def _element(self) -> Element:
        if not self._peek():
            raise self._error("expected an element")
        while True:
            try:
                value, end = self._decode_element()
            except json.JSONDecodeError as error:
                # The element may be cut off at the end of the chunk.
                if len(self._text) - self._position > MAX_CHARACTERS:
                    raise self._error(f"an element is longer than {MAX_CHARACTERS} characters") from error
                if not self._read_more():
                    raise self._error(f"not JSON: {error.msg}", error.pos) from error
                continue
            except RecursionError as error:
                raise self._error("nested too deeply") from error
            if len(self._text) - end <= _LONGEST_TAIL and self._read_more():
                continue  # the number may continue in the next chunk
            if self._has_undecoded and (escaped := escape_undecoded(self._text[self._position : end])) is not None:
                value = Unreadable(text=escaped, problem="bytes that do not fit the encoding")
            line = self._locate(self._position)[0]
            self._position = end
            return Element(line=line, value=value)

    def _decode_element(self) -> tuple[object | Unreadable, int]:
        """Return the value at the position, and its end.

        Raises JSONDecodeError if the text does not hold all of it.
        """
        try:
            return _DECODER.raw_decode(self._text, self._position)
        except json.JSONDecodeError:
            raise
        except ValueError as error:
            _, end = _SKIPPER.raw_decode(self._text, self._position)
            return Unreadable(text=self._text[self._position : end], problem=str(_decoding_error(error))), end

    def _read_more(self) -> bool:
        """Read more text, returning False at the file's end.

        The size of the text doubles each time that an element needs more.
        """
        rest = self._text[self._position :]
        chunk = self._file.read(max(_CHUNK, len(rest)))
        if not chunk:
            return False
        self._has_undecoded = self._has_undecoded or escape_undecoded(chunk) is not None
        _, column = self._locate(self._position)
        self._text, self._position = rest + chunk, 0
        self._counted, self._before_text = 0, column - 1
        return True

    def _locate(self, position: int) -> tuple[int, int]:
        """Return line and column of a position, from 1.

        Positions must not decrease from call to call.
        """
        self._line += self._text.count("\n", self._counted, position)
        self._counted = position
        begins = self._text.rfind("\n", 0, position) + 1
        return self._line, position - begins + 1 + (0 if begins else self._before_text)

    def _error(self, problem: str, position: int | None = None) -> JsonTextError:
        line, column = self._locate(self._position if position is None else position)
        return JsonTextError(f"{problem} at line {line}, column {column}")

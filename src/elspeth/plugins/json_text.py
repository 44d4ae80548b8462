"""JSON text to rows, read as strictly as rows are recorded."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TextIO

from elspeth.contracts.errors import RecordableError
from elspeth.contracts.plugins import RowRejectedError

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

MAX_CHARACTERS = 16_777_216  # of one row: what it may cost in memory
_CHUNK = 65_536
_SPACE = " \t\n\r"
_NOT_ZERO = re.compile("[^eE]*[1-9]")


class JsonTextError(RecordableError, ValueError):
    """The text is not the JSON that was expected. The message repeats nothing of it."""


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise JsonTextError("a name occurs twice in one object")
    return found


def _constant(text: str) -> object:
    raise JsonTextError(f"{text} is not a JSON number")


def _number(text: str) -> float:
    number = float(text)
    if number in {float("inf"), float("-inf")}:
        raise JsonTextError("a number is too large for a float")
    if number == 0 and _NOT_ZERO.match(text):
        raise JsonTextError("a number is too small for a float, and is not zero")
    return number


def _nothing(_: object) -> None:
    """What stands for a value that is only passed over."""


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_float=_number)
_PASSING_OVER = json.JSONDecoder(
    object_pairs_hook=_nothing, parse_constant=_nothing, parse_float=_nothing, parse_int=_nothing
)


def decode_json(text: str) -> object:
    """The value of a JSON text; JsonTextError where it is none, also for what JSON's readers disagree about."""
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise JsonTextError(f"not JSON: {error.msg} at character {error.pos + 1}") from error
    except RecursionError as error:
        raise JsonTextError("not JSON that can be read: nested too deeply") from error
    except ValueError as error:
        raise _refusal(error) from error


def encode_json(value: object) -> str:
    """JSON of a value in the order it has; RowRejectedError when it has none."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except TypeError as error:
        raise RowRejectedError(str(error)) from error  # which names a type
    except ValueError as error:
        raise RowRejectedError("a number is not finite, which JSON does not have") from error


def _refusal(error: ValueError) -> JsonTextError:
    """Why the decoder refused a value: in our own words, or because Python does not read that many digits."""
    return error if isinstance(error, JsonTextError) else JsonTextError("an integer has too many digits to be read")


def spans_lines(lines: Sequence[str]) -> bool:
    """Return whether the first value of a JSON text goes on behind its first line.

    `lines` are the first lines that are not blank. An object that begins on a line of its own tells that the first
    line is a row cut short, and not the beginning of a value.
    """
    first, text = lines[0].rstrip("\r\n"), "".join(lines)
    try:
        _, end = _PASSING_OVER.raw_decode(text, len(text) - len(text.lstrip(_SPACE)))
    except json.JSONDecodeError as error:
        # At a line's end stands what a string must not hold: it is cut short, too.
        return (
            len(lines) > 1 and error.pos >= len(first) and text[error.pos : error.pos + 1] not in ("{", "[", "\r", "\n")
        )
    except RecursionError:
        return False
    return end > len(lines[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """An element of an array that is JSON, but not what rows can hold: its text, and what is wrong."""

    text: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Element:
    """An element of an array, and the line of the file in which it begins."""

    line: int
    value: object | Unreadable


class ArrayReader:
    """The elements of one JSON array in a file, one at a time. Memory holds one element, not the file.

    JsonTextError names the line and column behind which nothing can be read.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._text = ""
        self._position = 0
        self._line = 1  # that of `_counted`, and what of it comes before `_text`
        self._counted = 0
        self._before_text = 0

    def __iter__(self) -> Iterator[Element]:
        self._expect("[", "expected an array")
        if self._peek() == "]":
            self._position += 1
        else:
            while True:
                yield self._element()
                if self._expect(",]", "expected ',' or ']' behind an element") == "]":
                    break
        if self._peek():
            raise self._error("expected nothing behind the array")

    def _expect(self, characters: str, problem: str) -> str:
        found = self._peek()
        if not found or found not in characters:
            raise self._error(problem)
        self._position += 1
        return found

    def _peek(self) -> str:
        """The next character that is no space, or nothing at the end."""
        while True:
            while self._position < len(self._text):
                if self._text[self._position] not in _SPACE:
                    return self._text[self._position]
                self._position += 1
            if not self._read():
                return ""

    def _element(self) -> Element:
        if not self._peek():
            raise self._error("expected an element")
        while True:
            try:
                value, end = self._decoded()
            except json.JSONDecodeError as error:
                # What is cut off at the end of the chunk may be whole with the next one.
                if len(self._text) - self._position > MAX_CHARACTERS:
                    raise self._error(f"an element is longer than {MAX_CHARACTERS} characters") from error
                if not self._read():
                    raise self._error(f"not JSON: {error.msg}", error.pos) from error
                continue
            except RecursionError as error:
                raise self._error("nested too deeply") from error
            if end == len(self._text) and self._read():
                continue  # a number may go on
            line = self._place(self._position)[0]
            self._position = end
            return Element(line=line, value=value)

    def _decoded(self) -> tuple[object | Unreadable, int]:
        """The value at the position and where it ends; JSONDecodeError if the text does not hold all of it."""
        try:
            return _DECODER.raw_decode(self._text, self._position)
        except json.JSONDecodeError:
            raise
        except ValueError as error:
            _, end = _PASSING_OVER.raw_decode(self._text, self._position)
            return Unreadable(text=self._text[self._position : end], problem=str(_refusal(error))), end

    def _read(self) -> bool:
        """Read on, twice as much each time an element needs it; False at the end of the file."""
        rest = self._text[self._position :]
        chunk = self._file.read(max(_CHUNK, len(rest)))
        if not chunk:
            return False
        _, column = self._place(self._position)
        self._text, self._position = rest + chunk, 0
        self._counted, self._before_text = 0, column - 1
        return True

    def _place(self, position: int) -> tuple[int, int]:
        """The line and column, from 1, of a position that is not before the one that was asked for last."""
        self._line += self._text.count("\n", self._counted, position)
        self._counted = position
        begins = self._text.rfind("\n", 0, position) + 1
        return self._line, position - begins + 1 + (0 if begins else self._before_text)

    def _error(self, problem: str, position: int | None = None) -> JsonTextError:
        line, column = self._place(self._position if position is None else position)
        return JsonTextError(f"{problem} at line {line}, column {column}")

"""JSON text to rows, read as strictly as rows are recorded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TextIO

__all__ = ["MAX_CHARACTERS", "ArrayReader", "JsonTextError", "decode"]

MAX_CHARACTERS = 16_777_216  # of one row: what it may cost in memory
_CHUNK = 65_536
_SPACE = " \t\n\r"


class JsonTextError(ValueError):
    """The text is not the JSON that was expected."""


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise JsonTextError(f"the name {repeated!r} occurs twice in one object")
    return found


def _constant(text: str) -> object:
    raise JsonTextError(f"{text} is not a JSON number")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)


def decode(text: str) -> object:
    """The value of a JSON text; JsonTextError where it is none, also for what JSON's readers disagree about."""
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise JsonTextError(f"not JSON: {error.msg} at character {error.pos + 1}") from error
    except RecursionError as error:
        raise JsonTextError("not JSON that can be read: nested too deeply") from error


class ArrayReader:
    """The elements of one JSON array in a file, one at a time. Memory holds one element, not the file.

    JsonTextError names the character, counted from the beginning of the file, behind which nothing can be read.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._text = ""
        self._position = 0
        self._before = 0

    def __iter__(self) -> Iterator[object]:
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

    def _element(self) -> object:
        if not self._peek():
            raise self._error("expected an element")
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._position)
            except json.JSONDecodeError as error:
                # What is cut off at the end of the chunk may be whole with the next one.
                if len(self._text) - self._position > MAX_CHARACTERS or not self._read():
                    raise self._error(f"not JSON: {error.msg}", error.pos) from error
                continue
            except RecursionError as error:
                raise self._error("nested too deeply") from error
            if end == len(self._text) and self._read():
                continue  # a number may go on
            self._position = end
            return value

    def _read(self) -> bool:
        """Read on, twice as much each time an element needs it; False at the end of the file."""
        rest = self._text[self._position :]
        chunk = self._file.read(max(_CHUNK, len(rest)))
        if not chunk:
            return False
        self._before += self._position
        self._text, self._position = rest + chunk, 0
        return True

    def _error(self, problem: str, position: int | None = None) -> JsonTextError:
        at = self._before + (self._position if position is None else position) + 1
        return JsonTextError(f"{problem} at character {at}")

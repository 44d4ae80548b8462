"""Recognises lines of one shape by regular expressions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import orjson

__all__ = ["LinePattern", "TextBlock"]

_compile = re.compile


@dataclass(frozen=True, slots=True, kw_only=True)
class TextBlock:
    """Consecutive lines in one text, each with its line feed."""

    text: str
    first: str
    last: str
    size: int

    @classmethod
    def of_bytes(cls, lines: Sequence[bytes]) -> TextBlock:
        """Decode lines, or raise UnicodeDecodeError."""
        text = b"\n".join([*lines, b""]).decode()
        return cls(text=text, first=lines[0].decode(), last=lines[-1].decode(), size=len(lines))

    @classmethod
    def of_content(cls, content: bytes, size: int) -> TextBlock:
        """Decode this many lines with their line feeds.

        Raises UnicodeDecodeError.
        """
        text = content.decode()
        first, last = text[: text.index("\n")], text[text.rfind("\n", 0, -1) + 1 : -1]
        return cls(text=text, first=first, last=last, size=size)

    @classmethod
    def of_texts(cls, lines: Sequence[str]) -> TextBlock:
        """Join lines."""
        return cls(text="\n".join([*lines, ""]), first=lines[0], last=lines[-1], size=len(lines))

    def lines(self) -> list[str]:
        """Return the lines without line feeds."""
        return self.text[:-1].split("\n")


class LinePattern:
    """Recognises canonical lines, and reads some of their columns.

    `picked` are the group numbers of the columns, and `escaped` the indexes of the columns whose texts may contain
    escapes. The groups `fractions` hold numbers whose digits must be checked.
    """

    def __init__(self, pattern: str, picked: Sequence[int], fractions: Sequence[int], escaped: Sequence[int]) -> None:
        self._pattern = pattern
        self._picked = picked
        self._fractions = fractions
        self._escaped = escaped

    def read_lines(self, lines: Sequence[str]) -> list[Sequence[str | None] | None]:
        """Return the values of the columns of each line.

        A value is a text, or None for null. The result for a line that is not recognised, and must be parsed, is None.
        """
        picked, escaped = self._picked, self._escaped
        found = list(map(self._line.fullmatch, lines))
        for number in self._fractions:
            found = [each if each is not None and _is_canonical_number(each[number]) else None for each in found]
        values: list[Sequence[str | None] | None]
        if len(picked) > 1:
            values = [each and each.group(*picked) for each in found]
        else:
            values = [each and tuple(each[group] for group in picked) for each in found]
        return [each and _unescaped(each, escaped) for each in values] if escaped else values

    def read_block(self, block: TextBlock) -> list[Sequence[str | None]] | None:
        """Return the columns of all lines at once.

        Returns None unless all lines are recognised. This is several times faster than `read_lines`.
        """
        if not (self._line.fullmatch(block.first) and self._line.fullmatch(block.last)):
            return None
        # The parts are in turn: the text before a match, and the groups of the match.
        parts: list[str | None] = self._lines.split(block.text)
        step = self._lines.groups + 1
        # A match begins at the beginning of a line, and ends with the only line feed in it.
        if len(parts) != block.size * step + 1 or any(parts[::step]):
            return None
        if not all(_are_canonical_numbers(parts[number::step]) for number in self._fractions):
            return None
        columns: list[Sequence[str | None]] = [parts[group::step] for group in self._picked]
        if "\\" in block.text:
            for index in self._escaped:
                columns[index] = [
                    value and _text(value) if "\\" in (value or "") else value for value in columns[index]
                ]
        return columns

    # Most shapes have no records in most runs, so patterns are compiled on first use.
    @cached_property
    def _line(self) -> re.Pattern[str]:
        return _compile(self._pattern)

    @cached_property
    def _lines(self) -> re.Pattern[str]:
        return _compile(f"^{self._pattern}\n", re.MULTILINE)


def _unescaped(values: Sequence[str | None], escaped: Sequence[int]) -> Sequence[str | None]:
    if not any("\\" in (values[index] or "") for index in escaped):
        return values
    changed = list(values)
    for index in escaped:
        value = values[index]
        if value is not None:
            changed[index] = _text(value)
    return changed


def _text(escaped: str) -> str:
    """Return the value of a JSON string without its quotes."""
    text: str = orjson.loads(f'"{escaped}"')
    return text


def _is_canonical_number(text: str | None) -> bool:
    """Return whether a number has its canonical digits.

    See RFC 8785, section 3.2.2.3. Python writes a number differently from ECMAScript only with an exponent or `.0`,
    and the pattern of the text admits neither.
    """
    if text is None or "." not in text:
        return text != "-0"
    return repr(float(text)) == text and not text.endswith(".0")


def _are_canonical_numbers(texts: Sequence[str | None]) -> bool:
    """Return whether all numbers have their canonical digits."""
    if "-0" in texts:
        return False
    return all(repr(float(text)) == text and text[-2:] != ".0" for text in texts if text is not None and "." in text)

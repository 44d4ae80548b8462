"""Puts fields of a row into a request: `/customers/{id}`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from string import Formatter
from urllib.parse import quote, unquote

from elspeth.contracts.errors import RecordableError, describe_kind
from elspeth.contracts.rows import RowData
from elspeth.plugins.field_paths import FieldPath

__all__ = ["BodyTemplate", "RowValueError", "TextTemplate", "UrlTemplate"]

_SLASH = re.compile(r"[/\\]")


class RowValueError(RecordableError, ValueError):
    """A row lacks a value that a request needs."""


@dataclass(frozen=True, slots=True)
class TextTemplate:
    """A text with placeholders for fields: `no. {id}`.

    `{{` and `}}` stand for braces. `parse` raises ValueError for braces that do not match, and for formats.
    """

    text: str
    pieces: Sequence[tuple[str, FieldPath | None]]

    @classmethod
    def parse(cls, text: str) -> TextTemplate:
        """Return the template of a text."""
        pieces: list[tuple[str, FieldPath | None]] = []
        for literal, name, form, conversion in Formatter().parse(text):
            if form or conversion or name == "":
                raise ValueError(f"expected {{field}}, with the name of a field alone, in {text!r}")
            pieces.append((literal, None if name is None else FieldPath(name)))
        return cls(text, tuple(pieces))

    @property
    def has_fields(self) -> bool:
        """Whether the text depends on the row."""
        return any(field is not None for _, field in self.pieces)

    @property
    def literal(self) -> str:
        """Return the text before the first field."""
        return self.pieces[0][0] if self.pieces else ""

    def fill(self, row: RowData, *, escape: bool = False) -> str:
        """Return the text for a row.

        With `escape`, values are percent-encoded (RFC 3986, section 2.1). Raises RowValueError if the row lacks a
        value.
        """
        done = []
        for literal, field in self.pieces:
            done.append(literal)
            if field is not None:
                value = _text_of(field, row)
                done.append(quote(value, safe="") if escape else value)
        return "".join(done)

    def value(self, row: RowData) -> object:
        """Return the text, or the value of the only field.

        Raises RowValueError if the row lacks a value.
        """
        if len(self.pieces) == 1 and self.pieces[0][0] == "" and self.pieces[0][1] is not None:
            return _find(self.pieces[0][1], row)
        return self.fill(row)


class UrlTemplate:
    """A URL with placeholders for fields after the server.

    Raises ValueError for a placeholder in the name of the server, which a row must not choose.
    """

    def __init__(self, text: str) -> None:
        self._template = TextTemplate.parse(text)
        fixed = self._template.literal
        if self._template.has_fields and fixed.find("/", fixed.find("//") + 2) < 0:
            raise ValueError(f"a field stands in the name of the server, expected only after it: {text!r}")

    def fill(self, row: RowData) -> str:
        """Return the URL for a row; values are percent-encoded.

        Raises RowValueError if the row lacks a value, or if the value would lead to another path.
        """
        url = self._template.fill(row, escape=True)
        path = url.partition("?")[0].partition("#")[0]
        # Many servers treat an encoded slash as a slash.
        _, *segments = _SLASH.split(unquote(path.partition("//")[2]))
        if self._template.has_fields and any(segment in {".", ".."} for segment in segments):
            raise RowValueError("the path of the URL has a segment '.' or '..', which would lead elsewhere")
        return url


class BodyTemplate:
    """A JSON value whose texts have placeholders for fields.

    A text that consists of one placeholder becomes the value of the field, whatever its type. Raises ValueError for a
    malformed text.
    """

    def __init__(self, value: object) -> None:
        self._value = _parsed(value)

    def fill(self, row: RowData) -> object:
        """Return the value for a row.

        Raises RowValueError if the row lacks a value.
        """
        return _filled(self._value, row)


def _parsed(value: object) -> object:
    match value:
        case str():
            return TextTemplate.parse(value)
        case dict():
            return {name: _parsed(each) for name, each in value.items()}
        case list():
            return [_parsed(each) for each in value]
        case _:
            return value


def _filled(value: object, row: RowData) -> object:
    match value:
        case TextTemplate():
            return value.value(row)
        case dict():
            return {name: _filled(each, row) for name, each in value.items()}
        case list():
            return [_filled(each, row) for each in value]
        case _:
            return value


def _find(field: FieldPath, row: RowData) -> object:
    slot = field.find(row)
    if slot is None:
        raise RowValueError(f"field {field.text!r} is missing")
    return slot.value


def _text_of(field: FieldPath, row: RowData) -> str:
    value = _find(field, row)
    match value:
        case bool():
            return "true" if value else "false"
        case str() if value:
            return value
        case int() | float():
            return repr(value)
        case _:
            raise RowValueError(f"field {field.text!r}: expected text or a number, got {describe_kind(value)}")

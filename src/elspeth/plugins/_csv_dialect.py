"""The dialects of CSV, as options."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, NonNegativeInt, PositiveInt, model_validator

from elspeth.contracts.errors import describe_kind, short_repr
from elspeth.contracts.plugins import PluginOptions
from elspeth.contracts.rows import RowData, SchemaViolationError
from elspeth.contracts.schema import SchemaConfig, decimal_places
from elspeth.plugins.files import FileSinkOptions
from elspeth.plugins.input_files import Encoding, TextSourceOptions

__all__ = ["CsvDialectOptions", "CsvSinkOptions", "CsvSourceOptions", "HeaderNames", "NumberReader"]

HeaderNames = Literal["exact", "strip", "lower", "upper", "snake"]


def _check_character(text: str) -> str:
    if len(text) == 1 and text not in "\r\n\0":
        return text
    hint = "; a tab is '\\t' in double quotes" if text in {"\\t", "tab"} else ""
    raise ValueError(f"expected one character, and no line break, got {short_repr(text)}{hint}")


def _require_texts(values: object) -> object:
    if isinstance(values, list | tuple) and (others := [each for each in values if not isinstance(each, str)]):
        raise ValueError(f"expected texts, got {others[0]!r}: write it in quotes")
    return values


Character = Annotated[str, AfterValidator(_check_character)]
"""One character of a dialect."""


class CsvDialectOptions(PluginOptions):
    """Options that CSV sources and sinks share."""

    delimiter: Character = Field(default=",", description="The character between two fields.")
    quote: Character | None = Field(
        default='"',
        description="The character around fields that hold delimiters or line breaks; doubled, it stands for itself. "
        "`null`: there is none.",
    )
    decimal: Literal[".", ","] = Field(default=".", description="The decimal character of numbers.")


class CsvSinkOptions(CsvDialectOptions, FileSinkOptions):
    """Options of the CSV sink."""

    null_value: str = Field(default="", description="The field that means null.")
    encoding: Encoding = Field(
        default="utf-8", description="The encoding of the file; `utf-8-sig` has a byte order mark, as Excel expects it."
    )

    @model_validator(mode="after")
    def _check_dialect(self) -> Self:
        _check_characters(self, "delimiter", "quote")
        return self


class CsvSourceOptions(CsvDialectOptions, TextSourceOptions):
    """Options of the CSV source."""

    escape: Character | None = Field(
        default=None, description="The character that makes the next one stand for itself. `null`: there is none."
    )
    thousands: Character | None = Field(
        default=None, description="The character between groups of three digits of a number. `null`: there is none."
    )
    null_values: Annotated[tuple[str, ...], BeforeValidator(_require_texts)] = Field(
        default=(), description="The fields that mean null, such as `NULL`."
    )
    header: bool = Field(default=True, description="Whether the first line has the names of the fields.")
    fields: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="The names of the fields of a file without a header."
    )
    header_names: HeaderNames = Field(
        default="exact",
        description="How names of the header are cleaned: not at all; without the white space around them (`strip`); "
        "also in lower or upper case; or also with `_` for each group of other characters than letters and digits "
        "(`snake`).",
    )
    number_names: bool = Field(
        default=False,
        description="Whether names that are empty or occur again get a number (`field_3`, `name_2`) instead of being "
        "an error of the file.",
    )
    skip_lines: NonNegativeInt = Field(default=0, description="The number of lines before the header to skip.")
    comment: str | None = Field(
        default=None, min_length=1, description="The beginning of lines to skip. `null`: there is none."
    )
    max_record_lines: PositiveInt = Field(
        default=1_000, description="The most lines that one row may have: a quoted field may have line breaks."
    )

    @model_validator(mode="after")
    def _check_dialect(self) -> Self:
        _check_characters(self, "delimiter", "quote", "escape", "comment")
        if self.thousands is not None and (self.thousands == self.decimal or self.thousands in "+-0123456789eE"):
            raise ValueError(f"thousands: {self.thousands!r} cannot be told from other characters of a number")
        if (self.decimal, self.thousands) != (".", None) and not _numeric_fields(self.schema_config):
            raise ValueError("decimal and thousands are for fields that the schema declares as numbers: it has none")
        if self.header is (self.fields is not None):
            raise ValueError(
                "fields: expected only with header: false; a header has the names"
                if self.header
                else "header: false needs the names of the fields: add the list fields"
            )
        names = self.fields or ()
        if "" in names or len(set(names)) < len(names):
            raise ValueError("fields: expected a name of its own for each field")
        return self


def _check_characters(options: PluginOptions, *names: str) -> None:
    """Raise ValueError if two characters are the same."""
    seen: dict[str, str] = {}
    for name in names:
        character = getattr(options, name)
        if character is not None and (first := seen.setdefault(character[:1], name)) != name:
            raise ValueError(f"{first} and {name} both begin with {character[:1]!r}: expected different characters")


def _numeric_fields(schema: SchemaConfig) -> list[str]:
    """Return the fields that the schema declares as numbers."""
    types = {field.name: field.field_type for field in schema.fields or ()}
    return [name for name, found in types.items() if found in {"int", "float"} or decimal_places(found) is not None]


class NumberReader:
    """Reads numbers that are written as in some language."""

    def __init__(self, options: CsvSourceOptions) -> None:
        self._decimal, self._thousands = options.decimal, options.thousands or ""
        self._fields = _numeric_fields(options.schema_config)
        point, group = re.escape(self._decimal), re.escape(self._thousands)
        whole = rf"[0-9]{{1,3}}(?:{group}[0-9]{{3}})+|[0-9]*" if group else "[0-9]*"
        self._number = re.compile(rf"\s*[+-]?(?:{whole})(?:{point}[0-9]*)?(?:[eE][+-]?[0-9]+)?\s*")
        self._example = f"1{self._thousands}234{self._decimal}5"

    def normalize(self, row: RowData) -> RowData:
        """Return the row with its numbers written as in JSON.

        Raises SchemaViolationError with every field that is no such number.
        """
        normalized, problems = dict(row), []
        for name in self._fields:
            value = row.get(name)
            if not isinstance(value, str):
                continue
            if self._number.fullmatch(value) is None:
                got = describe_kind(value)
                problems.append(f"field {name!r}: expected a number such as {self._example}, got {got}")
            text = value.replace(self._thousands, "") if self._thousands else value
            normalized[name] = text.replace(self._decimal, ".")
        if problems:
            raise SchemaViolationError("; ".join(problems))
        return normalized

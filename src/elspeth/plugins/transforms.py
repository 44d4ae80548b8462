"""The transforms that come with elspeth, except `llm`."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from elspeth.contracts.errors import describe_kind
from elspeth.contracts.expressions import EvaluationError, ExpressionError, compile_expression
from elspeth.contracts.plugins import RowError, Transform, TransformOptions
from elspeth.contracts.rows import RowData
from elspeth.plugins.json_text import JsonTextError, decode_json

__all__ = [
    "FieldMapperOptions",
    "FieldMapperTransform",
    "JsonExplodeOptions",
    "JsonExplodeTransform",
    "KeywordFilterOptions",
    "KeywordFilterTransform",
    "PassthroughTransform",
]


def _check_distinct(mappings: dict[str, str]) -> dict[str, str]:
    targets = list(mappings.values())
    repeated = sorted({name for name in targets if targets.count(name) > 1})
    if repeated:
        raise ValueError(f"two fields would both be named {repeated[0]!r}")
    return mappings


def _check_expressions(computed: dict[str, str]) -> dict[str, str]:
    for name, source in computed.items():
        try:
            compile_expression(source)
        except ExpressionError as error:
            raise ValueError(f"the expression for {name!r} {error}") from error
    return computed


class FieldMapperOptions(TransformOptions):
    """Options of the transform `field_mapper`."""

    mappings: Annotated[dict[str, str], AfterValidator(_check_distinct)] = Field(
        default={}, description="The new names of fields by their old names."
    )
    computed: Annotated[dict[str, str], AfterValidator(_check_expressions)] = Field(
        default={}, description="Fields to compute: the name of each with its expression."
    )


class FieldMapperTransform(Transform):
    """Renames fields, then computes fields from the renamed row.

    A row fails if it lacks a field that is renamed, if it already has another field of the new name, or if an
    expression has no value for it. All expressions see the same row: none sees what another computes.
    """

    name = "field_mapper"
    plugin_version = "1.0.0"
    options_model = FieldMapperOptions

    def __init__(self, options: FieldMapperOptions) -> None:
        super().__init__(options)
        self._mappings = options.mappings
        self._computed = {name: compile_expression(source) for name, source in options.computed.items()}

    def process(self, row: RowData) -> RowData | RowError:
        """Return the row with fields renamed in place, others computed."""
        missing = [name for name in self._mappings if name not in row]
        if missing:
            return RowError(message=f"field {missing[0]!r} is missing", details={"field": missing[0]})
        kept = row.keys() - self._mappings.keys()
        taken = [name for name in self._mappings.values() if name in kept]
        if taken:
            return RowError(message=f"field {taken[0]!r} exists already", details={"field": taken[0]})
        renamed = {self._mappings.get(name, name): value for name, value in row.items()}
        try:
            computed = {name: expression.evaluate(renamed) for name, expression in self._computed.items()}
        except EvaluationError as error:
            return RowError(message=str(error), details={} if error.field is None else {"field": error.field})
        return renamed | computed


class JsonExplodeOptions(TransformOptions):
    """Options of the transform `json_explode`."""

    array_field: str = Field(description="The field that holds the list, as a list or as JSON text.")
    output_field: str = Field(default="item", description="The field that gets one item in each of the new rows.")
    include_index: bool = Field(
        default=True, description="Whether the field with `_index` appended gets the position of the item, from 0."
    )


class JsonExplodeTransform(Transform):
    """Makes a row for each item of a list.

    The list may be a JSON array in text; all other fields are kept. With `include_index` the position of the item, from
    0, goes to the field named like the output field with `_index` appended. A row fails if its list is empty: it would
    end without a trace.
    """

    name = "json_explode"
    plugin_version = "1.0.0"
    options_model = JsonExplodeOptions
    expands = True

    def __init__(self, options: JsonExplodeOptions) -> None:
        super().__init__(options)
        self._array_field = options.array_field
        self._output_field = options.output_field
        self._index_field = f"{options.output_field}_index" if options.include_index else None

    def process(self, row: RowData) -> list[RowData] | RowError:
        """Return the new rows, in the order of the list."""
        if self._array_field not in row:
            return self._field_error("is missing")
        items = row.pop(self._array_field)
        if isinstance(items, str):
            try:
                items = decode_json(items)
            except JsonTextError as error:
                return self._field_error(f"cannot be read: {error}")
        if not isinstance(items, list):
            return self._field_error(f"expected a list, got {describe_kind(items)}")
        if not items:
            return self._field_error("is an empty list")
        taken = [name for name in (self._output_field, self._index_field) if name in row]
        if taken:
            return RowError(message=f"field {taken[0]!r} exists already", details={"field": taken[0]})
        return [
            row | {self._output_field: item} | ({} if self._index_field is None else {self._index_field: index})
            for index, item in enumerate(items)
        ]

    def _field_error(self, problem: str) -> RowError:
        return RowError(message=f"field {self._array_field!r} {problem}", details={"field": self._array_field})


def _check_patterns(patterns: list[str]) -> list[str]:
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error
    return patterns


class KeywordFilterOptions(TransformOptions):
    """Options of the transform `keyword_filter`."""

    fields: Annotated[list[str], Field(min_length=1)] | Literal["all"] = Field(
        description="The fields to search, or `all`."
    )
    blocked_patterns: Annotated[list[str], Field(min_length=1), AfterValidator(_check_patterns)] = Field(
        description="Regular expressions; a row in which one of them matches fails."
    )


class KeywordFilterTransform(Transform):
    """Fails rows in which a field contains a blocked pattern.

    Fields that are missing or not text are not searched. The error names field and pattern, never the content.
    """

    name = "keyword_filter"
    plugin_version = "1.0.0"
    options_model = KeywordFilterOptions

    def __init__(self, options: KeywordFilterOptions) -> None:
        super().__init__(options)
        self._fields = None if options.fields == "all" else options.fields
        self._patterns = [re.compile(pattern) for pattern in options.blocked_patterns]

    def process(self, row: RowData) -> RowData | RowError:
        """Return the row, or an error with the first match."""
        for name in self._fields or row:
            value = row.get(name)
            if not isinstance(value, str):
                continue
            for pattern in self._patterns:
                if pattern.search(value):
                    message = f"field {name!r} contains the blocked pattern {pattern.pattern!r}"
                    return RowError(message=message, details={"field": name, "pattern": pattern.pattern})
        return row


class PassthroughTransform(Transform):
    """Hands on each row unchanged; a schema coerces its fields."""

    name = "passthrough"
    plugin_version = "1.0.0"

    def process(self, row: RowData) -> RowData:
        """Return the row."""
        return row

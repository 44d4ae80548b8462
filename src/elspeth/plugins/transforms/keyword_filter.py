"""The transform `keyword_filter`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from elspeth.contracts.plugins import FieldOrigins, RowError, Transform, TransformOptions
from elspeth.contracts.rows import RowData
from elspeth.plugins.field_paths import FieldPath

__all__ = ["KeywordFilterOptions", "KeywordFilterTransform"]


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
        description="The fields to search, or `all`. Names may lead into objects and lists: `customer.note`."
    )
    blocked_patterns: Annotated[list[str], Field(min_length=1), AfterValidator(_check_patterns)] = Field(
        description="Regular expressions; a row in which one of them matches fails."
    )


class KeywordFilterTransform(Transform):
    """Fails rows in which a field contains a blocked pattern.

    Fields that are missing or not text are not searched. The error names field and pattern, never the content.
    """

    name = "keyword_filter"
    plugin_version = "1.1.0"
    options_model = KeywordFilterOptions

    def __init__(self, options: KeywordFilterOptions) -> None:
        super().__init__(options)
        self._paths = None if options.fields == "all" else [FieldPath(name) for name in options.fields]
        self._patterns = [re.compile(pattern) for pattern in options.blocked_patterns]

    def field_origins(self) -> FieldOrigins:
        """Return that all fields are unchanged."""
        return FieldOrigins()

    def process(self, row: RowData) -> RowData | RowError:
        """Return the row, or an error with the first match."""
        for name, value in self._searched(row):
            if not isinstance(value, str):
                continue
            for pattern in self._patterns:
                if pattern.search(value):
                    message = f"field {name!r} contains the blocked pattern {pattern.pattern!r}"
                    return RowError(message=message, details={"field": name, "pattern": pattern.pattern})
        return row

    def _searched(self, row: RowData) -> Iterator[tuple[str, object]]:
        if self._paths is None:
            yield from row.items()
            return
        for path in self._paths:
            slot = path.find(row)
            if slot is not None:
                yield path.text, slot.value

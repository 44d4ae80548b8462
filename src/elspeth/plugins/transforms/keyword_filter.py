"""Rows with blocked words stopped."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from elspeth.contracts.plugins import Row, RowError
from elspeth.plugins.base import Transform, TransformOptions

__all__ = ["KeywordFilterOptions", "KeywordFilterTransform"]


def _compilable(patterns: list[str]) -> list[str]:
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error
    return patterns


class KeywordFilterOptions(TransformOptions):
    """Options of the keyword filter: the fields to search, and regular expressions that they must not match."""

    fields: Annotated[list[str], Field(min_length=1)] | Literal["all"]
    blocked_patterns: Annotated[list[str], Field(min_length=1), AfterValidator(_compilable)]


class KeywordFilterTransform(Transform):
    """Fails rows in which a field contains a blocked pattern.

    Fields that are not text, or not there, are not searched. The error names field and pattern, never the content.
    """

    name = "keyword_filter"
    plugin_version = "1.0.0"
    options_model = KeywordFilterOptions

    def __init__(self, options: KeywordFilterOptions) -> None:
        super().__init__(options)
        self._fields = None if options.fields == "all" else options.fields
        self._patterns = [re.compile(pattern) for pattern in options.blocked_patterns]

    def process(self, row: Row) -> Row | RowError:
        """The row, or an error that names the first match."""
        for name in self._fields or row:
            value = row.get(name)
            if not isinstance(value, str):
                continue
            for pattern in self._patterns:
                if pattern.search(value):
                    message = f"field {name!r} contains the blocked pattern {pattern.pattern!r}"
                    return RowError(message=message, details={"field": name, "pattern": pattern.pattern})
        return row

"""One row for each item of a list."""

from __future__ import annotations

from elspeth.contracts.display import kind_of
from elspeth.contracts.plugins import Row, RowError
from elspeth.plugins.base import Transform, TransformOptions
from elspeth.plugins.json_text import JsonTextError, decode

__all__ = ["JsonExplodeOptions", "JsonExplodeTransform"]


class JsonExplodeOptions(TransformOptions):
    """Options of the exploder: the field with the list, and the field that takes an item in each of the new rows."""

    array_field: str
    output_field: str = "item"
    include_index: bool = True


class JsonExplodeTransform(Transform):
    """Makes a row for each item of a list, or of a JSON array in text, with all other fields kept.

    With `include_index` the position of the item, from 0, is in the field named like the output field with `_index`
    behind. A row fails whose list is empty: it would end without a trace.
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

    def process(self, row: Row) -> list[Row] | RowError:
        """The new rows, in the order of the list."""
        if self._array_field not in row:
            return self._error("is missing")
        items = row.pop(self._array_field)
        if isinstance(items, str):
            try:
                items = decode(items)
            except JsonTextError as error:
                return self._error(f"cannot be read: {error}")
        if not isinstance(items, list):
            return self._error(f"expected a list, got {kind_of(items)}")
        if not items:
            return self._error("is an empty list")
        taken = [name for name in (self._output_field, self._index_field) if name in row]
        if taken:
            return RowError(message=f"field {taken[0]!r} exists already", details={"field": taken[0]})
        return [
            row | {self._output_field: item} | ({} if self._index_field is None else {self._index_field: index})
            for index, item in enumerate(items)
        ]

    def _error(self, problem: str) -> RowError:
        return RowError(message=f"field {self._array_field!r} {problem}", details={"field": self._array_field})

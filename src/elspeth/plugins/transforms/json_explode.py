"""The transform `json_explode`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from elspeth.contracts.errors import describe_kind
from elspeth.contracts.plugins import FieldOrigins, RowDrop, RowError, Transform, TransformOptions
from elspeth.contracts.rows import RowData
from elspeth.plugins.field_paths import FieldPath, missing_field_error, taken_field_error
from elspeth.plugins.json_text import JsonTextError, decode_json

__all__ = ["JsonExplodeOptions", "JsonExplodeTransform"]


class JsonExplodeOptions(TransformOptions):
    """Options of the transform `json_explode`."""

    array_field: str = Field(
        description="The field that holds the list, as a list or as JSON text. Its name may lead into objects: "
        "`order.lines`."
    )
    output_field: str = Field(default="item", description="The field that gets one item in each of the new rows.")
    include_index: bool = Field(
        default=True, description="Whether the field with `_index` appended gets the position of the item, from 0."
    )
    on_empty: Literal["error", "drop", "keep"] = Field(
        default="error",
        description="What becomes of a row whose list is empty: it fails, is dropped, or goes on as one row with null "
        "in place of item and index.",
    )


class JsonExplodeTransform(Transform):
    """Makes a row for each item of a list.

    The list may be a JSON array in text; all other fields are kept. With `include_index` the position of the item, from
    0, goes to the field named like the output field with `_index` appended.
    """

    name = "json_explode"
    plugin_version = "1.1.0"
    options_model = JsonExplodeOptions
    expands = True

    def __init__(self, options: JsonExplodeOptions) -> None:
        super().__init__(options)
        self._array_field = options.array_field
        self._path = FieldPath(options.array_field)
        self._output_field = options.output_field
        self._index_field = f"{options.output_field}_index" if options.include_index else None
        self._on_empty = options.on_empty

    def field_origins(self) -> FieldOrigins:
        """Return the list as the origin of its items."""
        index: dict[str, list[str]] = {} if self._index_field is None else {self._index_field: []}
        derived = {self._output_field: [self._array_field]} | index
        return FieldOrigins(derived=derived, removed=[self._array_field])

    def process(self, row: RowData) -> RowData | list[RowData] | RowError | RowDrop:
        """Return the new rows, in the order of the list."""
        slot = self._path.find(row)
        if slot is None:
            return missing_field_error(self._array_field)
        items = slot.value
        slot.remove()
        if isinstance(items, str):
            try:
                items = decode_json(items)
            except JsonTextError as error:
                return self._field_error(f"cannot be read: {error}")
        if not isinstance(items, list):
            return self._field_error(f"expected a list, got {describe_kind(items)}")
        taken = taken_field_error((self._output_field, self._index_field), row)
        if taken is not None and (items or self._on_empty == "keep"):
            return taken
        return [self._with_item(row, item, index) for index, item in enumerate(items)] or self._without_items(row)

    def _without_items(self, row: RowData) -> RowData | RowError | RowDrop:
        """Return the result for a row whose list is empty."""
        match self._on_empty:
            case "keep":
                return self._with_item(row, None, None)
            case "drop":
                return RowDrop(reason="the list is empty", details={"field": self._array_field})
            case "error":
                return self._field_error("is an empty list")

    def _with_item(self, row: RowData, item: object, index: int | None) -> RowData:
        return row | {self._output_field: item} | ({} if self._index_field is None else {self._index_field: index})

    def _field_error(self, problem: str) -> RowError:
        return RowError(message=f"field {self._array_field!r} {problem}", details={"field": self._array_field})

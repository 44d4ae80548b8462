"""Transforms that change the shape of values: flatten, truncate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Self

from pydantic import Field, PositiveInt, model_validator

from elspeth.contracts.errors import describe_kind
from elspeth.contracts.plugins import FieldOrigins, RowError, Transform, TransformOptions
from elspeth.contracts.rows import RowData
from elspeth.plugins.field_paths import FieldPath, missing_field_error

__all__ = ["FlattenOptions", "FlattenTransform", "TruncateOptions", "TruncateTransform"]


class FlattenOptions(TransformOptions):
    """Options of the transform `flatten`."""

    fields: Annotated[list[str], Field(min_length=1)] | None = Field(
        default=None, description="The objects to flatten. Without it, all of them."
    )
    separator: Annotated[str, Field(min_length=1, max_length=8)] = Field(
        default=".", description="The text between the names of an object and its member."
    )


class FlattenTransform(Transform):
    """Makes fields of the members of objects: `line.amount`.

    Objects inside are flattened, too, and stand in the place of the outermost. Lists stay as they are; `json_explode`
    makes rows of them. An empty object leaves nothing. A row fails if two fields would have one name.
    """

    name = "flatten"
    plugin_version = "1.0.0"
    options_model = FlattenOptions

    def __init__(self, options: FlattenOptions) -> None:
        super().__init__(options)
        self._fields = None if options.fields is None else frozenset(options.fields)
        self._separator = options.separator

    def process(self, row: RowData) -> RowData | RowError:
        """Return the row with its objects flattened."""
        flat: RowData = {}
        for name, value in row.items():
            if self._fields is not None and name not in self._fields:
                found: Iterator[tuple[str, object]] = iter([(name, value)])
            else:
                found = self._members(name, value)
            for path, member in found:
                if path in flat:
                    return RowError(message=f"two fields would both be named {path!r}", details={"field": name})
                flat[path] = member
        return flat

    def _members(self, name: str, value: object) -> Iterator[tuple[str, object]]:
        """Yield the members of an object, including nested ones."""
        waiting: list[tuple[str, object]] = [(name, value)]
        while waiting:
            path, found = waiting.pop()
            if isinstance(found, Mapping):
                waiting += [(f"{path}{self._separator}{key}", item) for key, item in reversed(list(found.items()))]
            else:
                yield path, found


class TruncateOptions(TransformOptions):
    """Options of the transform `truncate`."""

    fields: Annotated[dict[str, PositiveInt], Field(min_length=1)] = Field(
        description="Fields with the most characters that the text of each may have, suffix included."
    )
    suffix: str = Field(default="", description="The end of a text that was cut, such as `...`.")

    @model_validator(mode="after")
    def _suffix_fits(self) -> Self:
        for name, length in self.fields.items():
            if length < len(self.suffix):
                raise ValueError(f"the {length} characters of {name!r} have no room for the suffix")
        return self


class TruncateTransform(Transform):
    """Cuts long texts.

    Null stays null. A row fails if it lacks one of the fields, or if the value is not text. Names may lead into objects
    and lists.
    """

    name = "truncate"
    plugin_version = "1.0.0"
    options_model = TruncateOptions

    def __init__(self, options: TruncateOptions) -> None:
        super().__init__(options)
        self._lengths = {FieldPath(name): length for name, length in options.fields.items()}
        self._suffix = options.suffix

    def field_origins(self) -> FieldOrigins:
        """Return that some fields get new values."""
        return FieldOrigins(changed=[path.text for path in self._lengths])

    def process(self, row: RowData) -> RowData | RowError:
        """Return the row with its texts cut."""
        for path, length in self._lengths.items():
            slot = path.find(row)
            if slot is None:
                return missing_field_error(path.text)
            text = slot.value
            if isinstance(text, str):
                if len(text) > length:
                    slot.replace(text[: length - len(self._suffix)] + self._suffix)
            elif text is not None:
                message = f"field {path.text!r}: expected text, got {describe_kind(text)}"
                return RowError(message=message, details={"field": path.text})
        return row

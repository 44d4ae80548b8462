"""Transforms that choose, remove and rename fields."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from elspeth.contracts.plugins import FieldOrigins, RowError, Transform, TransformOptions
from elspeth.contracts.rows import RowData
from elspeth.plugins.field_paths import FieldPath, missing_field_error, taken_field_error

__all__ = [
    "DropOptions",
    "DropTransform",
    "NewNames",
    "RenameOptions",
    "RenameTransform",
    "SelectOptions",
    "SelectTransform",
    "choose_fields",
    "rename_fields",
]


def _check_distinct(names: dict[str, str]) -> dict[str, str]:
    targets = list(names.values())
    repeated = sorted({name for name in targets if targets.count(name) > 1})
    if repeated:
        raise ValueError(f"two fields would both be named {repeated[0]!r}")
    return names


NewNames = Annotated[dict[str, str], AfterValidator(_check_distinct)]
"""New names of fields by their old names, all different."""

_Names = Annotated[list[str], Field(min_length=1)]
_OnMissing = Literal["error", "ignore"]
_ON_MISSING = "What becomes of a row that lacks one of the fields: it fails, or goes on without it."


def choose_fields(row: RowData, names: dict[str, str]) -> RowData | RowError:
    """Return only some fields, under new names.

    Returns an error if one is missing.
    """
    chosen: RowData = {}
    for old, new in names.items():
        slot = FieldPath(old).find(row)
        if slot is None:
            return missing_field_error(old)
        chosen[new] = slot.value
    return chosen


def rename_fields(row: RowData, names: dict[str, str]) -> RowData | RowError:
    """Return the row with fields renamed in their places.

    A member of an object moves to the end of the row. Returns an error if a field is missing or a new name is taken.
    """
    inside: RowData = {}
    for old, new in names.items():
        if old not in row:
            slot = FieldPath(old).find(row)
            if slot is None:
                return missing_field_error(old)
            inside[new] = slot.value
            slot.remove()
    kept = {name: value for name, value in row.items() if name not in names}
    if (error := taken_field_error(names.values(), kept)) is not None:
        return error
    return {names.get(name, name): value for name, value in row.items()} | inside


class SelectOptions(TransformOptions):
    """Options of the transform `select`."""

    fields: _Names = Field(description="The fields to keep, in this order.")
    on_missing: _OnMissing = Field(default="error", description=_ON_MISSING)


class SelectTransform(Transform):
    """Keeps some fields, and removes all others."""

    name = "select"
    plugin_version = "1.0.0"
    options_model = SelectOptions

    def __init__(self, options: SelectOptions) -> None:
        super().__init__(options)
        self._fields = options.fields
        self._is_strict = options.on_missing == "error"

    def field_origins(self) -> FieldOrigins:
        """Return that only the chosen fields are kept."""
        return FieldOrigins(same={name: name for name in self._fields}, keeps_others=False)

    def process(self, row: RowData) -> RowData | RowError:
        """Return the chosen fields of the row."""
        missing = next((name for name in self._fields if name not in row), None)
        if missing is not None and self._is_strict:
            return missing_field_error(missing)
        return {name: row[name] for name in self._fields if name in row}


class DropOptions(TransformOptions):
    """Options of the transform `drop`."""

    fields: _Names = Field(description="The fields to remove; names may lead into objects, as `line.note`.")
    on_missing: _OnMissing = Field(default="error", description=_ON_MISSING)


class DropTransform(Transform):
    """Removes some fields, and keeps all others.

    A row fails if it lacks one of them: a mistyped name would let through what was to be removed.
    """

    name = "drop"
    plugin_version = "1.0.0"
    options_model = DropOptions

    def __init__(self, options: DropOptions) -> None:
        super().__init__(options)
        self._paths = [FieldPath(name) for name in options.fields]
        self._is_strict = options.on_missing == "error"

    def field_origins(self) -> FieldOrigins:
        """Return that some fields are removed."""
        return FieldOrigins(removed=[path.text for path in self._paths])

    def process(self, row: RowData) -> RowData | RowError:
        """Return the row without the fields."""
        for path in self._paths:
            slot = path.find(row)
            if slot is not None:
                slot.remove()
            elif self._is_strict:
                return missing_field_error(path.text)
        return row


class RenameOptions(TransformOptions):
    """Options of the transform `rename`."""

    fields: Annotated[NewNames, Field(min_length=1)] = Field(
        description="The new names by the old ones, which may lead into objects: `line.amount: amount`."
    )


class RenameTransform(Transform):
    """Renames fields in their places.

    A row fails if it lacks one of them, or already has another field of a new name.
    """

    name = "rename"
    plugin_version = "1.0.0"
    options_model = RenameOptions

    def __init__(self, options: RenameOptions) -> None:
        super().__init__(options)
        self._names = options.fields

    def field_origins(self) -> FieldOrigins:
        """Return the new names with the old ones."""
        return FieldOrigins.renamed(self._names)

    def process(self, row: RowData) -> RowData | RowError:
        """Return the row with new names."""
        return rename_fields(row, self._names)

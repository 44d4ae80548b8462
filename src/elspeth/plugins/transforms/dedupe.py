"""The transform `dedupe`, which drops repeated rows."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from elspeth.contracts.plugins import DistinctTransform, RowError, TransformOptions
from elspeth.contracts.rows import RowData
from elspeth.plugins.field_paths import FieldPath, read_fields

__all__ = ["DedupeOptions", "DedupeTransform"]


class DedupeOptions(TransformOptions):
    """Options of the transform `dedupe`."""

    key: Annotated[list[str], Field(min_length=1)] | None = Field(
        default=None,
        description="The fields that make up the key of a row; names may lead into objects. By default all fields.",
    )


class DedupeTransform(DistinctTransform):
    """Drops rows whose key came before.

    The first row of each key is passed on: the one that comes first in the order of the source. A dropped row is not a
    failure: its outcome is `dropped`, and the trail names the source row that came first. Two keys are equal if their
    canonical JSON is. A row fails if it lacks a field of the key. Memory grows with the number of different keys, by
    some 300 bytes each.
    """

    name = "dedupe"
    plugin_version = "1.0.0"
    options_model = DedupeOptions

    def __init__(self, options: DedupeOptions) -> None:
        super().__init__(options)
        self._paths = None if options.key is None else [FieldPath(name) for name in options.key]

    def key(self, row: RowData) -> object | RowError:
        """Return the values of the key, or an error."""
        return row if self._paths is None else read_fields(self._paths, row)

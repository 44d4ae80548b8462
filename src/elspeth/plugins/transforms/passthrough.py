"""Rows as they are."""

from __future__ import annotations

from elspeth.contracts.plugins import Row
from elspeth.plugins.base import Transform

__all__ = ["PassthroughTransform"]


class PassthroughTransform(Transform):
    """Hands on each row as it is; a schema coerces its fields."""

    name = "passthrough"
    plugin_version = "1.0.0"

    def process(self, row: Row) -> Row:
        """The row."""
        return row

"""A source without rows."""

from __future__ import annotations

from collections.abc import Iterator

from elspeth.contracts.enums import Determinism
from elspeth.contracts.plugins import InvalidRow, Row
from elspeth.plugins.base import Source, SourceOptions

__all__ = ["NullSource"]


class NullSource(Source):
    """No rows at all; for trying out a pipeline."""

    name = "null"
    plugin_version = "1.0.0"
    determinism = Determinism.DETERMINISTIC
    options_model = SourceOptions

    def read(self) -> Iterator[Row | InvalidRow]:
        """Nothing."""
        return iter(())

"""A source without rows, and a sink that keeps none."""

from __future__ import annotations

from collections.abc import Iterator

from elspeth.contracts.enums import Determinism
from elspeth.contracts.plugins import JsonObject, PluginOptions, Sink, Source, SourceOptions, StagedOutput
from elspeth.contracts.rows import InvalidRow, RowData

__all__ = ["NullSink", "NullSource"]


class NullSource(Source):
    """No rows at all; for trying out a pipeline."""

    name = "null"
    plugin_version = "1.0.0"
    determinism = Determinism.DETERMINISTIC
    options_model = SourceOptions

    def read(self) -> Iterator[RowData | InvalidRow]:
        """Yield nothing."""
        return iter(())


class NullSink(Sink):
    """Rows are recorded in the audit trail and written nowhere."""

    name = "null"
    plugin_version = "1.0.0"
    determinism = Determinism.DETERMINISTIC
    options_model = PluginOptions

    def open(self, staging_name: str) -> None:
        """Do nothing."""

    def write(self, row: RowData) -> None:
        """Discard the row."""

    def sync(self) -> None:
        """Do nothing."""

    def position(self) -> JsonObject:
        """Return an empty position."""
        return {}

    def reopen(self, staging_name: str, position: JsonObject) -> None:
        """Do nothing."""

    def finish(self) -> StagedOutput | None:
        """Return None, as there is no output."""
        return None

    def publish(self) -> None:
        """Do nothing."""

    def confirm(self, staging_name: str, output: StagedOutput) -> bool:  # noqa: ARG002  there is no output
        """Return True, as nothing can be missing."""
        return True

    def close(self) -> str | None:
        """Return None, as nothing is staged."""
        return None

    def discard(self) -> None:
        """Do nothing."""

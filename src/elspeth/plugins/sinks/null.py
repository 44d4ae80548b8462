"""A sink that keeps nothing."""

from __future__ import annotations

from elspeth.contracts.enums import Determinism
from elspeth.contracts.plugins import Row, StagedOutput
from elspeth.plugins.base import PluginOptions, Sink

__all__ = ["NullSink"]


class NullSink(Sink):
    """Rows are recorded in the audit trail and written nowhere."""

    name = "null"
    plugin_version = "1.0.0"
    determinism = Determinism.DETERMINISTIC
    options_model = PluginOptions

    def open(self, staging_name: str) -> None:
        """Nothing to prepare."""

    def write(self, row: Row) -> None:
        """Forget the row."""

    def sync(self) -> None:
        """Nothing to make durable."""

    def finish(self) -> StagedOutput | None:
        """No output."""
        return None

    def publish(self) -> None:
        """Nothing to show."""

    def close(self) -> str | None:
        """Nothing stays staged."""
        return None

    def discard(self) -> None:
        """Nothing to remove."""

"""Transforms that take time, for the benchmark of shared runs."""

from __future__ import annotations

import hashlib
import time

from elspeth.contracts.plugins import Transform
from elspeth.contracts.rows import RowData

__all__ = ["HashTransform", "WaitTransform"]

_BLOCK = b"x" * 1_000_000
_COMPUTING_S = 0.005
_WAITING_S = 0.05


class HashTransform(Transform):
    """Hashes for five milliseconds of processor time."""

    name = "hash"
    plugin_version = "1"

    def process(self, row: RowData) -> RowData:
        """Return the row after a while."""
        end = time.process_time() + _COMPUTING_S
        while time.process_time() < end:
            hashlib.sha256(_BLOCK[:20_000]).digest()
        return row


class WaitTransform(Transform):
    """Waits for fifty milliseconds."""

    name = "wait"
    plugin_version = "1"

    def process(self, row: RowData) -> RowData:
        """Return the row after a while."""
        time.sleep(_WAITING_S)
        return row

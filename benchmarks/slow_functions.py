"""Functions that take time, for the benchmark of shared runs."""

from __future__ import annotations

import hashlib
import time

__all__ = ["compute", "wait"]

_BLOCK = b"x" * 20_000
_COMPUTING_S = 0.005
_WAITING_S = 0.05


def compute(row: dict[str, object]) -> dict[str, object]:
    """Return the row after five milliseconds of hashing."""
    end = time.process_time() + _COMPUTING_S
    while time.process_time() < end:
        hashlib.sha256(_BLOCK).digest()
    return row


def wait(row: dict[str, object]) -> dict[str, object]:
    """Return the row after fifty milliseconds."""
    time.sleep(_WAITING_S)
    return row

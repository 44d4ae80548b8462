"""A function for settings, slow enough to be killed."""

from __future__ import annotations

import time


def double(row: dict[str, object]) -> dict[str, object]:
    """Return the row with its id twice, after two milliseconds."""
    time.sleep(0.002)
    return {**row, "twice": f"{row['id']}{row['id']}"}

"""The options for the records that a page holds.

It is separate because importing `embedding` takes long.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Embed"]


class Embed(StrEnum):
    """Which records a page holds."""

    ALL = "all"
    FAILURES = "failures"
    NONE = "none"

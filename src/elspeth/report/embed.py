"""The choice of records that a page holds.

It is apart from the choosing, which takes long to import.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Embed"]


class Embed(StrEnum):
    """Which records a page holds."""

    ALL = "all"
    FAILURES = "failures"
    NONE = "none"

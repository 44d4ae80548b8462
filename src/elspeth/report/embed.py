"""The options for the records that a page holds.

A module of its own, because `embedding` takes long to import.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Embed"]


class Embed(StrEnum):
    """Which records a page holds."""

    ALL = "all"
    FAILURES = "failures"
    NONE = "none"

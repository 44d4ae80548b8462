"""Suggests the known word that somebody may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["did_you_mean", "nearest"]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a hint at the nearest known word, or ""."""
    near = nearest(word, known)
    return "" if near is None else f"; did you mean {near!r}?"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word most like this one."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1)), None)

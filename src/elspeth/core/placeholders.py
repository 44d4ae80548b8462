"""Placeholders in paths of outputs: `{run_id}` and `{date}`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from elspeth.core.suggestions import did_you_mean

__all__ = ["fill_placeholders", "has_placeholders", "placeholder_problem", "placeholder_values"]

_NAMES = ("run_id", "date")
_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


def placeholder_values(run_id: str, started_at: datetime) -> dict[str, str]:
    """Return the values of placeholders for a run.

    The date is the day in UTC on which the run began.
    """
    return {"run_id": run_id, "date": started_at.astimezone(UTC).date().isoformat()}


def has_placeholders(path: str) -> bool:
    """Return whether the path has placeholders or doubled braces."""
    return _PIECE.search(path) is not None


def fill_placeholders(path: str, values: Mapping[str, str]) -> str:
    """Return the path with values for its placeholders.

    Raises KeyError for an unknown placeholder.
    """
    return _PIECE.sub(lambda piece: piece[0][0] if piece[1] is None else values[piece[1]], path)


def placeholder_problem(path: str) -> str | None:
    """Return the problem of a path's braces, or None."""
    for piece in _PIECE.finditer(path):
        if piece[0] in ("{", "}"):
            return f"has a single {piece[0]!r}: write {piece[0] * 2!r} for the character itself"
        if piece[1] is not None and piece[1] not in _NAMES:
            known = ", ".join(f"{{{name}}}" for name in _NAMES)
            hint = did_you_mean(piece[1], _NAMES)
            return f"unknown placeholder {piece[0]}: expected one of {known}; write '{{{{' for a brace{hint}"
    return None

"""Conversions of stored and exported values to those of contracts.

Each returns a value that it cannot convert unchanged: the check of the contract then names the problem.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

__all__ = ["boolean", "exported_time", "real", "time"]

_BOOLEANS: Mapping[object, bool] = {0: False, 1: True}


def boolean(value: Any) -> Any:
    """Return 0 and 1 as booleans."""
    return _BOOLEANS.get(value, value)


def real(value: Any) -> Any:
    """Return a number as a float, zero without sign.

    Canonical JSON writes -0.0 as 0 (RFC 8785, section 3.2.2.3).
    """
    return value + 0.0 if isinstance(value, int | float) and not isinstance(value, bool) else value


def time(value: Any) -> Any:
    """Return a time in UTC.

    SQLite keeps text without a zone, which is UTC. PostgreSQL returns times in the session's zone.
    """
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        if not isinstance(moment, datetime):
            return value
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return value


def exported_time(value: Any) -> Any:
    """Return the time of an export's `YYYY-MM-DDTHH:MM:SS.ffffffZ`.

    Any other spelling stays text.
    """
    if not isinstance(value, str):
        return value
    try:
        moment = datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError):
        return value
    return moment if moment.isoformat(timespec="microseconds").replace("+00:00", "Z") == value else value

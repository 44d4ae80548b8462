"""How far a run has come, for the person who decides whether to resume it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from elspeth.cli.text import aligned
from elspeth.engine.resumption import Stand

__all__ = ["stand_as_data", "stand_as_text"]


def stand_as_text(stand: Stand) -> str:
    """The stand for people."""
    return aligned(_lines(stand))


def stand_as_data(stand: Stand) -> dict[str, object]:
    """The stand for programs."""
    return asdict(stand)


def _lines(stand: Stand) -> Iterator[tuple[str, str]]:
    yield "run", stand.run_id
    yield "status", stand.status
    yield "rows recorded", f"{stand.rows:,}"
    yield "waiting", f"{stand.waiting:,}"
    for reason in stand.reasons:
        yield "stopped by", reason

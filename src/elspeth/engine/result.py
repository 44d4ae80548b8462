"""What a run reports: counts while it goes on, and a summary at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from elspeth.contracts.enums import RowOutcome

__all__ = ["Ending", "Progress", "RunResult", "count_by_outcome", "count_by_sink"]

Ending = tuple[RowOutcome, str | None]
"""How a token ended, and the name of the sink that has it, if one does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a run stands. `fraction` is how much of the source has been read, from 0 to 1, where that is known."""

    rows: int
    fraction: float | None
    endings: Mapping[Ending, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """The summary of a completed run. `exported_records` is None when no export was asked for.

    `differences` is the number of answers from outside that were not those of a recorded run, None when they were not
    compared.
    """

    run_id: str
    rows: int
    rows_by_sink: Mapping[str, int]
    failed: int
    quarantined: int
    export_path: str | None = None
    exported_records: int | None = None
    differences: int | None = None


def count_by_sink(endings: Mapping[Ending, int]) -> Counter[str]:
    """Rows per sink."""
    counts: Counter[str] = Counter()
    for (_, sink), count in endings.items():
        if sink is not None:
            counts[sink] += count
    return counts


def count_by_outcome(endings: Mapping[Ending, int]) -> Counter[RowOutcome]:
    """Rows per outcome."""
    counts: Counter[RowOutcome] = Counter()
    for (outcome, _), count in endings.items():
        counts[outcome] += count
    return counts

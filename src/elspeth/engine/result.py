"""What a run reports: counts while it goes on, and a summary at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from elspeth.contracts.enums import RowOutcome

__all__ = ["Ending", "Phase", "Progress", "Reason", "RunResult", "count_by_outcome", "count_by_sink"]

Ending = tuple[RowOutcome, str | None]
"""How a token ended, and the name of the sink that has it, if one does."""


class Phase(StrEnum):
    """What a run does, in this order; the last only if the settings ask for it."""

    ROWS = "rows"
    PROOF = "proof"
    PUBLISH = "publish"
    SEAL = "seal"
    EXPORT = "export"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a run stands with its rows.

    `rows_before` of them were recorded before this process began. `fraction` is how much of the source has been read,
    from 0 to 1, where that is known.
    """

    rows: int
    rows_before: int
    fraction: float | None
    endings: Mapping[Ending, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why tokens failed at a node: how many for this reason, and the first row of them.

    `kind` is the type of the error. In `message`, N stands for numbers that differ from row to row.
    """

    node: str
    kind: str
    message: str
    count: int
    row: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """The summary of a completed run. `exported_records` is None when no export was asked for.

    `rows` are those of the source; what follows counts tokens, of which a row may have become several, but for
    `rows_with_failures`: rows of which a token failed or was quarantined. `arrived` are the tokens that came to a sink
    otherwise. `reasons` are the most frequent ones. `refused_by_sink` holds the sinks that took no row, with the number
    of those that they refused. `differences` is the number of answers from outside that were not those of a recorded
    run, None when they were not compared; `differing_rows` are the first rows of the source that got one.
    """

    run_id: str
    rows: int
    rows_by_sink: Mapping[str, int]
    arrived: int
    failed: int
    quarantined: int
    rows_with_failures: int = 0
    reasons: Sequence[Reason] = ()
    refused_by_sink: Mapping[str, int] = field(default_factory=dict)
    export_path: str | None = None
    exported_records: int | None = None
    differences: int | None = None
    differing_rows: tuple[int, ...] = ()

    @property
    def problems(self) -> list[str]:
        """Why the run, although it is complete, did not do what it was for."""
        found = []
        if self.rows_with_failures and not self.arrived:
            how_many = f"{self.rows_with_failures:,} of {_counted(self.rows, 'row')}"
            found.append(f"no row got through: {how_many} failed or were quarantined")
        found += [
            f"sink {name!r} took no row: it refused {_counted(count, 'row')}"
            for name, count in self.refused_by_sink.items()
        ]
        if self.differences:
            found.append(f"answers that are not those of the recorded run: {self.differences:,}")
        return found


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


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

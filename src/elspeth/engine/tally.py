"""Counts the ends and visits of tokens."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from elspeth.contracts.enums import RowOutcome
from elspeth.contracts.events import log_event
from elspeth.core.settings.wiring import Place
from elspeth.engine.reporting import Ending

__all__ = ["Counts", "FailedVisit", "Tally"]


class FailedVisit(NamedTuple):
    """A failed visit, with its node's name as `step`."""

    place: Place
    step: str
    row_index: int
    kind: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The counts of a worker for a partition."""

    endings: Mapping[Ending, int]
    visits: int
    failures: Sequence[FailedVisit]


class Tally:
    """The ends of tokens, and the visits, of one process.

    `endings` are the counts to begin with. With `keeps_failures`, failed visits are not logged, but kept in `counts`
    for another process.
    """

    def __init__(self, endings: Mapping[Ending, int], *, keeps_failures: bool = False) -> None:
        self.visits = 0
        self._endings: Counter[Ending] = Counter(endings)
        self._failed: Counter[Place] = Counter()
        self._logged: set[tuple[Place, str]] = set()
        self._kept: list[FailedVisit] | None = [] if keeps_failures else None

    @property
    def endings(self) -> Mapping[Ending, int]:
        """Count the tokens that have ended, by outcome and sink."""
        return self._endings.copy()

    @property
    def failed_visits(self) -> Mapping[Place, int]:
        """Count the visits that failed."""
        return self._failed

    def end(self, outcome: RowOutcome, sink_name: str | None = None) -> None:
        """Count the end of a token."""
        self._endings[outcome, sink_name] += 1

    def fail(self, failed: FailedVisit) -> None:
        """Count a failed visit, and log it.

        The first failure of its kind at a node is logged as a warning.
        """
        self._failed[failed.place] += 1
        if self._kept is not None:
            self._kept.append(failed)
            return
        what = (failed.place, failed.kind)
        level = logging.DEBUG if what in self._logged else logging.WARNING
        self._logged.add(what)
        message = f"row {failed.row_index} failed at {failed.step}: {failed.kind}: {failed.message}"
        log_event(level, "row_failed", message, step=failed.step, kind=failed.kind, row=failed.row_index)

    def counts(self) -> Counts:
        """Return everything counted, for another process."""
        return Counts(endings=self._endings, visits=self.visits, failures=self._kept or ())

    def add(self, counts: Counts) -> None:
        """Add what another process counted."""
        self._endings.update(counts.endings)
        self.visits += counts.visits
        for each in counts.failures:
            self.fail(each)

"""Limits the failures of a run, by the section `fail_if`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from fractions import Fraction

from elspeth.contracts.enums import RowOutcome
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.queries.problems import VisitCount, count_visits
from elspeth.core.settings.model import FailIfSettings, Limit
from elspeth.core.settings.wiring import Place
from elspeth.engine.errors import TooManyFailuresError
from elspeth.engine.pipeline import Pipeline
from elspeth.engine.reporting import Ending, count_by_outcome
from elspeth.engine.tally import Tally

__all__ = ["FailureLimits"]

_OUTCOMES = (RowOutcome.QUARANTINED, RowOutcome.FAILED)


class FailureLimits:
    """The limits of one run and of its steps.

    An absolute limit may be exceeded before the source has ended, a percentage can only be compared then.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        settings = pipeline.settings.fail_if or FailIfSettings()
        limits = {outcome: getattr(settings, outcome.value) for outcome in _OUTCOMES}
        self._limits: Mapping[RowOutcome, Limit] = {name: each for name, each in limits.items() if each is not None}
        self._steps = {place: (node.name, node.node_id) for place, node in pipeline.nodes.items()}
        self._step_limits: Mapping[Place, Limit] = {
            place: settings.steps[name] for place, (name, _) in self._steps.items() if name in settings.steps
        }
        every = [*self._limits.values(), *self._step_limits.values()]
        self._can_end_early = any(isinstance(each, int) for each in every)
        self._before: Counter[Place] = Counter()

    def restore(self, db: LandscapeDB, run_id: str) -> None:
        """Count the failures that an earlier process recorded."""
        if self._step_limits:
            self._before = Counter({place: each.failed for place, each in self._count_visits(db, run_id).items()})

    def find_certain(self, tally: Tally) -> str | None:
        """Return a limit that is exceeded already, or None."""
        if not self._can_end_early:
            return None
        by_outcome = count_by_outcome(tally.endings)
        for outcome, limit in self._limits.items():
            if isinstance(limit, int) and by_outcome[outcome] > limit:
                return _describe(outcome.value, f"{by_outcome[outcome]:,} {outcome.value}", limit)
        for place, limit in self._step_limits.items():
            failed = self._before[place] + tally.failed_visits.get(place, 0)
            if isinstance(limit, int) and failed > limit:
                return self._describe_step(place, f"{failed:,} failed", limit)
        return None

    def require(self, db: LandscapeDB, run_id: str, rows: int, endings: Mapping[Ending, int]) -> None:
        """Compare all failures with the limits, before anything is published.

        Raises TooManyFailuresError, which names each limit that is exceeded.
        """
        exceeded = [*self._exceeded(rows, endings), *self._exceeded_at_steps(db, run_id)]
        if exceeded:
            raise TooManyFailuresError(run_id, exceeded)

    def _exceeded(self, rows: int, endings: Mapping[Ending, int]) -> Iterator[str]:
        by_outcome = count_by_outcome(endings)
        for outcome, limit in self._limits.items():
            count = by_outcome[outcome]
            if _is_beyond(limit, count, rows):
                yield _describe(outcome.value, f"{count:,} of {rows:,} {outcome.value}", limit)

    def _exceeded_at_steps(self, db: LandscapeDB, run_id: str) -> Iterator[str]:
        visits = self._count_visits(db, run_id) if self._step_limits else {}
        for place, limit in self._step_limits.items():
            count = visits.get(place, VisitCount(0, 0))
            if _is_beyond(limit, count.failed, count.visits):
                yield self._describe_step(place, f"{count.failed:,} of {count.visits:,} failed", limit)

    def _count_visits(self, db: LandscapeDB, run_id: str) -> dict[Place, VisitCount]:
        places = {self._steps[place][1]: place for place in self._step_limits}
        return {places[node_id]: count for node_id, count in count_visits(db, run_id, places).items()}

    def _describe_step(self, place: Place, found: str, limit: Limit) -> str:
        name, _ = self._steps[place]
        return _describe(f"steps.{name}", found, limit)


def _is_beyond(limit: Limit, count: int, total: int) -> bool:
    if isinstance(limit, int):
        return count > limit
    return count > Fraction(limit.removesuffix("%")) * total / 100


def _describe(setting: str, found: str, limit: Limit) -> str:
    return f"fail_if.{setting} allows {limit}, got {found}"

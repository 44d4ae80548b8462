"""A stage of a command's work: how far it is, and how long it still takes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

__all__ = ["Clock", "Stage", "duration"]

Clock = Callable[[], float]


@dataclass(slots=True, kw_only=True)
class Stage:
    """A stage that has begun. `total` is in the same unit as `done`; None if it is not known.

    `details` are what else is known of it, the most important first.
    """

    name: str
    total: float | None = None
    clock: Clock = time.monotonic
    done: float = 0.0
    details: Sequence[str] = ()
    _began: float = field(init=False)
    _ended: float | None = field(init=False, default=None)
    _first: tuple[float, float] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._began = self.clock()

    def update(self, done: float, total: float | None = None, details: Sequence[str] = ()) -> None:
        """Take note of how far the work is. What was done before the first update does not count for its speed."""
        if self._first is None:
            self._first = (self.clock(), done)
        self.done, self.total, self.details = done, self.total if total is None else total, details

    def end(self) -> None:
        """Stop the clock."""
        if self._ended is None:
            self._ended = self.clock()
        self.done = self.done if self.total is None else self.total

    @property
    def is_ended(self) -> bool:
        """Whether the clock stands."""
        return self._ended is not None

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning, or until the end."""
        return (self.clock() if self._ended is None else self._ended) - self._began

    @property
    def fraction(self) -> float | None:
        """How much is done, from 0 to 1; None if that is not known."""
        return None if not self.total else min(1.0, self.done / self.total)

    @property
    def remaining(self) -> float | None:
        """Seconds until the end at the speed so far; None if that is not known, and at the end."""
        if self.is_ended or not self.total or self._first is None:
            return None
        since, before = self._first
        done, seconds = self.done - before, self.clock() - since
        return None if done <= 0 or seconds <= 0 else max(0.0, self.total - self.done) * seconds / done

    def as_line(self) -> str:
        """Return the stage as a line for a log."""
        parts = list(self.details)
        if self.fraction is not None:
            parts.append(f"{math.floor(100 * self.fraction)} %")
        parts.append(duration(self.elapsed))
        if self.remaining is not None:
            parts.append(f"{duration(self.remaining)} left")
        return f"{self.name}: {', '.join(parts)}"


def duration(seconds: float) -> str:
    """Return seconds as hours, minutes and seconds."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"

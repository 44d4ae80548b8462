"""Partitions: the rows that are processed and committed together."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from logging import LogRecord

from elspeth.contracts.rows import InvalidRow, RowData
from elspeth.core.landscape.records.store import WaitingRows
from elspeth.core.settings.model import CheckpointSettings
from elspeth.core.settings.wiring import Place
from elspeth.engine.tally import Counts, Tally
from elspeth.engine.tokens import Onward

__all__ = ["PARTITION_ROWS", "Bounds", "OpenPartition", "Partition", "ProcessedPartition", "choose_bounds"]

PARTITION_ROWS = 500  # the most rows per commit, which are held in memory, and repeated after a crash
_PARTITION_VISITS = 10_000  # commit earlier after this many visits, so that expanding rows do not fill the memory
_PARTITION_SECONDS = 2.0  # commit earlier after this time, so that little slow work is lost, such as external calls


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The bounds of partitions; results do not depend on them."""

    rows: int
    visits: int
    seconds: float


def choose_bounds(settings: CheckpointSettings) -> Bounds:
    """Return the bounds of partitions by the settings."""
    rows = PARTITION_ROWS
    if settings.frequency == "every_row":
        rows = 1
    elif settings.frequency == "every_n":
        rows = settings.checkpoint_interval or PARTITION_ROWS
    return Bounds(rows=rows, visits=_PARTITION_VISITS, seconds=_PARTITION_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """Consecutive rows of one source.

    `first` is the index of the first row among the rows of all sources.
    """

    source: Place
    first: int
    rows: Sequence[RowData | InvalidRow]

    def __str__(self) -> str:
        """Name the rows in a message."""
        last = self.first + len(self.rows) - 1
        return f"row {self.first}" if last == self.first else f"rows {self.first} to {last}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessedPartition:
    """The result of a worker for a partition.

    The worker processed the first `rows` rows in `seconds`. `records` are to be inserted. `handed` holds the tokens for
    ordered steps, by row. `last_token_id` is the token of the last row. `usage` is the cost of calls.
    """

    rows: int
    records: WaitingRows
    handed: Sequence[Onward]
    last_token_id: str
    counts: Counts
    usage: Mapping[str, int]
    seconds: float
    worker: str
    log: Sequence[LogRecord] = ()


@dataclass(slots=True, kw_only=True)
class OpenPartition:
    """A partition that takes rows.

    `visits` and `began` are the number of visits and the time at its beginning.
    """

    tally: Tally
    bounds: Bounds
    visits: int
    began: float = field(default_factory=time.monotonic)
    rows: int = 0

    @classmethod
    def begin(cls, tally: Tally, bounds: Bounds) -> OpenPartition:
        """Begin a partition now."""
        return cls(tally=tally, bounds=bounds, visits=tally.visits)

    def is_full(self) -> bool:
        """Return whether it is time to commit."""
        bounds = self.bounds
        return (
            self.rows >= bounds.rows
            or self.tally.visits - self.visits >= bounds.visits
            or (self.rows > 0 and time.monotonic() - self.began >= bounds.seconds)
        )

"""Loading rows in groups that are committed together.

With each group a checkpoint is committed, so that the run can be resumed from there.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import cast

from elspeth.contracts.enums import OperationStatus, OperationType
from elspeth.contracts.plugins import Source
from elspeth.contracts.rows import InvalidRow, RowData
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.secrets import Mask
from elspeth.core.settings.wiring import Place
from elspeth.engine.calls.external import ExternalCalls
from elspeth.engine.errors import ResumeError, RunInterruptedError, TooManyFailuresError, blame
from elspeth.engine.limits import FailureLimits
from elspeth.engine.origins import InputRecorder
from elspeth.engine.pipeline import Pipeline
from elspeth.engine.processor import Clock, RowProcessor
from elspeth.engine.publishing import SinkSet
from elspeth.engine.reporting import Ending, Observer, Phase, Progress
from elspeth.engine.start import Start, skip_recorded_rows
from elspeth.engine.trail import TrailWriter

__all__ = ["RowLoader"]

GROUP_ROWS = 500  # rows per commit: what a run holds in memory, and what a crash makes it do again at most
_GROUP_VISITS = 10_000  # a commit comes early after this many visits: rows that multiply must not fill the memory
_GROUP_SECONDS = 2.0  # and after this time: slow work, such as answers of external systems, must not be lost


class RowLoader:
    """Loads the rows that a run still lacks."""

    def __init__(
        self,
        db: LandscapeDB,
        recorder: LandscapeRecorder,
        pipeline: Pipeline,
        start: Start,
        observer: Observer,
        *,
        mask: Mask,
    ) -> None:
        self._db = db
        self._recorder = recorder
        self._pipeline = pipeline
        self._settings = pipeline.settings.checkpoint
        self._start = start
        self._observer = observer
        self._trail = TrailWriter(recorder, start, pipeline)
        self._limits = FailureLimits(pipeline)
        self._inputs = InputRecorder(recorder, pipeline, start.run_id, mask)
        self._operation_id: str | None = None
        self._source: Place | None = None
        self._remaining = deque(place for place in pipeline.sources if place not in start.loaded)
        self._rows = start.rows
        self._source_rows = 0
        self._endings = start.endings
        self._checkpoints = start.checkpoints
        self._last_token_id = start.last_token_id

    @property
    def rows(self) -> int:
        """Count the rows that are recorded."""
        return self._rows

    @property
    def endings(self) -> Mapping[Ending, int]:
        """Count the recorded ends of tokens."""
        return self._endings

    @property
    def interruption(self) -> str:
        """Return the message of an interruption at this row."""
        return f"run {self._start.run_id} was interrupted after {self._rows:,} rows"

    def begin(self) -> None:
        """Begin the load operation of the next source, if any."""
        self._operation_id = self._source = None
        if self._remaining:
            self._source = self._remaining.popleft()
            node_id = self._pipeline.nodes[self._source].node_id
            operation = self._recorder.begin_operation(self._start.run_id, node_id, OperationType.SOURCE_LOAD)
            self._operation_id = operation.operation_id

    def record_failure(self, reason: str) -> None:
        """Record the load operation as failed, if it is open."""
        if self._operation_id is not None:
            self._recorder.complete_operation(
                self._operation_id, OperationStatus.FAILED, run_id=self._start.run_id, error=reason
            )

    def record_unfinished_inputs(self) -> None:
        """Record the inputs of an unfinished source."""
        self._inputs.record_rest()

    def load(self, sinks: SinkSet, external: ExternalCalls | None, clock: Clock) -> None:
        """Take the rows through the pipeline to the last one.

        Raises RunInterruptedError, after a commit, if the observer wants the run to stop.
        """
        if self._operation_id is None:
            return
        processor = RowProcessor(self._trail, self._pipeline, sinks, external=external, clock=clock)
        processor.restore(self._pipeline, self._start.held)
        self._limits.restore(self._db, self._start.run_id)
        self._observer.begin(Phase.ROWS)
        while self._source is not None:
            self._load_source(self._source, processor, sinks)
        self._endings = self._trail.endings

    def _load_source(self, place: Place, processor: RowProcessor, sinks: SinkSet) -> None:
        """Take the rows of one source through the pipeline.

        A crash before the last commit leaves its load operation open; after it, that of the next source.
        """
        source = self._pipeline.sources[place]
        self._inputs.begin(place)
        self._source_rows = self._start.rows_by_source.get(place, 0)
        with _reading(source) as items:
            limited = islice(items, self._pipeline.settings.limit)
            remaining = skip_recorded_rows(limited, self._db, self._start, self._pipeline, place)
            for rows in _in_groups(remaining, source):
                self._inputs.compare()
                waiting = deque(rows)
                while waiting:
                    self._load_group(place, processor, sinks, waiting)
                    if (problem := self._exceeded_limit()) is not None:
                        raise TooManyFailuresError(self._start.run_id, [problem])
                    if self._observer.wants_stop():
                        raise RunInterruptedError(self.interruption)
        self._inputs.compare()
        with self._recorder.unit_of_work():
            self._inputs.record(is_end=True)
            if not self._remaining:
                processor.end()
            sinks.sync()
            self._record_checkpoint(place, sinks, None)
            self._recorder.complete_operation(
                cast("str", self._operation_id),
                OperationStatus.COMPLETED,
                run_id=self._start.run_id,
                output_data={"rows": self._source_rows},
            )
            self.begin()

    def _load_group(
        self, place: Place, processor: RowProcessor, sinks: SinkSet, waiting: deque[RowData | InvalidRow]
    ) -> None:
        """Process and commit rows, fewer if they take long.

        A crash before the commit leaves staged rows that no record names; after it, rows that are recorded and durable.
        A failure inside discards the records of the whole group, for its staged rows may be lost.
        """
        group = self._group(processor)
        with self._recorder.unit_of_work():
            while waiting and not (group.rows and self._group_ends(group)):
                token_id = processor.process(place, self._rows + group.rows, waiting.popleft())
                group.rows += 1
            processor.settle()
            sinks.sync()
            self._record_checkpoint(place, sinks, token_id)
            if not waiting:
                self._inputs.record()
        self._rows += group.rows
        self._source_rows += group.rows
        self._endings = self._trail.endings
        if self._observer.on_rows is not None:
            self._observer.on_rows(
                Progress(
                    rows=self._rows,
                    rows_before=self._start.rows,
                    fraction=self._fraction_read(place),
                    endings=self._endings,
                )
            )

    def _group_ends(self, group: _Group) -> bool:
        return group.is_full() or self._observer.wants_stop() or self._exceeded_limit() is not None

    def _exceeded_limit(self) -> str | None:
        return self._limits.find_certain(self._trail)

    def require_limits(self) -> None:
        """Compare all failures with the limits of the settings.

        Raises TooManyFailuresError.
        """
        self._limits.require(self._db, self._start.run_id, self._rows, self._endings)

    def _fraction_read(self, place: Place) -> float | None:
        """Return the part of all sources that has been read.

        They count as if they were of one size.
        """
        fraction, limit = self._pipeline.sources[place].fraction_read(), self._pipeline.settings.limit
        if limit is not None:
            fraction = max(fraction or 0.0, self._source_rows / limit)
        if fraction is None:
            return None
        count = len(self._pipeline.sources)
        return (count - len(self._remaining) - 1 + fraction) / count

    def _group(self, processor: RowProcessor) -> _Group:
        settings, limit = self._settings, GROUP_ROWS
        if settings.frequency == "every_row":
            limit = 1
        elif settings.frequency == "every_n":
            limit = settings.checkpoint_interval or GROUP_ROWS
        return _Group(
            trail=self._trail,
            processor=processor,
            limit=limit,
            ends_with_batch=settings.frequency is not None and settings.aggregation_boundaries,
            visits=self._trail.visits,
            batches=processor.batches,
            began=time.monotonic(),
        )

    def _record_checkpoint(self, place: Place, sinks: SinkSet, token_id: str | None) -> None:
        """Record how far the sinks have come, and what waits.

        `token_id` is that of the last row, or None at the end of the source at `place`.
        """
        self._last_token_id = token_id or self._last_token_id
        if not self._settings.enabled or self._last_token_id is None:
            return
        self._checkpoints += 1
        self._recorder.create_checkpoint(
            self._start.run_id,
            self._last_token_id,
            self._pipeline.nodes[place].node_id,
            self._checkpoints,
            sink_state=sinks.state(),
        )
        self._trail.record_items()


@dataclass(slots=True, kw_only=True)
class _Group:
    """The rows that will be committed together.

    `visits` and `batches` are the counts at which the group began.
    """

    trail: TrailWriter
    processor: RowProcessor
    limit: int
    ends_with_batch: bool
    visits: int
    batches: int
    began: float
    rows: int = 0

    def is_full(self) -> bool:
        """Return whether it is time to commit.

        The results of a run do not depend on it.
        """
        return (
            self.rows >= self.limit
            or self.trail.visits - self.visits >= _GROUP_VISITS
            or (self.ends_with_batch and self.processor.batches > self.batches)
            or (self.rows > 0 and time.monotonic() - self.began >= _GROUP_SECONDS)
        )


@contextmanager
def _reading(source: Source) -> Iterator[Iterator[RowData | InvalidRow]]:
    """Yield the rows of a source, and close it afterwards."""
    items = source.read()
    try:
        yield items
    finally:
        if isinstance(items, Generator):
            items.close()


def _in_groups(items: Iterator[RowData | InvalidRow], source: Source) -> Iterator[list[RowData | InvalidRow]]:
    """Yield rows in groups.

    If the source fails, the rows before the error come first.
    """
    failure: Exception | None = None
    while failure is None:
        group: list[RowData | InvalidRow] = []
        try:
            for item in islice(items, GROUP_ROWS):
                group.append(item)  # noqa: PERF402  what came before an error must not be lost
        except ResumeError as error:
            failure = error
        except Exception as error:  # noqa: BLE001  a plugin may fail in any way
            failure = blame("source", source.name, error)
        if group:
            yield group
        elif failure is None:
            return
    raise failure

"""Loads rows in partitions, which are committed one by one.

A checkpoint is committed with each partition, so that the run can be resumed from there. A partition is processed by
this process or by a worker, with the same results.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from itertools import islice
from typing import cast

from elspeth.contracts.enums import OperationStatus, OperationType
from elspeth.contracts.errors import format_count
from elspeth.contracts.plugins import CallingSource, Source
from elspeth.contracts.rows import InvalidRow, RowData
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.secrets import Mask
from elspeth.core.settings.wiring import Place
from elspeth.engine.calls.external import ExternalCalls
from elspeth.engine.calls.of_sources import SourceCalls
from elspeth.engine.errors import PLUGIN_ERRORS, ResumeError, RunInterruptedError, TooManyFailuresError, blame
from elspeth.engine.limits import FailureLimits
from elspeth.engine.origins import InputRecorder
from elspeth.engine.partitions import Bounds, OpenPartition, ProcessedPartition, choose_bounds
from elspeth.engine.pipeline import Pipeline
from elspeth.engine.processor import Clock, RowProcessor
from elspeth.engine.publishing import SinkSet
from elspeth.engine.reporting import Ending, Observer, Phase, Progress
from elspeth.engine.resuming import skip_recorded_rows
from elspeth.engine.sharing import SharedRows
from elspeth.engine.start import Start
from elspeth.engine.trail import TrailWriter

__all__ = ["RowLoader"]

_Items = deque[RowData | InvalidRow]
_Fill = Callable[[], tuple[int, str]]
"""A function that processes rows inside a unit of work, and returns their number and the last token's id."""


class RowLoader:
    """Loads the remaining rows of a run."""

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
        self._bounds = choose_bounds(self._settings)
        self._start = start
        self._observer = observer
        self._trail = TrailWriter(recorder, start, pipeline)
        self._limits = FailureLimits(pipeline)
        self._inputs = InputRecorder(recorder, pipeline, start.run_id, mask)
        self._operation_id: str | None = None
        self._read: deque[tuple[int, int]] = deque()
        """For each group of rows that was read, the number of rows, and of inputs, up to its end."""
        self._external: ExternalCalls | None = None
        self._calls: SourceCalls | None = None
        self._source: Place | None = None
        self._remaining = deque(place for place in pipeline.sources if place not in start.loaded)
        self._rows = start.rows
        self._source_rows = 0
        self._endings = start.endings
        self._checkpoints = start.checkpoints
        self._last_token_id = start.last_token_id

    @property
    def bounds(self) -> Bounds:
        """The bounds at which a partition ends."""
        return self._bounds

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
        """Return the message about an interruption at this row."""
        return f"run {self._start.run_id} was interrupted after {format_count(self._rows, 'row')}"

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
        if self._calls is not None:
            self._calls.record_rest()
        if self._operation_id is not None:
            self._recorder.complete_operation(
                self._operation_id, OperationStatus.FAILED, run_id=self._start.run_id, error=reason
            )

    def record_unfinished_inputs(self) -> None:
        """Record the inputs of an unfinished source."""
        self._inputs.record_rest()

    def require_no_stop(self) -> None:
        """Raise RunInterruptedError if the observer wants the run to stop."""
        if self._observer.wants_stop():
            raise RunInterruptedError(self.interruption)

    def load(
        self, sinks: SinkSet, external: ExternalCalls | None, clock: Clock, shared: SharedRows | None = None
    ) -> None:
        """Take all remaining rows through the pipeline.

        With `shared`, workers execute the row-local steps. Raises RunInterruptedError, after a commit, if the observer
        wants the run to stop.
        """
        if self._operation_id is None:
            return
        self._external = external
        processor = RowProcessor(self._trail, self._pipeline, sinks, external=external, clock=clock)
        processor.restore(self._pipeline, self._start.held)
        self._limits.restore(self._db, self._start.run_id)
        self._observer.begin(Phase.ROWS)
        while self._source is not None:
            self._load_source(self._source, processor, sinks, shared)
        self._endings = self._trail.tally.endings

    def _load_source(self, place: Place, processor: RowProcessor, sinks: SinkSet, shared: SharedRows | None) -> None:
        """Take the rows of one source through the pipeline.

        A crash before the last commit leaves the load operation of this source open; a crash after it leaves that of
        the next source open.
        """
        source = self._pipeline.sources[place]
        self._inputs.begin(place)
        self._calls = self._calls_of(place)
        self._source_rows = self._start.rows_by_source.get(place, 0)
        with _reading(source) as items:
            limited = islice(items, self._pipeline.settings.limit)
            remaining = skip_recorded_rows(limited, self._db, self._start, self._pipeline, place)
            groups = self._compared(_in_groups(remaining, source, self._bounds.rows))
            with closing(self._partitions(place, processor, groups, shared)) as partitions:
                for fill in partitions:
                    self._commit(place, processor, sinks, fill)
                    if (problem := self._exceeded_limit()) is not None:
                        raise TooManyFailuresError(self._start.run_id, [problem])
                    self.require_no_stop()
        self._inputs.compare()
        with self._recorder.unit_of_work():
            self._inputs.record()
            if self._calls is not None:
                self._calls.record()
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
        self._calls = None

    def _calls_of(self, place: Place) -> SourceCalls | None:
        """Return what answers a calling source, or None."""
        source = self._pipeline.sources[place]
        if not isinstance(source, CallingSource) or self._external is None:
            return None
        return SourceCalls(
            source,
            self._external,
            self._db,
            self._recorder,
            run_id=self._start.run_id,
            node_id=self._pipeline.nodes[place].node_id,
            operation_id=cast("str", self._operation_id),
            check=self.require_no_stop,
        )

    def _compared(self, groups: Iterator[list[RowData | InvalidRow]]) -> Iterator[list[RowData | InvalidRow]]:
        """Yield groups of rows, comparing the inputs read.

        The number of inputs that end in each group is noted, because rows are read before earlier rows are committed.
        """
        self._read.clear()
        end = self._rows
        for rows in groups:
            self._inputs.compare()
            end += len(rows)
            self._read.append((end, self._inputs.complete))
            yield rows

    def _record_inputs(self, rows: int) -> None:
        """Record the inputs whose rows are among the first rows."""
        while self._read and self._read[0][0] <= rows:
            self._inputs.record(self._read.popleft()[1])

    def _partitions(
        self,
        place: Place,
        processor: RowProcessor,
        groups: Iterator[list[RowData | InvalidRow]],
        shared: SharedRows | None,
    ) -> Generator[_Fill, None, None]:
        """Yield a function that processes each partition, in order."""
        if shared is None:
            for rows in groups:
                yield from self._partitions_here(place, processor, rows)
            return
        for partition, result in shared.process(place, self._rows, groups):
            if result is None:
                yield from self._partitions_here(place, processor, partition.rows)
            else:
                yield partial(self._accept, processor, result)

    def _partitions_here(
        self, place: Place, processor: RowProcessor, rows: Iterable[RowData | InvalidRow]
    ) -> Iterator[_Fill]:
        waiting = deque(rows)
        while waiting:
            yield partial(self._process, place, processor, waiting)

    def _process(self, place: Place, processor: RowProcessor, waiting: _Items) -> tuple[int, str]:
        """Process the rows of one partition."""
        partition, token_id, batches = OpenPartition.begin(self._trail.tally, self._bounds), "", processor.batches
        while waiting and not (partition.rows and self._ends(partition, has_batch=processor.batches > batches)):
            token_id = processor.process(place, self._rows + partition.rows, waiting.popleft())
            partition.rows += 1
        return partition.rows, token_id

    def _ends(self, partition: OpenPartition, *, has_batch: bool) -> bool:
        return (
            partition.is_full()
            or (has_batch and self._settings.frequency is not None and self._settings.aggregation_boundaries)
            or self._observer.wants_stop()
            or self._exceeded_limit() is not None
        )

    def _accept(self, processor: RowProcessor, result: ProcessedPartition) -> tuple[int, str]:
        """Record the result of a worker, and continue from it."""
        self._recorder.add_rows(result.records)
        self._trail.tally.add(result.counts)
        if self._external is not None:
            self._external.usage.update(result.usage)
        for handed in result.handed:
            processor.go_on(handed)
        return result.rows, result.last_token_id

    def _commit(self, place: Place, processor: RowProcessor, sinks: SinkSet, fill: _Fill) -> None:
        """Process and commit a partition.

        A crash before the commit leaves staged rows without records; a crash after it leaves rows that are recorded and
        durable. An error discards the records of the whole partition, because its staged rows may be lost.
        """
        with self._recorder.unit_of_work():
            rows, token_id = fill()
            processor.settle()
            sinks.sync()
            self._record_checkpoint(place, sinks, token_id)
            self._record_inputs(self._rows + rows)
            if self._calls is not None:
                self._calls.record()
        if self._calls is not None:
            self._calls.settle()
        self._rows += rows
        self._source_rows += rows
        self._endings = self._trail.tally.endings
        if self._observer.on_rows is not None:
            self._observer.on_rows(
                Progress(
                    rows=self._rows,
                    rows_before=self._start.rows,
                    fraction=self._fraction_read(place),
                    endings=self._endings,
                )
            )

    def _exceeded_limit(self) -> str | None:
        return self._limits.find_certain(self._trail.tally)

    def require_limits(self) -> None:
        """Compare all failures with the limits of the settings.

        Raises TooManyFailuresError if a limit is exceeded.
        """
        self._limits.require(self._db, self._start.run_id, self._rows, self._endings)

    def _fraction_read(self, place: Place) -> float | None:
        """Return the fraction of all sources that has been read.

        All sources count the same.
        """
        fraction, limit = self._pipeline.sources[place].fraction_read(), self._pipeline.settings.limit
        if limit is not None:
            fraction = max(fraction or 0.0, self._source_rows / limit)
        if fraction is None:
            return None
        count = len(self._pipeline.sources)
        return (count - len(self._remaining) - 1 + fraction) / count

    def _record_checkpoint(self, place: Place, sinks: SinkSet, token_id: str | None) -> None:
        """Record the positions of sinks, and the waiting items.

        `token_id` is the token of the last row, or None at the end of the source at `place`.
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


@contextmanager
def _reading(source: Source) -> Iterator[Iterator[RowData | InvalidRow]]:
    """Yield the rows of a source, and close it afterwards."""
    items = source.read()
    try:
        yield items
    finally:
        if isinstance(items, Generator):
            items.close()


def _in_groups(
    items: Iterator[RowData | InvalidRow], source: Source, size: int
) -> Iterator[list[RowData | InvalidRow]]:
    """Yield rows in groups of a size.

    If the source fails, the rows before the error are yielded first.
    """
    failure: Exception | None = None
    while failure is None:
        group: list[RowData | InvalidRow] = []
        try:
            for item in islice(items, size):
                group.append(item)  # noqa: PERF402  rows before an error must not be lost
        except (ResumeError, RunInterruptedError) as error:
            failure = error
        except PLUGIN_ERRORS as error:  # a plugin may fail in any way
            failure = blame("source", source.name, error)
        if group:
            yield group
        elif failure is None:
            return
    raise failure

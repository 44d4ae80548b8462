"""Shares the rows of a source among workers."""

from __future__ import annotations

import logging
import pickle
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, wait
from dataclasses import dataclass
from typing import Protocol

from elspeth.contracts.errors import recordable_message
from elspeth.contracts.events import log_event
from elspeth.contracts.rows import InvalidRow, RowData
from elspeth.core.landscape.recording.ids import other_tag
from elspeth.core.settings.wiring import Place
from elspeth.engine.errors import WorkerError
from elspeth.engine.partitions import Partition, ProcessedPartition
from elspeth.engine.workshop import Breakdown, RunContext, process_partition

__all__ = ["SharedRows", "Workers"]

_Items = Sequence[RowData | InvalidRow]

_FIRST_ROWS = 10
_SECONDS = 0.3  # the target time of a partition: long enough to be worth sending, short enough to stop soon
_GROWTH = 4
_AHEAD = 2  # partitions for each worker, so that none has to wait for the next one
_POLL_S = 0.1
_CAREFUL_AFTER = 2
_MOST_DEATHS = 5


class Workers(Protocol):
    """Processes that share the work of this process."""

    @property
    def count(self) -> int:
        """The number of workers."""

    @property
    def readers(self) -> Executor | None:
        """Return an executor whose processes can read the audit database.

        Returns None if the workers cannot do that.
        """

    def submit(self, work: Callable[[bytes, bytes], bytes], context: bytes, job: bytes, /) -> Future[bytes]:
        """Queue work for the next free worker.

        If the workers died, the future raises BrokenExecutor, and this method may, too.
        """

    def cancel(self, results: Sequence[Future[bytes]]) -> None:
        """Abandon work whose results are no longer needed."""

    def restart(self) -> None:
        """Start new workers in place of dead ones.

        Results that nobody has read are lost.
        """


@dataclass(slots=True)
class _Sent:
    """A partition, whose `result` is None until it is sent."""

    partition: Partition
    number: int
    result: Future[bytes] | None = None


class SharedRows:
    """Partitions of rows that workers process, in order.

    A partition has at least `least_rows`. `check` is called while a worker is awaited, and may raise.
    """

    def __init__(self, workers: Workers, context: RunContext, *, least_rows: int, check: Callable[[], None]) -> None:
        self._workers = workers
        self._context = _pickle_context(context)
        self._most_rows = context.bounds.rows
        self._least_rows = min(least_rows, self._most_rows)
        self._rows = min(max(_FIRST_ROWS, self._least_rows), self._most_rows)
        self._check = check
        self._number = 0
        self._deaths = 0
        self._waiting: deque[_Sent] = deque()

    def process(
        self, source: Place, first: int, groups: Iterator[_Items]
    ) -> Iterator[tuple[Partition, ProcessedPartition | None]]:
        """Yield partitions in the order of the source, with results.

        A result may cover only the first rows of a partition; the other rows then follow in another partition. The
        result is None for rows that cannot be sent, which the caller must process. `first` is the index of the first
        row. Raises WorkerError if workers cannot process rows. An error of the source is raised after the rows before
        it.
        """
        reader = _Reader(groups)
        try:
            while True:
                while len(self._waiting) <= _AHEAD * self._workers.count and (rows := reader.read(self._rows)):
                    self._waiting.append(self._number_next(Partition(source=source, first=first, rows=rows)))
                    first += len(rows)
                if not self._waiting:
                    break
                self._send()
                yield self._take_first()
        finally:
            self._workers.cancel([each.result for each in self._waiting if each.result is not None])
            self._waiting.clear()
        if reader.failure is not None:
            raise reader.failure

    def _number_next(self, partition: Partition) -> _Sent:
        self._number += 1
        return _Sent(partition, self._number)

    def _send(self) -> None:
        """Send the waiting partitions.

        After several workers died, only one partition is sent at a time.
        """
        for each in list(self._waiting)[: 1 if self._deaths >= _CAREFUL_AFTER else None]:
            if each.result is not None:
                continue
            try:
                job = pickle.dumps((each.partition, other_tag(each.number)))
            except Exception as error:  # noqa: BLE001  rows may hold anything
                _log_unsendable(each.partition, recordable_message(error))
                each.result = Future()
                each.result.set_result(b"")
                continue
            try:
                each.result = self._workers.submit(process_partition, self._context, job)
            except BrokenExecutor:
                each.result = None
                self._replace_workers()
                return

    def _take_first(self) -> tuple[Partition, ProcessedPartition | None]:
        """Wait for the oldest partition, and return its result."""
        while True:
            first = self._waiting[0]
            if first.result is None:
                self._send()
                continue
            while not wait([first.result], timeout=_POLL_S).done:
                self._check()
            try:
                answer = first.result.result()
            except BrokenExecutor:
                self._replace_workers()
                continue
            except Exception as error:
                kind = "" if isinstance(error, WorkerError) else f"{type(error).__name__}: "
                problem = f"{kind}{recordable_message(error)}"
                raise WorkerError(f"the workers did not process {first.partition}: {problem}") from error
            self._waiting.popleft()
            self._deaths = 0
            return first.partition, self._accept(first.partition, answer)

    def _accept(self, partition: Partition, answer: bytes) -> ProcessedPartition | None:
        outcome = pickle.loads(answer) if answer else None  # noqa: S301  from a worker of this process
        if isinstance(outcome, Breakdown):
            if not outcome.cannot_be_sent:
                message = f"worker {outcome.worker} did not process {partition}: {outcome.message}"
                raise WorkerError(message, is_defect=outcome.is_defect)
            _log_unsendable(partition, outcome.message)
            return None
        if isinstance(outcome, ProcessedPartition):
            for record in outcome.log:
                logging.getLogger(record.name).handle(record)
            self._choose_size(outcome)
            if rest := partition.rows[outcome.rows :]:
                left = Partition(source=partition.source, first=partition.first + outcome.rows, rows=rest)
                self._waiting.appendleft(self._number_next(left))
            return outcome
        return None

    def _choose_size(self, outcome: ProcessedPartition) -> None:
        fitting = int(_SECONDS * outcome.rows / max(outcome.seconds, 1e-6))
        self._rows = max(min(fitting, self._rows * _GROWTH, self._most_rows), self._least_rows, 1)

    def _replace_workers(self) -> None:
        """Start new workers, and send them the unprocessed partitions.

        Raises WorkerError if they die repeatedly at the same rows.
        """
        self._deaths += 1
        partition = self._waiting[0].partition
        if self._deaths > _MOST_DEATHS:
            raise WorkerError(
                f"the worker that processed {partition} died, and so did each that took its place: "
                "the machine may lack memory, or a plugin ends the process"
            )
        message = f"a worker died; {partition} and unfinished ones after it are processed again"
        log_event(logging.WARNING, "worker_died", message, first=partition.first, rows=len(partition.rows))
        for each in self._waiting:
            each.result = _arrived(each.result)
        self._workers.restart()


def _pickle_context(context: RunContext) -> bytes:
    try:
        return pickle.dumps(context)
    except Exception as error:
        problem = f"{type(error).__name__}: {recordable_message(error)}"
        message = f"the plugins of this pipeline cannot be sent to workers: {problem}; run it without workers"
        raise WorkerError(message) from error


def _arrived(result: Future[bytes] | None) -> Future[bytes] | None:
    """Return a result that has arrived, now read, or None."""
    if result is None or not result.done() or result.cancelled() or result.exception() is not None:
        return None
    result.result()  # it may be in a file, which the workers take with them
    return result


class _Reader:
    """Rows taken from groups.

    An error of the source ends the rows, and is kept.
    """

    def __init__(self, groups: Iterator[_Items]) -> None:
        self._groups = groups
        self._rows: deque[RowData | InvalidRow] = deque()
        self.failure: Exception | None = None

    def read(self, count: int) -> _Items:
        """Return up to `count` rows, none at the end."""
        while len(self._rows) < count and self.failure is None:
            try:
                group = next(self._groups, None)
            except Exception as error:  # noqa: BLE001  raised again after the rows before it
                self.failure = error
                break
            if group is None:
                break
            self._rows.extend(group)
        return [self._rows.popleft() for _ in range(min(count, len(self._rows)))]


def _log_unsendable(partition: Partition, why: str) -> None:
    message = f"{partition} cannot be sent to a worker and stay in this process: {why}"
    log_event(logging.DEBUG, "partition_kept", message, first=partition.first, rows=len(partition.rows))

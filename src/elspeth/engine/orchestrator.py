"""A run from its first record to its last.

1. Record the run, its nodes and edges.
2. Open the source and the sinks, each with an operation that says so.
3. Take rows through the pipeline in groups: stage, make durable, commit.
4. Prove that every row has ended.
5. Commit the names of the finished bytes, then publish them.
6. Complete the run, and export its audit trail if the settings ask for that.

Up to step 5 nothing is visible outside the audit database. A failure in any step is recorded, and what was recorded
before it stays.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import islice
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from elspeth.contracts.enums import OperationStatus, OperationType, RunStatus
from elspeth.contracts.errors import AuditIntegrityError
from elspeth.contracts.failures import recordable_message
from elspeth.contracts.plugins import InvalidRow, Row
from elspeth.core.landscape.database import LandscapeDB, LandscapeError
from elspeth.core.landscape.database.claim import Claim, RunClaimedError
from elspeth.core.landscape.queries.accounting import account_for
from elspeth.core.landscape.queries.recorded import count_rows
from elspeth.core.landscape.recording.base import new_id, now
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.landscape.sealing.seal import sealed_count
from elspeth.core.payload_store import FilesystemPayloadStore
from elspeth.core.settings import Settings
from elspeth.core.settings.placeholders import placeholder_values
from elspeth.engine.calls.caller import Outside
from elspeth.engine.calls.outside import outside_of
from elspeth.engine.checkpoints import GROUP_ROWS, Checkpoints
from elspeth.engine.errors import AccountingError, ExportFailedError, ResumeError, RunInterruptedError, blame
from elspeth.engine.export import export_after_run
from elspeth.engine.flow import Flow
from elspeth.engine.observer import Observer
from elspeth.engine.outputs import RunOutputs
from elspeth.engine.pipeline import Pipeline, named_for_run
from elspeth.engine.preflight import RunKeys
from elspeth.engine.processor import Clock, RowProcessor
from elspeth.engine.replayed import with_replayed_run
from elspeth.engine.result import Ending, Phase, Progress, RunResult, count_by_sink
from elspeth.engine.resumption import beginning_of, rows_after, take_up
from elspeth.engine.sinks import SinkSet
from elspeth.engine.start import Start, begin
from elspeth.engine.summary import summary_of
from elspeth.evidence.format.errors import EvidenceError
from elspeth.outputs.writing import Output
from elspeth.plugins.base import Source

__all__ = ["Observer", "Orchestrator"]

_DEFECTS = (AccountingError, AuditIntegrityError)  # to go on would only meet them again
_EXPORT_FAILURES = (
    *(AuditIntegrityError, EvidenceError, LandscapeError, SQLAlchemyError, OSError),
    *(RunInterruptedError, KeyboardInterrupt),
)


class Orchestrator:
    """Runs one pipeline, recording in one audit database: a new run, or the rest of one that stopped.

    The settings file is `known_as` this in messages. With `force` outputs replace files that are no earlier outputs.
    """

    def __init__(
        self,
        db: LandscapeDB,
        pipeline: Pipeline,
        keys: RunKeys,
        observer: Observer | None = None,
        *,
        known_as: str = "SETTINGS",
        force: bool = False,
        clock: Clock = time.monotonic,
    ) -> None:
        self._db = db
        self._force = force
        self._known_as = known_as
        self._recorder = LandscapeRecorder(
            db, payload_store=_payload_store(pipeline.settings), seal_signer=keys.seal_signer
        )
        self._pipeline = pipeline
        self._keys = keys
        self._observer = observer or Observer()
        self._clock = clock
        self._rows = self._rows_before = 0
        self._endings: Counter[Ending] = Counter()

    def run(self) -> RunResult:
        """Run the pipeline to its end. Whatever stops it is recorded with the run, and raised.

        OutputRefusedError if an output may not be written; no run is recorded then.
        """
        self._pipeline = with_replayed_run(self._db, self._pipeline)
        run_id, started_at = new_id(), now()
        outputs = self._name_outputs(run_id, started_at)
        with (
            outputs.held(judged=True),
            outside_of(self._pipeline, self._db) as outside,
            self._recorder.claimed(run_id) as claim,
        ):
            start = begin(self._recorder, self._pipeline, self._keys, run_id=run_id, started_at=started_at)
            return self._go_on(start, outside, claim, outputs)

    def resume(self, run_id: str) -> RunResult:
        """Take a run that stopped to its end, as `run` would have.

        Raises ResumeError, RunClaimedError or OutputRefusedError when that cannot be.
        """
        self._pipeline = with_replayed_run(self._db, self._pipeline, self._recorder.get_run(run_id))
        outputs = self._name_outputs(run_id, beginning_of(self._db, self._recorder, run_id))
        with (
            outside_of(self._pipeline, self._db) as outside,
            self._recorder.claimed(run_id) as claim,
            outputs.held(judged=False),
        ):
            start = take_up(self._db, self._recorder, self._pipeline, run_id)
            return self._go_on(start, outside, claim, outputs)

    def _name_outputs(self, run_id: str, started_at: datetime) -> RunOutputs:
        """Give the outputs the names that they have in this run."""
        values = placeholder_values(run_id, started_at)
        self._pipeline = named_for_run(self._pipeline, values)
        return RunOutputs.of(self._pipeline.settings, self._db, values, force=self._force)

    def _go_on(self, start: Start, outside: Outside | None, claim: Claim, outputs: RunOutputs) -> RunResult:
        run_id, self._endings = start.run_id, Counter(start.endings)
        self._rows = self._rows_before = start.rows
        sinks = SinkSet(self._recorder, start, outputs)
        loading = None
        try:
            outputs.judge(start)
            if not start.is_loaded:
                source_id = self._pipeline.source_node.node_id
                loading = self._recorder.begin_operation(run_id, source_id, OperationType.SOURCE_LOAD).operation_id
            sinks.open(self._pipeline)
            if loading is not None:
                self._load(start, sinks, outside, loading)
                loading = None
            advance = partial(self._observer.tell_or_stop, message=self._interrupted(run_id))
            self._prove_every_row_ended(run_id, advance)
            sinks.prove_complete(count_by_sink(self._endings))
            self._observer.begin(Phase.PUBLISH)
            sinks.publish(self._observer.tell)
            self._observer.begin(Phase.SEAL)
            with self._recorder.unit_of_work():
                sinks.record_published()
                self._recorder.finalize_run(run_id, RunStatus.COMPLETED, progress=advance)
        except BaseException as error:
            self._record_stop(start, sinks, loading, claim, error)
            raise
        summary = summary_of(self._db, self._pipeline, run_id, rows=self._rows, endings=self._endings, outside=outside)
        return self._exported(summary, outputs.export)

    def _load(self, start: Start, sinks: SinkSet, outside: Outside | None, loading_id: str) -> None:
        """Take the rows of the source through the pipeline, from where the run stands to the last one."""
        flow = Flow(self._recorder, start, self._pipeline)
        processor = RowProcessor(flow, self._pipeline, sinks, outside, self._clock)
        processor.restore(self._pipeline, start.held)
        checkpoints = Checkpoints(flow, self._pipeline, sinks, start)
        self._observer.begin(Phase.ROWS)
        with _reading(self._pipeline.source) as items:
            remaining = rows_after(items, self._db, start.run_id, start.rows)
            for group in _in_groups(remaining, self._pipeline.source):
                waiting = deque(group)
                while waiting:
                    self._process_group(flow, processor, sinks, checkpoints, waiting)
                    if self._observer.wants_stop():
                        raise RunInterruptedError(self._interrupted(flow.run_id))
        with self._recorder.unit_of_work():
            processor.end()
            sinks.sync()
            checkpoints.record(None)
            self._recorder.complete_operation(
                loading_id, OperationStatus.COMPLETED, run_id=start.run_id, output_data={"rows": self._rows}
            )
        self._count(flow, 0)

    def _process_group(
        self,
        flow: Flow,
        processor: RowProcessor,
        sinks: SinkSet,
        checkpoints: Checkpoints,
        waiting: deque[Row | InvalidRow],
    ) -> None:
        """Take rows through the pipeline and commit what is recorded of them: all, or fewer if they take long.

        A crash before the commit leaves staged rows that no record names; after it, rows that are recorded and durable.
        A failure inside discards the records of the whole group, for its staged rows may be lost.
        """
        group = checkpoints.group()
        with self._recorder.unit_of_work():
            while waiting and not group.is_full() and not (group.rows and self._observer.wants_stop()):
                token_id = processor.process(self._rows + group.rows, waiting.popleft())
                group.rows += 1
            processor.settle()
            sinks.sync()
            checkpoints.record(token_id)
        self._count(flow, group.rows)

    def _count(self, flow: Flow, rows: int) -> None:
        """Count what is recorded now, and tell who watches."""
        self._rows += rows
        self._endings = flow.endings
        if rows and self._observer.on_rows is not None:
            fraction = self._pipeline.source.fraction_read()
            self._observer.on_rows(
                Progress(rows=self._rows, rows_before=self._rows_before, fraction=fraction, endings=self._endings)
            )

    def _interrupted(self, run_id: str) -> str:
        return f"run {run_id} was interrupted after {self._rows:,} rows"

    def _prove_every_row_ended(self, run_id: str, progress: Callable[[int, int], None]) -> None:
        self._observer.begin(Phase.PROOF)
        account = account_for(self._db, run_id, progress=progress)
        if account.rows != self._rows:
            raise AccountingError(f"run {run_id}: expected {self._rows} recorded rows, got {account.rows}")
        if account.breaches:
            raise AccountingError(f"run {run_id}: {'; '.join(each.problem for each in account.breaches)}")

    def _record_stop(
        self, start: Start, sinks: SinkSet, loading_id: str | None, claim: Claim, error: BaseException
    ) -> None:
        """Record what stopped the run. The error is told what stays behind, for whoever reports it."""
        for place in sinks.abandon():
            error.add_note(f"Rows that were recorded as written are kept in {place}.")
        message = recordable_message(error) if isinstance(error, Exception) else ""
        run_id, reason = start.run_id, f"{type(error).__name__}: {message}"
        can_go_on = self._can_go_on(start, error)
        try:
            claim.renew()
            self._rows = count_rows(self._db, run_id)  # a commit that failed may have taken effect
            self._require_ours(run_id)
            can_go_on = can_go_on and self._rows > 0
            with self._recorder.unit_of_work():
                if loading_id is not None:
                    self._recorder.complete_operation(loading_id, OperationStatus.FAILED, run_id=run_id, error=reason)
                sinks.record_failure(reason)
                if can_go_on:
                    self._recorder.update_run_status(run_id, RunStatus.INTERRUPTED)
                else:
                    self._recorder.finalize_run(run_id, RunStatus.FAILED)
        except RunClaimedError as failure:
            error.add_note(f"What stopped this process is not recorded: {failure}.")
            return
        except (AuditIntegrityError, LandscapeError, SQLAlchemyError, OSError) as failure:
            error.add_note(f"The audit database still calls run {run_id} running: {failure}.")
        else:
            error.add_note(f"Run {run_id} is recorded as {'interrupted' if can_go_on else 'failed'}.")
        if can_go_on and self._rows:
            error.add_note(f"To go on from row {self._rows:,}: elspeth resume {run_id} -s {self._known_as} --execute")

    def _require_ours(self, run_id: str) -> None:
        """Raise RunClaimedError if the run is not at work any more, but stopped or ended."""
        run = self._recorder.get_run(run_id)
        if run is not None and run.status is not RunStatus.RUNNING:
            raise RunClaimedError(f"run {run_id} is {run.status} already")

    def _can_go_on(self, start: Start, error: BaseException) -> bool:
        """Return whether another attempt at a run may succeed, if rows of it are recorded.

        A defect stops every attempt; but what is refused in a run that was taken up may be due to its old owner.
        """
        settings = self._pipeline.settings
        is_defect = isinstance(error, _DEFECTS) and not start.rows
        return settings.landscape.enabled and settings.checkpoint.enabled and not is_defect

    def _exported(self, result: RunResult, output: Output | None) -> RunResult:
        """Export the run if the settings ask for it. ExportFailedError has the summary of the run all the same."""
        if output is None:
            return result
        self._observer.begin(Phase.EXPORT)
        with self._db.connection() as connection:
            total = sealed_count(connection, result.run_id)
        try:
            records = export_after_run(
                self._db,
                result.run_id,
                self._pipeline.settings.landscape.export,
                output,
                signing_key=self._keys.signing_key,
                signer=self._keys.bag_signer,
                progress=lambda records: self._observer.tell_or_stop(records, total),
            )
        except _EXPORT_FAILURES as error:
            raise ExportFailedError(result, error) from error
        return replace(result, export_path=str(output.path), exported_records=records)


def _payload_store(settings: Settings) -> FilesystemPayloadStore | None:
    """Where the content of rows is kept, if the settings ask for that: a file each, which takes time and space."""
    if "payload_store" not in settings.model_fields_set:
        return None
    return FilesystemPayloadStore(Path(settings.payload_store.base_path))


@contextmanager
def _reading(source: Source) -> Iterator[Iterator[Row | InvalidRow]]:
    """The rows of a source, whose file is closed however the block ends."""
    items = source.read()
    try:
        yield items
    finally:
        if isinstance(items, Generator):
            items.close()


def _in_groups(items: Iterator[Row | InvalidRow], source: Source) -> Iterator[list[Row | InvalidRow]]:
    """The rows in groups. Those that were read before the source failed come first, then its error."""
    failure: Exception | None = None
    while failure is None:
        group: list[Row | InvalidRow] = []
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

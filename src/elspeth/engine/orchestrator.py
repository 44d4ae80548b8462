"""Carries out a run, from first record to last.

1. Record the run, its nodes and edges.
2. Open the sources and the sinks, and record an operation for each.
3. Take rows through the pipeline in groups: stage, make durable, commit.
4. Prove that every row has ended.
5. Commit the hashes of the finished outputs, then publish them.
6. Complete the run; leave a checkpoint of the log of runs, and export the audit trail, if the settings require that.

Up to step 5 nothing is visible outside the audit database. A failure in any step is recorded, and all earlier records
are kept.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy.exc import SQLAlchemyError

from elspeth.contracts.audit import RunProcess
from elspeth.contracts.enums import RunStatus
from elspeth.contracts.errors import AuditIntegrityError, format_count, recordable_message
from elspeth.contracts.events import events_of_run, log_event
from elspeth.core.landscape.database import LandscapeDB, LandscapeError
from elspeth.core.landscape.database.claim import Claim, RunClaimedError
from elspeth.core.landscape.database.urls import is_in_memory
from elspeth.core.landscape.lines.ranges import Readers
from elspeth.core.landscape.queries.accounting import account_for
from elspeth.core.landscape.queries.recorded import count_rows
from elspeth.core.landscape.recording.base import new_id, now
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.placeholders import placeholder_values
from elspeth.engine.calls.external import ExternalCalls, open_external_calls
from elspeth.engine.errors import DEFECTS, AccountingError, RunInterruptedError, TooManyFailuresError, WorkerError
from elspeth.engine.inputs import recorded_inputs
from elspeth.engine.keys import RunKeys
from elspeth.engine.lineage_events import LineageEvents
from elspeth.engine.loading import RowLoader
from elspeth.engine.log_checkpoints import LogCheckpoints
from elspeth.engine.origins import describe_process
from elspeth.engine.pipeline import Pipeline, fill_sink_paths
from elspeth.engine.processor import ROWS_PER_CALL, Clock
from elspeth.engine.publishing import SinkSet
from elspeth.engine.reasons import read_reason_key
from elspeth.engine.reporting import (
    Observer,
    Phase,
    RunResult,
    count_by_sink,
    find_reasons,
    log_completion,
    summarize,
)
from elspeth.engine.resuming import get_resumable_run, load_start
from elspeth.engine.run_export import export_run
from elspeth.engine.run_outputs import RunOutputs
from elspeth.engine.sharing import SharedRows, Workers
from elspeth.engine.start import Start, begin_run, resolve_replayed_run
from elspeth.engine.workshop import RunContext, payload_store, process_name

__all__ = ["Orchestrator"]


class Orchestrator:
    """Carries out one run, a new or a stopped one.

    `settings_options` are the command-line options that select these settings, and `settings_file` is their file. With
    `force`, outputs may replace files that are not earlier outputs.
    """

    def __init__(
        self,
        db: LandscapeDB,
        pipeline: Pipeline,
        keys: RunKeys,
        observer: Observer | None = None,
        *,
        settings_options: str = "-s SETTINGS",
        settings_file: Path | None = None,
        force: bool = False,
        clock: Clock = time.monotonic,
        workers: Workers | None = None,
    ) -> None:
        self._db = db
        self._force = force
        self._settings_options = settings_options
        self._settings_file = settings_file
        self._payloads = payload_store(pipeline.settings)
        self._recorder = LandscapeRecorder(db, payload_store=self._payloads, seal_signer=keys.seal_signer)
        self._pipeline = pipeline
        self._keys = keys
        self._observer = observer or Observer()
        self._clock = clock
        self._checkpoints = LogCheckpoints()
        self._lineage = LineageEvents()
        self._workers = workers

    def run(self) -> RunResult:
        """Run the pipeline to its end.

        An error that stops the run is recorded with it, and raised. Raises OutputRefusedError if an output may not be
        written; in that case no run is recorded.
        """
        self._pipeline = resolve_replayed_run(self._db, self._pipeline)
        run_id, started_at = new_id(), now()
        outputs = self._name_outputs(run_id, started_at)
        with (
            events_of_run(run_id),
            LineageEvents.of(self._pipeline.settings) as self._lineage,
            outputs.hold(judged=True),
            self._open_calls() as external,
            self._recorder.claimed(run_id) as claim,
        ):
            process = self._describe_process(run_id, started_at)
            start = begin_run(self._recorder, self._pipeline, self._keys, process)
            log_event(logging.INFO, "run_began", f"run {run_id} began", database=self._db.url)
            return self._carry_out(start, outputs, external, claim)

    def resume(self, run_id: str) -> RunResult:
        """Complete a stopped run.

        The results are the same as those of a run that never stopped. Raises ResumeError, RunClaimedError or
        OutputRefusedError if the run cannot continue.
        """
        self._pipeline = resolve_replayed_run(self._db, self._pipeline, self._recorder.get_run(run_id))
        outputs = self._name_outputs(run_id, get_resumable_run(self._db, self._recorder, run_id).started_at)
        with (
            events_of_run(run_id),
            LineageEvents.of(self._pipeline.settings) as self._lineage,
            self._open_calls() as external,
            self._recorder.claimed(run_id) as claim,
            outputs.hold(judged=False),
        ):
            process = self._describe_process(run_id, now())
            start = load_start(self._db, self._recorder, self._pipeline, process)
            message = f"run {run_id} was resumed after {format_count(start.rows, 'row')}"
            log_event(logging.INFO, "run_resumed", message, rows=start.rows, database=self._db.url)
            return self._carry_out(start, outputs, external, claim)

    def _describe_process(self, run_id: str, started_at: datetime) -> RunProcess:
        settings, mask = self._pipeline.settings, self._keys.mask
        return describe_process(settings, run_id, mask, settings_file=self._settings_file, started_at=started_at)

    @contextmanager
    def _open_calls(self) -> Iterator[ExternalCalls | None]:
        """Open external calls, with rate limits shared by workers."""
        with ExitStack() as stack:
            file = None
            if self._workers is not None and self._pipeline.settings.rate_limit.persistence_path is None:
                file = f"{stack.enter_context(TemporaryDirectory(prefix='elspeth-'))}/rates.db"
            calls = open_external_calls(self._pipeline, self._db, payloads=self._payloads, rate_file=file)
            external = stack.enter_context(calls)
            if external is not None:
                self._recorder.commit_after(external.payloads)
            yield external

    def _name_outputs(self, run_id: str, started_at: datetime) -> RunOutputs:
        """Fill placeholders in the paths of sinks and outputs."""
        values = placeholder_values(run_id, started_at)
        self._pipeline = fill_sink_paths(self._pipeline, values)
        self._checkpoints = LogCheckpoints.of(self._pipeline.settings, self._keys, values)
        return RunOutputs.plan(self._pipeline.settings, self._db, values, force=self._force)

    def _carry_out(self, start: Start, outputs: RunOutputs, external: ExternalCalls | None, claim: Claim) -> RunResult:
        """Carry out a run from its present state."""
        began = time.monotonic()
        if self._observer.on_run is not None:
            self._observer.on_run(start.run_id)
        self._lineage.tell(self._db, start.run_id)
        if self._payloads is not None:
            start = replace(start, reason_key=read_reason_key(self._db, start.run_id))
        sinks = SinkSet(self._recorder, start, outputs)
        loader = RowLoader(self._db, self._recorder, self._pipeline, start, self._observer, mask=self._keys.mask)
        try:
            self._checkpoints.name(self._db, start.run_id)
            outputs.judge(start)
            loader.begin()
            sinks.open(self._pipeline)
            loader.load(sinks, external, self._clock, self._share_rows(start, loader, external))
            self._prove_every_row_ended(start.run_id, loader)
            sinks.require_complete(count_by_sink(loader.endings))
            loader.require_limits()
            self._observer.begin(Phase.PUBLISH)
            sinks.publish(self._observer.tell)
            self._complete(start.run_id, loader, sinks)
        except BaseException as error:
            if isinstance(error, TooManyFailuresError):
                for reason in find_reasons(self._db, self._pipeline, start.run_id):
                    error.add_note(str(reason))
            self._record_stop(start, loader, sinks, claim, error)
            raise
        summary = summarize(
            self._db,
            self._pipeline,
            start.run_id,
            rows=loader.rows,
            rows_before=start.rows,
            endings=loader.endings,
            usage=None if external is None else external.usage,
        )
        log_completion(summary, elapsed_s=time.monotonic() - began)
        summary = self._leave_checkpoint(summary)
        self._lineage.tell(self._db, start.run_id)
        summary = replace(summary, unsent_events=self._lineage.finish(self._db, start.run_id))
        if outputs.export is None:
            return summary
        settings = self._pipeline.settings
        return export_run(
            self._db, summary, outputs.export, settings=settings, keys=self._keys, observer=self._observer
        )

    def _share_rows(self, start: Start, loader: RowLoader, external: ExternalCalls | None) -> SharedRows | None:
        """Return the rows shared among workers, or None without workers."""
        if self._workers is None:
            return None
        settings = self._pipeline.settings
        url = self._db.engine.url.render_as_string(hide_password=False)
        context = RunContext(
            run_id=start.run_id,
            settings=settings,
            plugins=self._pipeline.catalogue,
            edges=start.edges,
            reason_key=start.reason_key,
            versions={node.node_id: node.plugin_version for node in self._recorder.get_nodes(start.run_id)},
            inputs=recorded_inputs(self._recorder, start.run_id),
            dialect=self._db.engine.dialect.name,
            database_url=None if external is None or external.recorded is None else url,
            rate_file=None if external is None else external.rate_file,
            bounds=loader.bounds,
            log_level=logging.getLogger("elspeth").getEffectiveLevel(),
            process=process_name(),
            directory=str(Path.cwd()),
        )
        least_rows = 1 if external is None else ROWS_PER_CALL * settings.concurrency.max_workers
        return SharedRows(self._workers, context, least_rows=least_rows, check=loader.require_no_stop)

    def _prove_every_row_ended(self, run_id: str, loader: RowLoader) -> None:
        self._observer.begin(Phase.PROOF)
        progress = partial(self._observer.tell_or_stop, message=loader.interruption)
        account = account_for(self._db, run_id, progress=progress)
        if account.rows != loader.rows:
            raise AccountingError(f"run {run_id}: expected {loader.rows} recorded rows, got {account.rows}")
        if account.breaches:
            raise AccountingError(f"run {run_id}: {'; '.join(each.problem for each in account.breaches)}")

    def _complete(self, run_id: str, loader: RowLoader, sinks: SinkSet) -> None:
        """Complete and seal the run, in one transaction."""
        self._observer.begin(Phase.SEAL)
        progress = partial(self._observer.tell_or_stop, message=loader.interruption)
        with self._recorder.unit_of_work():
            sinks.record_published()
            self._recorder.finalize_run(run_id, RunStatus.COMPLETED, progress=progress, readers=self._readers())

    def _readers(self) -> Readers | None:
        """Return processes that can read the database, or None."""
        executor = None if self._workers is None else self._workers.readers
        url = self._db.engine.url
        return None if executor is None or is_in_memory(url) else Readers.of(executor, url)

    def _leave_checkpoint(self, result: RunResult) -> RunResult:
        """Leave a log checkpoint that covers the run's end.

        A crash leaves the run completed, and its checkpoint overdue.
        """
        if self._checkpoints.plan is None:
            return result
        self._observer.begin(Phase.CHECKPOINT)
        return replace(result, overdue_checkpoints=self._checkpoints.leave(self._db))

    # -- a run that stops --------------------------------------------------------------------------------------------

    def _record_stop(self, start: Start, loader: RowLoader, sinks: SinkSet, claim: Claim, error: BaseException) -> None:
        """Record the error that stopped the run.

        Notes are added to the error about what is left behind and how to continue.
        """
        is_kept = self._pipeline.settings.landscape.enabled
        for place in sinks.abandon(keep=is_kept):
            error.add_note(f"Rows that were recorded as written are kept in {place}.")
        message = recordable_message(error) if isinstance(error, Exception) else ""
        run_id, reason = start.run_id, f"{type(error).__name__}: {message}"
        # A person asked for an interruption; anything else is an error.
        level = logging.WARNING if isinstance(error, RunInterruptedError | KeyboardInterrupt) else logging.ERROR
        log_event(level, "run_stopped", f"run {run_id} stopped: {reason}", rows=loader.rows, reason=reason)
        if not is_kept:
            error.add_note(
                "Nothing of the run is kept: its settings keep no audit database (landscape.enabled: false)."
            )
            self._lineage.tell(self._db, start.run_id, has_failed=True)
            for problem in self._lineage.finish(self._db, start.run_id):
                error.add_note(f"{problem}.")
            return
        rows, can_go_on = loader.rows, self._can_go_on(start, error)
        try:
            claim.renew()
            rows = count_rows(self._db, run_id)  # a failed commit may have taken effect
            self._require_running(run_id)
            can_go_on = can_go_on and rows > 0
            with self._recorder.unit_of_work():
                loader.record_failure(reason)
                sinks.record_failure(reason)
                if can_go_on:
                    self._recorder.update_run_status(run_id, RunStatus.INTERRUPTED)
                else:
                    loader.record_unfinished_inputs()
                    self._recorder.finalize_run(run_id, RunStatus.FAILED)
        except RunClaimedError as failure:
            error.add_note(f"What stopped this process is not recorded: {failure}.")
            return
        except (AuditIntegrityError, LandscapeError, SQLAlchemyError, OSError) as failure:
            error.add_note(f"The audit database still calls run {run_id} running: {failure}.")
        else:
            error.add_note(f"Run {run_id} is recorded as {'interrupted' if can_go_on else 'failed'}.")
            self._lineage.tell(self._db, run_id)
            problems = [] if can_go_on else self._checkpoints.leave(self._db)
            for problem in [*problems, *self._lineage.finish(self._db, run_id)]:
                error.add_note(f"{problem}.")
        if can_go_on and rows:
            error.add_note(f"To go on from row {rows:,}: elspeth resume {run_id} {self._settings_options} --execute")

    def _require_running(self, run_id: str) -> None:
        """Raise RunClaimedError if another process stopped or ended the run."""
        run = self._recorder.get_run(run_id)
        if run is not None and run.status is not RunStatus.RUNNING:
            raise RunClaimedError(f"run {run_id} is {run.status} already")

    def _can_go_on(self, start: Start, error: BaseException) -> bool:
        """Return whether another attempt may succeed, if rows are recorded.

        A defect stops every attempt, unless the run was resumed: then an earlier process may be the cause.
        """
        settings = self._pipeline.settings
        is_defect = isinstance(error, DEFECTS) or (isinstance(error, WorkerError) and error.is_defect)
        is_defect = is_defect and not start.rows
        is_final = is_defect or isinstance(error, TooManyFailuresError)
        return settings.checkpoint.enabled and not is_final

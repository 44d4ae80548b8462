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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from elspeth.contracts.enums import OperationStatus, OperationType, RowOutcome, RunStatus
from elspeth.contracts.errors import AuditIntegrityError
from elspeth.contracts.plugins import InvalidRow, PluginError, Row
from elspeth.core.canonical import CANONICAL_VERSION
from elspeth.core.landscape.accounting import account_for
from elspeth.core.landscape.database import LandscapeDB, LandscapeError
from elspeth.core.landscape.recorder import LandscapeRecorder
from elspeth.core.payload_store import FilesystemPayloadStore
from elspeth.core.secrets import mask_secrets
from elspeth.core.settings import Settings
from elspeth.engine.errors import AccountingError, RunInterruptedError, blame
from elspeth.engine.export import export_after_run
from elspeth.engine.flow import Flow
from elspeth.engine.pipeline import Pipeline
from elspeth.engine.preflight import RunKeys
from elspeth.engine.processor import Clock, RowProcessor
from elspeth.engine.result import Ending, Progress, RunResult, count_by_outcome, count_by_sink
from elspeth.engine.sinks import SinkSet
from elspeth.plugins.base import Source

__all__ = ["Observer", "Orchestrator"]

GROUP_SIZE = 500  # rows per commit: what a run holds in memory, and what a crash takes from the record at most
GROUP_VISITS = 10_000  # after so many steps a commit comes early: rows that multiply must not fill the memory

_Item = Row | InvalidRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Observer:
    """Who is told how far a run has come and how many records of it are exported, and who may ask it to stop."""

    on_rows: Callable[[Progress], None] | None = None
    on_exported: Callable[[int], None] | None = None
    is_stopped: Callable[[], bool] | None = None


class Orchestrator:
    """Runs one pipeline once, recording in one audit database."""

    def __init__(
        self,
        db: LandscapeDB,
        pipeline: Pipeline,
        keys: RunKeys,
        observer: Observer | None = None,
        *,
        clock: Clock = time.monotonic,
    ) -> None:
        self._db = db
        self._recorder = LandscapeRecorder(db, payload_store=_payload_store(pipeline.settings))
        self._pipeline = pipeline
        self._keys = keys
        self._observer = observer or Observer()
        self._clock = clock
        self._rows = 0
        self._endings: Counter[Ending] = Counter()

    def run(self) -> RunResult:
        """Run the pipeline to its end. Whatever stops it is recorded with the run, and raised."""
        run_id, edges = self._begin()
        source_id = self._pipeline.source_node.node_id
        loading = self._recorder.begin_operation(run_id, source_id, OperationType.SOURCE_LOAD)
        is_loaded = False
        sinks = SinkSet(self._recorder, run_id)
        try:
            sinks.open(self._pipeline)
            flow = Flow(self._recorder, run_id, self._pipeline, edges)
            self._process(flow, RowProcessor(flow, self._pipeline, sinks, self._clock), sinks)
            self._recorder.complete_operation(
                loading.operation_id, OperationStatus.COMPLETED, run_id=run_id, output_data={"rows": self._rows}
            )
            is_loaded = True
            self._prove_every_row_ended(run_id)
            sinks.publish()
            self._recorder.finalize_run(run_id, RunStatus.COMPLETED)
        except BaseException as error:
            self._record_failure(run_id, sinks, None if is_loaded else loading.operation_id, error)
            raise
        return self._result(run_id, self._export(run_id))

    def _begin(self) -> tuple[str, dict[tuple[str, str], str]]:
        """Record the run and its graph; its id, and edge ids by the node they leave and their label."""
        config = mask_secrets(self._pipeline.settings.model_dump(mode="json"), self._keys.mask)
        with self._recorder.unit_of_work():
            run_id = self._recorder.begin_run(config, CANONICAL_VERSION).run_id
            for sequence, node in enumerate(self._pipeline.nodes.values()):
                self._recorder.register_node(
                    run_id,
                    node.plugin_name,
                    node.node_type,
                    node.plugin_version,
                    mask_secrets(node.config, self._keys.mask),
                    node_id=node.node_id,
                    sequence=sequence,
                    determinism=node.determinism,
                    schema_config=node.schema,
                )
            edges = {
                (edge.from_node, edge.label): self._recorder.register_edge(
                    run_id, edge.from_node, edge.to_node, edge.label, edge.mode
                ).edge_id
                for edge in self._pipeline.edges()
            }
        return run_id, edges

    def _process(self, flow: Flow, processor: RowProcessor, sinks: SinkSet) -> None:
        for group in _in_groups(self._pipeline.source):
            waiting = deque(group)
            while waiting:
                self._process_group(flow, processor, sinks, waiting)
                if self._observer.is_stopped is not None and self._observer.is_stopped():
                    raise RunInterruptedError(f"run {flow.run_id} was interrupted after {self._rows} rows")
        with self._recorder.unit_of_work():
            processor.end()
            sinks.sync()
        self._commit(flow, sinks, 0)

    def _process_group(
        self, flow: Flow, processor: RowProcessor, sinks: SinkSet, waiting: deque[Row | InvalidRow]
    ) -> None:
        """Take rows through the pipeline and commit what is recorded of them: all, or fewer if they multiply.

        A crash before the commit leaves staged rows that no record names; after it, rows that are recorded and durable.
        A failure inside discards the records of the whole group, for its staged rows may be lost.
        """
        rows, visits = 0, flow.visits
        with self._recorder.unit_of_work():
            while waiting and flow.visits - visits < GROUP_VISITS:
                processor.process(self._rows + rows, waiting.popleft())
                rows += 1
            sinks.sync()
        self._commit(flow, sinks, rows)

    def _commit(self, flow: Flow, sinks: SinkSet, rows: int) -> None:
        """Count what is recorded now, and tell who watches."""
        sinks.mark_recorded()
        self._rows += rows
        self._endings = flow.endings
        if rows and self._observer.on_rows is not None:
            fraction = self._pipeline.source.fraction_read()
            self._observer.on_rows(Progress(rows=self._rows, fraction=fraction, endings=self._endings))

    def _prove_every_row_ended(self, run_id: str) -> None:
        account = account_for(self._db, run_id)
        if account.rows != self._rows:
            raise AccountingError(f"run {run_id}: expected {self._rows} recorded rows, got {account.rows}")
        if account.breaches:
            raise AccountingError(f"run {run_id}: {'; '.join(account.breaches)}")

    def _record_failure(self, run_id: str, sinks: SinkSet, loading_id: str | None, error: BaseException) -> None:
        """Record what stopped the run. The error is told what stays behind, for whoever reports it."""
        for place in sinks.abandon():
            error.add_note(f"Rows that were recorded as written are kept in {place}.")
        reason = f"{type(error).__name__}: {error}"
        try:
            with self._recorder.unit_of_work():
                if loading_id is not None:
                    self._recorder.complete_operation(loading_id, OperationStatus.FAILED, run_id=run_id, error=reason)
                sinks.record_failure(reason)
                self._recorder.finalize_run(run_id, RunStatus.FAILED)
        except (AuditIntegrityError, LandscapeError, SQLAlchemyError, OSError) as failure:
            error.add_note(f"The audit database still calls run {run_id} running: {failure}.")
        else:
            error.add_note(f"Run {run_id} is recorded as failed.")

    def _export(self, run_id: str) -> tuple[str, int] | None:
        """Export the run if the settings ask for it; where to, and how many records."""
        export = self._pipeline.settings.landscape.export
        if not export.enabled or export.sink is None:
            return None
        # A bag never replaces another: its name may hold the run.
        path = str(self._pipeline.settings.sinks[export.sink].options["path"]).replace("{run_id}", run_id)
        records = export_after_run(
            self._db,
            run_id,
            export,
            path,
            signing_key=self._keys.signing_key,
            signer=self._keys.bag_signer,
            progress=self._observer.on_exported,
        )
        return path, records

    def _result(self, run_id: str, exported: tuple[str, int] | None) -> RunResult:
        by_sink, by_outcome = count_by_sink(self._endings), count_by_outcome(self._endings)
        path, records = exported or (None, None)
        return RunResult(
            run_id=run_id,
            rows=self._rows,
            rows_by_sink={name: by_sink[name] for name in self._pipeline.sinks},
            failed=by_outcome[RowOutcome.FAILED],
            quarantined=by_outcome[RowOutcome.QUARANTINED],
            export_path=path,
            exported_records=records,
        )


def _payload_store(settings: Settings) -> FilesystemPayloadStore | None:
    """Where the content of rows is kept, if the settings ask for that: a file each, which takes time and space."""
    if "payload_store" not in settings.model_fields_set:
        return None
    return FilesystemPayloadStore(Path(settings.payload_store.base_path))


def _in_groups(source: Source) -> Iterator[list[_Item]]:
    """The rows in groups. Those that were read before the source failed come first, then its error."""
    iterator = iter(source.read())
    failure: PluginError | None = None
    while failure is None:
        group: list[_Item] = []
        try:
            for item in islice(iterator, GROUP_SIZE):
                group.append(item)  # noqa: PERF402  what came before an error must not be lost
        except Exception as error:  # noqa: BLE001  a plugin may fail in any way
            failure = blame("source", source.name, error)
        if group:
            yield group
        elif failure is None:
            return
    raise failure

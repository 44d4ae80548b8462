"""Takes rows through the row-local steps, in a worker.

A worker has the pipeline, but no database. Jobs and results are sent as bytes, so that either side notices objects that
cannot be sent, and any kind of executor can be used.
"""

from __future__ import annotations

import atexit
import logging
import os
import pickle
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, chdir, contextmanager
from dataclasses import dataclass, replace
from logging.handlers import QueueHandler
from queue import SimpleQueue

from pydantic import ValidationError

from elspeth.contracts.errors import recordable_message
from elspeth.contracts.events import events_of_run
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.recording.ids import tagged_ids
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.landscape.records.detached import DetachedStore
from elspeth.core.payload_places import open_payload_store
from elspeth.core.payload_store import ManagedPayloadStore
from elspeth.core.settings import Settings
from elspeth.engine.calls.external import ExternalCalls, open_external_calls
from elspeth.engine.errors import DEFECTS, PLUGIN_ERRORS, WorkerError
from elspeth.engine.inputs import compare_inputs
from elspeth.engine.partitions import Bounds, OpenPartition, Partition, ProcessedPartition
from elspeth.engine.pipeline import Pipeline, build_pipeline
from elspeth.engine.processor import RowProcessor
from elspeth.engine.start import Start
from elspeth.engine.trail import TrailWriter
from elspeth.objects.address import place_of
from elspeth.plugins.manager import PluginManager

__all__ = ["Breakdown", "RunContext", "payload_store", "process_name", "process_partition"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """The facts about a run that a worker needs.

    `plugins` makes the pipeline's plugins, and `bounds` are those of a partition. `reason_key` is the one of `Start`.
    `process` names the first process. `versions` holds the recorded plugin version of each node, and `inputs` the
    recorded descriptions of transforms' inputs. `dialect` is the dialect of the audit database, and `database_url` the
    database with the answers for a replay. `rate_file` counts calls for all workers if the settings do not name a file.
    Log records of at least `log_level` are sent to the first process. Relative paths are resolved against `directory`.
    """

    run_id: str
    settings: Settings
    plugins: PluginManager
    edges: Mapping[tuple[str, str], str]
    reason_key: bytes | None
    versions: Mapping[str, str]
    inputs: Mapping[str, object]
    dialect: str
    database_url: str | None
    rate_file: str | None
    bounds: Bounds
    log_level: int
    process: str
    directory: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakdown:
    """The reason why a worker did not process its rows.

    If the rows cannot be sent, the first process can still process them.
    """

    message: str
    worker: str
    is_defect: bool = False
    cannot_be_sent: bool = False


def process_partition(context: bytes, job: bytes) -> bytes:
    """Process the rows of a partition, in a worker.

    `context` is a pickled RunContext, and `job` a pickled Partition with the tag for its ids. Returns a pickled
    ProcessedPartition or Breakdown.
    """
    with _lock:  # plugins need not be thread-safe, but the workers of a cluster may have several threads
        outcome = _process(context, job)
        try:
            return pickle.dumps(outcome)
        except Exception as error:  # noqa: BLE001  rows may hold anything
            return pickle.dumps(_breakdown(error, cannot_be_sent=True))


def _process(context: bytes, job: bytes) -> ProcessedPartition | Breakdown:
    try:
        partition, tag = pickle.loads(job)  # noqa: S301  from the process that started this worker
    except Exception as error:  # noqa: BLE001  rows may hold anything
        return _breakdown(error, cannot_be_sent=True)
    try:
        workshop = _open_workshop(context)
        with tagged_ids(tag), chdir(workshop.directory):
            with workshop.collected_log() as log:
                processed = workshop.process(partition)
            return replace(processed, log=log)
    except PLUGIN_ERRORS as error:  # the first process reports any error
        return _breakdown(error)


def _breakdown(error: BaseException, *, cannot_be_sent: bool = False) -> Breakdown:
    kind = "" if isinstance(error, WorkerError) else f"{type(error).__name__}: "
    message = f"{kind}{recordable_message(error)}"
    is_defect = isinstance(error, DEFECTS)
    return Breakdown(message=message, worker=process_name(), is_defect=is_defect, cannot_be_sent=cannot_be_sent)


def process_name() -> str:
    """Return the id of this process, and its machine."""
    return f"{os.getpid()} on {socket.gethostname()}"


# -- the workshop of a run -------------------------------------------------------------------------------------------


class _Workshop:
    """The pipeline of one run, in a worker."""

    def __init__(self, context: RunContext) -> None:
        self.directory = context.directory
        self._context = context
        self._pipeline = _build_pipeline(context)
        _require_same(self._pipeline, context)
        self._payloads = payload_store(context.settings)
        with ExitStack() as stack:
            self._external = self._open_external(stack)
            self._stack = stack.pop_all()

    def _open_external(self, stack: ExitStack) -> ExternalCalls | None:
        context, db = self._context, None
        if context.database_url is not None:
            db = stack.enter_context(LandscapeDB.from_url(context.database_url, create_tables=False))
        calls = open_external_calls(self._pipeline, db, payloads=self._payloads, rate_file=context.rate_file)
        return stack.enter_context(calls)

    def process(self, partition: Partition) -> ProcessedPartition:
        """Process the first rows of a partition, usually all."""
        context, external = self._context, self._external
        if external is not None:
            external.restart()
        store = DetachedStore(context.dialect)
        recorder = LandscapeRecorder(store, payload_store=self._payloads)
        if external is not None:
            recorder.commit_after(external.payloads)
        start = Start(run_id=context.run_id, edges=context.edges, reason_key=context.reason_key)
        trail = TrailWriter(recorder, start, self._pipeline, keeps_failures=True)
        processor = RowProcessor(trail, self._pipeline, None, external=external)
        opened, token_id = OpenPartition.begin(trail.tally, context.bounds), ""
        with recorder.unit_of_work():
            for item in partition.rows:
                if opened.is_full():
                    break
                token_id = processor.process(partition.source, partition.first + opened.rows, item)
                opened.rows += 1
            processor.settle()
            handed, records = processor.take_handed(), store.take_rows()
        return ProcessedPartition(
            rows=opened.rows,
            records=records,
            handed=handed,
            last_token_id=token_id,
            counts=trail.tally.counts(),
            usage=dict(external.usage) if external is not None else {},
            seconds=time.monotonic() - opened.began,
            worker=process_name(),
        )

    @contextmanager
    def collected_log(self) -> Iterator[list[logging.LogRecord]]:
        """Collect the log records of the block for another process."""
        records: list[logging.LogRecord] = []
        if process_name() == self._context.process:
            yield records
            return
        handler, root, ours = _Collector(records), logging.getLogger(), logging.getLogger("elspeth")
        handler.setLevel(self._context.log_level)
        level = ours.level
        ours.setLevel(self._context.log_level)
        root.addHandler(handler)
        try:
            with events_of_run(self._context.run_id):
                yield records
        finally:
            root.removeHandler(handler)
            ours.setLevel(level)  # workers of a cluster live longer than a run

    def close(self) -> None:
        """Stop calls, and close files."""
        self._stack.close()


class _Collector(QueueHandler):
    """Keeps records in a form that can be sent."""

    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__(SimpleQueue())
        self._records = records

    def enqueue(self, record: logging.LogRecord) -> None:
        """Keep a prepared record."""
        self._records.append(record)


def _build_pipeline(context: RunContext) -> Pipeline:
    """Build the pipeline of a run.

    Raises WorkerError if this worker's plugins do not accept their options, for example because they cannot import a
    function.
    """
    try:
        return build_pipeline(context.settings, context.plugins)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors(include_input=False)]
        message = f"its plugins do not accept the settings: {'; '.join(problems)}".replace("Value error, ", "")
        raise WorkerError(message) from error


def _require_same(pipeline: Pipeline, context: RunContext) -> None:
    """Raise WorkerError if this worker's pipeline differs from the run's."""
    versions = {node.node_id: node.plugin_version for node in pipeline.nodes.values()}
    problems = [
        f"node {node_id}: the plugin's version is {versions.get(node_id)} here, recorded is {version}"
        for node_id, version in context.versions.items()
        if versions.get(node_id) != version
    ]
    problems += compare_inputs(pipeline, context.inputs)
    if problems:
        raise WorkerError(f"its plugins or files differ from those of the run: {'; '.join(problems)}")


def payload_store(settings: Settings) -> ManagedPayloadStore | None:
    """Return the payload store for rows, or None.

    Rows are kept only if the settings ask for it, because each takes a file or an object.
    """
    if "payload_store" not in settings.model_fields_set:
        return None
    return open_payload_store(place_of(settings.payload_store.base_path))


_lock = threading.Lock()
_opened: tuple[bytes, _Workshop] | None = None
"""The pickled context of the newest run, and its workshop."""


def _open_workshop(context: bytes) -> _Workshop:
    """Return the workshop of a run, which is cached."""
    global _opened  # noqa: PLW0603  one per process
    if _opened is None or _opened[0] != context:
        _close_workshop()
        known: RunContext = pickle.loads(context)  # noqa: S301  from the process that started this worker
        with chdir(known.directory):
            _opened = context, _Workshop(known)
    return _opened[1]


def _close_workshop() -> None:
    global _opened
    opened, _opened = _opened, None
    if opened is not None:
        opened[1].close()


atexit.register(_close_workshop)  # workers of a cluster exit like other programs

"""Inspects, resumes and abandons runs that stopped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import cast

from elspeth.contracts.audit import Artifact, Operation, Run, RunProcess
from elspeth.contracts.enums import NodeType, OperationStatus, OperationType, RunStatus
from elspeth.contracts.plugins import JsonObject, StagedOutput
from elspeth.contracts.rows import InvalidRow, RowData
from elspeth.core.canonical import canonical_json, stable_hash
from elspeth.core.differences import find_differences
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.queries.recorded import count_endings, count_rows, count_rows_by_source, row_hashes
from elspeth.core.landscape.recording.base import make_recordable
from elspeth.core.landscape.recording.batches import FIRST_ROW
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.landscape.sealing.unfinished import read_unfinished_runs
from elspeth.core.placeholders import placeholder_values
from elspeth.core.secrets import without_secrets
from elspeth.core.settings import Settings
from elspeth.core.settings.wiring import Place
from elspeth.engine.errors import ResumeError, changed_source_error
from elspeth.engine.inputs import require_same_inputs
from elspeth.engine.keys import RunKeys
from elspeth.engine.lineage_events import LineageEvents
from elspeth.engine.log_checkpoints import LogCheckpoints
from elspeth.engine.pipeline import Pipeline
from elspeth.engine.start import SinkProgress, Start

__all__ = ["StoppedRun", "abandon_run", "get_resumable_run", "get_stopped_run", "load_start", "skip_recorded_rows"]


_SHOWN_CHANGES = 5


_MAY_CHANGE = frozenset({"concurrency.workers"})
"""Settings that may differ in a resumed run, because results do not depend on them."""


_LINEAGE = "openlineage."
"""The prefix of settings about lineage events, which do not affect results."""


_PROCESS_ENDED = "the process ended before this was done; the run was taken up again"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppedRun:
    """The progress of a stopped run, and what stopped it.

    `rows` counts the rows of the sources, and `waiting` the items that wait for further rows.
    """

    run_id: str
    status: RunStatus
    rows: int
    waiting: int
    reasons: tuple[str, ...]


def get_stopped_run(db: LandscapeDB, run_id: str) -> StoppedRun:
    """Return the progress of a stopped run.

    Raises ResumeError if the run is unknown.
    """
    recorder = LandscapeRecorder(db)
    reasons = [each.error_message for each in recorder.get_operations_for_run(run_id) if each.error_message]
    return StoppedRun(
        run_id=run_id,
        status=_get_run(recorder, run_id).status,
        rows=count_rows(db, run_id),
        waiting=sum(
            FIRST_ROW not in each.state for each in recorder.get_held(run_id)
        ),  # keys that `dedupe` keeps do not wait
        reasons=tuple(dict.fromkeys(reasons)),
    )


def abandon_run(db: LandscapeDB, settings: Settings, keys: RunKeys, run_id: str) -> list[str]:
    """Record that a stopped run has failed for good.

    Its staging files are kept. Returns the places where no checkpoint of the log could be left, and the lineage events
    that could not be sent. Raises ResumeError if the run has ended already.
    """
    recorder = LandscapeRecorder(db, seal_signer=keys.seal_signer)
    with recorder.claimed(run_id), LineageEvents.of(settings) as lineage:
        run = get_resumable_run(db, recorder, run_id)
        checkpoints = LogCheckpoints.of(settings, keys, placeholder_values(run_id, run.started_at))
        checkpoints.name(db, run_id)
        with recorder.unit_of_work():
            _close_operations(recorder, recorder.get_operations_for_run(run_id), "the run was given up")
            recorder.finalize_run(run_id, RunStatus.FAILED)
        lineage.tell(db, run_id)
        return [*checkpoints.leave(db), *lineage.finish(db, run_id)]


def get_resumable_run(db: LandscapeDB, recorder: LandscapeRecorder, run_id: str) -> Run:
    """Return a run that has not ended.

    Raises ResumeError for a run that is unknown or has ended, or that has ended by its records though not by its
    status.
    """
    run = _get_run(recorder, run_id)
    if run.status.is_terminal:
        raise ResumeError(f"run {run_id} is {run.status}: only a run that has not ended can be resumed")
    with db.connection() as connection:
        marked = [each for each in read_unfinished_runs(connection, run_id) if each.marks]
    for each in marked:
        raise ResumeError(
            f"run {run_id} {each.problem}."
            " It is not resumed, so that no altered record is sealed: find out who changed it"
        )
    return run


def _get_run(recorder: LandscapeRecorder, run_id: str) -> Run:
    run = recorder.get_run(run_id)
    if run is None:
        raise ResumeError(f"run {run_id} is not in this audit database")
    return run


def load_start(db: LandscapeDB, recorder: LandscapeRecorder, pipeline: Pipeline, process: RunProcess) -> Start:
    """Load the progress of a run, and reopen it.

    Raises ResumeError if the run cannot continue. A crash in here at most leaves the operations of the earlier process
    closed, which they were in fact.
    """
    run_id = process.run_id
    get_resumable_run(db, recorder, run_id)
    _require_same_pipeline(recorder, pipeline, run_id)
    require_same_inputs(recorder, pipeline, run_id)
    places = {pipeline.nodes[place].node_id: place for place in pipeline.sources}
    rows_by_source = {places[node_id]: rows for node_id, rows in count_rows_by_source(db, run_id).items()}
    rows, checkpoint = sum(rows_by_source.values()), recorder.get_last_checkpoint(run_id)
    if rows and checkpoint is None:
        raise ResumeError(f"run {run_id} kept no checkpoints (checkpoint.enabled: false): run the pipeline again")
    operations = recorder.get_operations_for_run(run_id)
    done = {(each.operation_type, each.node_id) for each in operations if each.status is OperationStatus.COMPLETED}
    loaded = frozenset(place for node_id, place in places.items() if (OperationType.SOURCE_LOAD, node_id) in done)
    states = json.loads(checkpoint.sink_state_json or "{}") if checkpoint else {}
    start = Start(
        run_id=run_id,
        edges=recorder.get_edge_map(run_id),
        rows=rows,
        rows_by_source=rows_by_source,
        endings=count_endings(db, run_id),
        sinks=dict(_sinks(pipeline, states, recorder.get_artifacts(run_id), done)),
        held=recorder.get_held(run_id),
        checkpoints=checkpoint.sequence_number if checkpoint else 0,
        last_token_id=checkpoint.token_id if checkpoint else None,
        loaded=loaded,
        is_loaded=len(loaded) == len(places),
    )
    with recorder.unit_of_work():
        _close_operations(recorder, operations, _PROCESS_ENDED)
        recorder.record_run_process(process)
        recorder.update_run_status(run_id, RunStatus.RUNNING)
    return start


def _close_operations(recorder: LandscapeRecorder, operations: Iterable[Operation], reason: str) -> None:
    """Record that the open operations of an earlier process failed."""
    for each in operations:
        if each.status is OperationStatus.OPEN:
            recorder.complete_operation(each.operation_id, OperationStatus.FAILED, run_id=each.run_id, error=reason)


def _sinks(
    pipeline: Pipeline,
    states: Mapping[str, JsonObject],
    artifacts: list[Artifact],
    done: set[tuple[OperationType, str]],
) -> Iterator[tuple[str, SinkProgress]]:
    outputs = {each.sink_node_id: each for each in artifacts}
    for name in pipeline.sinks:
        node_id = pipeline.sink_node(name).node_id
        state, artifact = states.get(node_id, {}), outputs.get(node_id)
        yield (
            name,
            SinkProgress(
                rows=cast("int", state.get("rows", 0)),
                last_state_id=cast("str | None", state.get("last_state_id")),
                position=cast("JsonObject", state.get("position", {})),
                output=_staged_output(artifact) if artifact else None,
                is_published=(OperationType.SINK_WRITE, node_id) in done,
            ),
        )


def _staged_output(artifact: Artifact) -> StagedOutput:
    return StagedOutput(
        artifact_type=artifact.artifact_type,
        path=artifact.path_or_uri,
        content_hash=artifact.content_hash,
        size_bytes=artifact.size_bytes,
    )


def skip_recorded_rows(
    items: Iterator[RowData | InvalidRow], db: LandscapeDB, start: Start, pipeline: Pipeline, source: Place
) -> Iterator[RowData | InvalidRow]:
    """Yield the rows of a source after the recorded ones.

    Raises ResumeError unless the source begins with the recorded rows.
    """
    rows, node = start.rows_by_source.get(source, 0), pipeline.nodes[source]
    name = pipeline.source_name(source)
    recorded = row_hashes(db, start.run_id, node.node_id) if rows else iter(())
    for index, expected in islice(recorded, rows):
        item = next(items, None)
        if item is None:
            how = f"it ends before row {index}, of {start.rows} that are recorded"
            raise changed_source_error(name, start.run_id, how)
        data = item.data if isinstance(item, InvalidRow) else item
        found = stable_hash(make_recordable(data))
        if found != expected:
            how = f"row {index} has the hash {found}, recorded is {expected}"
            raise changed_source_error(name, start.run_id, how)
    yield from items


def _may_change(path: str) -> bool:
    return path in _MAY_CHANGE or path.startswith(_LINEAGE)


def _require_same_pipeline(recorder: LandscapeRecorder, pipeline: Pipeline, run_id: str) -> None:
    """Compare settings and plugins with those of the run.

    Raises ResumeError if they differ. Secrets may differ, because they are rotated.
    """
    before = without_secrets(json.loads(_get_run(recorder, run_id).settings_json))
    now = json.loads(canonical_json(without_secrets(pipeline.settings.model_dump(mode="json"))))
    versions = {node.node_id: node.plugin_version for node in pipeline.nodes.values()}
    changes = [each.path for each in find_differences(before, now) if not _may_change(each.path)]
    nodes = recorder.get_nodes(run_id)
    sources = [node.node_id for node in pipeline.nodes.values() if node.node_type is NodeType.SOURCE]
    if [node.node_id for node in nodes if node.node_id in sources] != sources and not changes:
        changes.append("the order of the sources")
    for node in nodes:
        version = versions.get(node.node_id)
        if version is None and not changes:  # another version of elspeth may have used another name
            changes.append(f"node {node.node_id}")
        elif version not in {None, node.plugin_version}:
            changes.append(f"plugin {node.plugin_name} was {node.plugin_version} and is {version}")
    if changes:
        more = f" and {len(changes) - _SHOWN_CHANGES} more" if len(changes) > _SHOWN_CHANGES else ""
        raise ResumeError(
            f"run {run_id} began with other settings or plugins: {', '.join(changes[:_SHOWN_CHANGES])}{more}; "
            "resume it with those that it began with, or run the pipeline again"
        )

"""Taking up a run that stopped before its end."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import cast

from elspeth.contracts.audit import Artifact, Operation, Run
from elspeth.contracts.enums import OperationStatus, OperationType, RunStatus
from elspeth.contracts.plugins import InvalidRow, JsonObject, Row, StagedOutput
from elspeth.core.canonical import canonical_json, stable_hash
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.queries.recorded import count_endings, count_rows, row_hashes
from elspeth.core.landscape.recording.base import tolerant
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.landscape.sealing.unfinished import unfinished_runs
from elspeth.core.secrets import without_secrets
from elspeth.engine.errors import ResumeError
from elspeth.engine.pipeline import Pipeline
from elspeth.engine.preflight import RunKeys
from elspeth.engine.start import SinkProgress, Start

__all__ = ["Stand", "beginning_of", "give_up", "rows_after", "stand_of", "take_up"]

_SHOWN = 5
_ENDED = "the process ended before this was done; the run was taken up again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """How far a run has come: rows of the source, things that wait for further rows, and what stopped it."""

    run_id: str
    status: RunStatus
    rows: int
    waiting: int
    reasons: tuple[str, ...]


def stand_of(db: LandscapeDB, run_id: str) -> Stand:
    """How far a run has come; ResumeError for an unknown one."""
    recorder = LandscapeRecorder(db)
    reasons = [each.error_message for each in recorder.get_operations_for_run(run_id) if each.error_message]
    return Stand(
        run_id=run_id,
        status=_run(recorder, run_id).status,
        rows=count_rows(db, run_id),
        waiting=len(recorder.get_held(run_id)),
        reasons=tuple(dict.fromkeys(reasons)),
    )


def beginning_of(db: LandscapeDB, recorder: LandscapeRecorder, run_id: str) -> datetime:
    """Return when a run began; ResumeError for one that is unknown or has ended."""
    _require_resumable(db, recorder, run_id)
    return _run(recorder, run_id).started_at


def give_up(db: LandscapeDB, keys: RunKeys, run_id: str) -> None:
    """Record that a run that stopped has failed for good; ResumeError when it has ended already.

    What it staged stays where it is.
    """
    recorder = LandscapeRecorder(db, seal_signer=keys.seal_signer)
    with recorder.claimed(run_id):
        _require_resumable(db, recorder, run_id)
        with recorder.unit_of_work():
            _close_operations(recorder, recorder.get_operations_for_run(run_id), "the run was given up")
            recorder.finalize_run(run_id, RunStatus.FAILED)


def _require_resumable(db: LandscapeDB, recorder: LandscapeRecorder, run_id: str) -> None:
    """ResumeError for a run that is unknown or has ended, whatever its status says."""
    status = _run(recorder, run_id).status
    if status.is_terminal:
        raise ResumeError(f"run {run_id} is {status}: only a run that has not ended can be resumed")
    with db.connection() as connection:
        marked = [run for run in unfinished_runs(connection, run_id) if run.marks]
    for run in marked:
        raise ResumeError(
            f"run {run_id} {run.problem}."
            " It stays as it is, so that nothing is sealed that was changed: find out who did that"
        )


def _run(recorder: LandscapeRecorder, run_id: str) -> Run:
    run = recorder.get_run(run_id)
    if run is None:
        raise ResumeError(f"run {run_id} is not in this audit database")
    return run


def take_up(db: LandscapeDB, recorder: LandscapeRecorder, pipeline: Pipeline, run_id: str) -> Start:
    """Find out how far a run has come, and record that it goes on; ResumeError when it cannot.

    A crash in here changes nothing but that operations of the process before are closed, which is true already.
    """
    _require_resumable(db, recorder, run_id)
    _require_same_pipeline(recorder, pipeline, run_id)
    rows, checkpoint = count_rows(db, run_id), recorder.get_last_checkpoint(run_id)
    if rows and checkpoint is None:
        raise ResumeError(f"run {run_id} kept no checkpoints (checkpoint.enabled: false): run the pipeline anew")
    operations = recorder.get_operations_for_run(run_id)
    done = {(each.operation_type, each.node_id) for each in operations if each.status is OperationStatus.COMPLETED}
    taken = json.loads(checkpoint.sink_state_json or "{}") if checkpoint else {}
    start = Start(
        run_id=run_id,
        edges=recorder.get_edge_map(run_id),
        rows=rows,
        endings=count_endings(db, run_id),
        sinks=dict(_sinks(pipeline, taken, recorder.get_artifacts(run_id), done)),
        held=recorder.get_held(run_id),
        checkpoints=checkpoint.sequence_number if checkpoint else 0,
        last_token_id=checkpoint.token_id if checkpoint else None,
        is_loaded=(OperationType.SOURCE_LOAD, pipeline.source_node.node_id) in done,
    )
    with recorder.unit_of_work():
        _close_operations(recorder, operations, _ENDED)
        recorder.update_run_status(run_id, RunStatus.RUNNING)
    return start


def _close_operations(recorder: LandscapeRecorder, operations: Iterable[Operation], reason: str) -> None:
    """Record that operations of a process that is gone did not complete."""
    for each in operations:
        if each.status is OperationStatus.OPEN:
            recorder.complete_operation(each.operation_id, OperationStatus.FAILED, run_id=each.run_id, error=reason)


def rows_after(
    items: Iterator[Row | InvalidRow], db: LandscapeDB, run_id: str, rows: int
) -> Iterator[Row | InvalidRow]:
    """The rows of a source behind those that are recorded.

    ResumeError unless it begins with the same rows as then.
    """
    recorded = row_hashes(db, run_id)
    for index, expected in enumerate(islice(recorded, rows)):
        item = next(items, None)
        if item is None:
            raise ResumeError(_changed(run_id, f"it ends before row {index}, of {rows} that are recorded"))
        data = item.data if isinstance(item, InvalidRow) else item
        found = stable_hash(tolerant(data))
        if found != expected:
            raise ResumeError(_changed(run_id, f"row {index} has the hash {found}, recorded is {expected}"))
    yield from items


def _changed(run_id: str, how: str) -> str:
    return (
        f"the source is not what run {run_id} read: {how}; put back what it was to resume the run, "
        "or give the run up with --abandon"
    )


def _sinks(
    pipeline: Pipeline, taken: Mapping[str, JsonObject], artifacts: list[Artifact], done: set[tuple[OperationType, str]]
) -> Iterator[tuple[str, SinkProgress]]:
    outputs = {each.sink_node_id: each for each in artifacts}
    for name in pipeline.sinks:
        node_id = pipeline.sink_node(name).node_id
        state, artifact = taken.get(node_id, {}), outputs.get(node_id)
        yield (
            name,
            SinkProgress(
                rows=cast("int", state.get("rows", 0)),
                last_state_id=cast("str | None", state.get("last_state_id")),
                position=cast("JsonObject", state.get("position", {})),
                output=_output(artifact) if artifact else None,
                is_published=(OperationType.SINK_WRITE, node_id) in done,
            ),
        )


def _output(artifact: Artifact) -> StagedOutput:
    return StagedOutput(
        artifact_type=artifact.artifact_type,
        path=artifact.path_or_uri,
        content_hash=artifact.content_hash,
        size_bytes=artifact.size_bytes,
    )


def _require_same_pipeline(recorder: LandscapeRecorder, pipeline: Pipeline, run_id: str) -> None:
    """Return if settings and plugins are those that the run began with. Secrets may be others: they are rotated.

    Raises ResumeError.
    """
    before = without_secrets(json.loads(_run(recorder, run_id).settings_json))
    now = json.loads(canonical_json(without_secrets(pipeline.settings.model_dump(mode="json"))))
    versions = {node.node_id: node.plugin_version for node in pipeline.nodes.values()}
    changes = list(_differences("", before, now))
    for node in recorder.get_nodes(run_id):
        version = versions.get(node.node_id)
        if version is None and not changes:  # another version of elspeth may have named it otherwise
            changes.append(f"node {node.node_id}")
        elif version not in {None, node.plugin_version}:
            changes.append(f"plugin {node.plugin_name} was {node.plugin_version} and is {version}")
    if changes:
        more = f" and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else ""
        raise ResumeError(
            f"run {run_id} began with other settings or plugins: {', '.join(changes[:_SHOWN])}{more}; resume it with "
            "those that it began with, or run the pipeline anew"
        )


def _differences(place: str, before: object, now: object) -> Iterator[str]:
    """The places at which two settings trees differ."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted(before.keys() | now.keys()):
            yield from _differences(f"{place}.{key}".lstrip("."), before.get(key), now.get(key))
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for index, (old, new) in enumerate(zip(before, now, strict=True)):
            yield from _differences(f"{place}[{index}]", old, new)
    elif before != now:
        yield place

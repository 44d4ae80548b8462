"""Where a process begins its work on a run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import cast

from elspeth.contracts.audit import Artifact, Operation, Run, RunProcess
from elspeth.contracts.enums import NodeType, OperationStatus, OperationType, RunStatus
from elspeth.contracts.plugins import JsonObject, StagedOutput
from elspeth.contracts.rows import InvalidRow, RowData
from elspeth.core.canonical import CANONICAL_VERSION, canonical_json, stable_hash
from elspeth.core.differences import find_differences
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.queries.recorded import count_endings, count_rows, count_rows_by_source, row_hashes
from elspeth.core.landscape.queries.runs import matches_run, resolve_run
from elspeth.core.landscape.recording.base import make_recordable
from elspeth.core.landscape.recording.batches import FIRST_ROW, HeldItem
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.landscape.sealing.unfinished import read_unfinished_runs
from elspeth.core.placeholders import placeholder_values
from elspeth.core.secrets import mask_secrets, without_secrets
from elspeth.core.settings import Settings
from elspeth.core.settings.wiring import Place
from elspeth.engine.datasets import name_datasets
from elspeth.engine.errors import ResumeError, changed_source_error
from elspeth.engine.inputs import read_inputs, require_same_inputs
from elspeth.engine.keys import RunKeys
from elspeth.engine.lineage_events import LineageEvents
from elspeth.engine.log_checkpoints import LogCheckpoints
from elspeth.engine.pipeline import Pipeline
from elspeth.engine.reporting import Ending

__all__ = [
    "SinkProgress",
    "Start",
    "StoppedRun",
    "abandon_run",
    "begin_run",
    "get_resumable_run",
    "get_stopped_run",
    "load_start",
    "resolve_replayed_run",
    "skip_recorded_rows",
]

_SHOWN_CHANGES = 5
_MAY_CHANGE = frozenset({"concurrency.workers"})
"""Settings that a resumed run may have otherwise: its results do not depend on them."""

_LINEAGE = "openlineage."
"""The beginning of settings that are about events: those tell of a run, and change nothing of it."""

_PROCESS_ENDED = "the process ended before this was done; the run was taken up again"


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkProgress:
    """How far a sink had come when a process began.

    `last_state_id` is the newest visit that wrote a row, `output` what the sink was about to publish, if it was.
    """

    rows: int = 0
    last_state_id: str | None = None
    position: JsonObject = field(default_factory=dict)
    output: StagedOutput | None = None
    is_published: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What is recorded of a run when a process begins.

    `edges` holds edge ids by the node that they leave and their label. `rows` counts the rows taken from all sources,
    `rows_by_source` those of each. The sources `loaded` have no more rows, and `is_loaded` says that no source has.
    `checkpoints` is the number of the newest checkpoint, `last_token_id` its token. `reason_key` is the key of the
    salts of reasons, if contents are kept.
    """

    run_id: str
    edges: Mapping[tuple[str, str], str]
    rows: int = 0
    rows_by_source: Mapping[Place, int] = field(default_factory=dict)
    endings: Mapping[Ending, int] = field(default_factory=dict)
    sinks: Mapping[str, SinkProgress] = field(default_factory=dict)
    held: Sequence[HeldItem] = ()
    checkpoints: int = 0
    last_token_id: str | None = None
    loaded: frozenset[Place] = frozenset()
    is_loaded: bool = False
    reason_key: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppedRun:
    """How far a run has come, and what stopped it.

    `rows` counts the rows of the source, `waiting` the items that wait for further rows.
    """

    run_id: str
    status: RunStatus
    rows: int
    waiting: int
    reasons: tuple[str, ...]


# -- a new run -------------------------------------------------------------------------------------------------------


def begin_run(recorder: LandscapeRecorder, pipeline: Pipeline, keys: RunKeys, process: RunProcess) -> Start:
    """Record a new run and its graph, in one transaction.

    The run begins when the process does.

    Raises PluginError, before anything is recorded, if a transform cannot read what it needs, or if a source or sink
    cannot name its datasets.
    """
    inputs, run_id = {**read_inputs(pipeline), **name_datasets(pipeline)}, process.run_id
    with recorder.unit_of_work():
        recorder.begin_run(
            mask_secrets(pipeline.settings.model_dump(mode="json"), keys.mask),
            CANONICAL_VERSION,
            run_id=run_id,
            started_at=process.started_at,
            source_schema=_source_schema(pipeline),
        )
        recorder.record_run_process(process)
        resolutions: list[dict[str, object]] = [
            {
                "timestamp": keys.looked_up,
                "env_var_name": variable.name,
                "source": "env",
                "fingerprint": variable.fingerprint,
            }
            for variable in keys.variables
        ]
        recorder.record_secret_resolutions(run_id, resolutions)
        for sequence, (place, node) in enumerate(pipeline.nodes.items()):
            recorder.register_node(
                run_id,
                node.plugin_name,
                node.node_type,
                node.plugin_version,
                mask_secrets({**node.config, **inputs.get(place, {})}, keys.mask),
                node_id=node.node_id,
                sequence=sequence,
                determinism=node.determinism,
                schema_config=node.schema,
            )
        edges = {
            (edge.from_node, edge.label): recorder.register_edge(
                run_id, edge.from_node, edge.to_node, edge.label, edge.mode
            ).edge_id
            for edge in pipeline.edges()
        }
    return Start(run_id=run_id, edges=edges)


def _source_schema(pipeline: Pipeline) -> dict[str, object]:
    """Return the JSON Schema of the rows of all sources."""
    schemas = [pipeline.nodes[place].schema.json_schema() for place in pipeline.sources]
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


def resolve_replayed_run(db: LandscapeDB, pipeline: Pipeline, resumed: Run | None = None) -> Pipeline:
    """Return the pipeline with the replayed run's whole id.

    A resumed run keeps to the one that it began with, which need not be the latest any more. Raises RunNotFoundError or
    AmbiguousRunError.
    """
    name = pipeline.settings.replay_source_run_id
    if name is None:
        return pipeline
    before = None if resumed is None else json.loads(resumed.settings_json).get("replay_source_run_id")
    run_id = before if isinstance(before, str) and matches_run(name, before) else resolve_run(db, name)
    return replace(pipeline, settings=pipeline.settings.model_copy(update={"replay_source_run_id": run_id}))


# -- a run that stopped ----------------------------------------------------------------------------------------------


def get_stopped_run(db: LandscapeDB, run_id: str) -> StoppedRun:
    """Return how far a run has come.

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
        ),  # a remembered key does not wait
        reasons=tuple(dict.fromkeys(reasons)),
    )


def abandon_run(db: LandscapeDB, settings: Settings, keys: RunKeys, run_id: str) -> list[str]:
    """Record that a stopped run has failed for good.

    What it staged stays where it is. Returns where no checkpoint of the log could be left, and which lineage events
    were not sent. Raises ResumeError if the run has ended already.
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

    Raises ResumeError for a run that is unknown or ended, or whose records say that it ended although its status does
    not.
    """
    run = _get_run(recorder, run_id)
    if run.status.is_terminal:
        raise ResumeError(f"run {run_id} is {run.status}: only a run that has not ended can be resumed")
    with db.connection() as connection:
        marked = [each for each in read_unfinished_runs(connection, run_id) if each.marks]
    for each in marked:
        raise ResumeError(
            f"run {run_id} {each.problem}."
            " It stays as it is, so that nothing is sealed that was changed: find out who did that"
        )
    return run


def _get_run(recorder: LandscapeRecorder, run_id: str) -> Run:
    run = recorder.get_run(run_id)
    if run is None:
        raise ResumeError(f"run {run_id} is not in this audit database")
    return run


def load_start(db: LandscapeDB, recorder: LandscapeRecorder, pipeline: Pipeline, process: RunProcess) -> Start:
    """Load how far a run has come, and reopen it.

    Raises ResumeError if it cannot go on. A crash in here leaves only operations of the earlier process closed, which
    is true already.
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

    Raises ResumeError if they differ. Secrets may differ: they are rotated.
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
        if version is None and not changes:  # another version of elspeth may have named it otherwise
            changes.append(f"node {node.node_id}")
        elif version not in {None, node.plugin_version}:
            changes.append(f"plugin {node.plugin_name} was {node.plugin_version} and is {version}")
    if changes:
        more = f" and {len(changes) - _SHOWN_CHANGES} more" if len(changes) > _SHOWN_CHANGES else ""
        raise ResumeError(
            f"run {run_id} began with other settings or plugins: {', '.join(changes[:_SHOWN_CHANGES])}{more}; "
            "resume it with those that it began with, or run the pipeline again"
        )

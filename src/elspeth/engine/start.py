"""The beginning of a run in a process.

`Start` holds the state of the run in the audit database at that moment.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from elspeth.contracts.audit import Run, RunProcess
from elspeth.contracts.plugins import JsonObject, StagedOutput
from elspeth.core.canonical import CANONICAL_VERSION
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.queries.runs import matches_run, resolve_run
from elspeth.core.landscape.recording.batches import HeldItem
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.secrets import mask_secrets
from elspeth.core.settings.wiring import Place
from elspeth.engine.inputs import read_inputs
from elspeth.engine.keys import RunKeys
from elspeth.engine.lineage_records import describe_data
from elspeth.engine.pipeline import Pipeline
from elspeth.engine.reporting import Ending

__all__ = ["SinkProgress", "Start", "begin_run", "resolve_replayed_run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkProgress:
    """The progress of a sink when a process began.

    `last_state_id` is the newest visit that wrote a row. `output` is the recorded output, if the sink was about to
    publish one.
    """

    rows: int = 0
    last_state_id: str | None = None
    position: JsonObject = field(default_factory=dict)
    output: StagedOutput | None = None
    is_published: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """The recorded state of a run when a process begins.

    `edges` holds edge ids by (origin, label). `rows` counts the rows taken from all sources, and `rows_by_source` those
    of each source. The sources `loaded` have no more rows, and `is_loaded` says that this holds for all sources.
    `checkpoints` is the number of the newest checkpoint, and `last_token_id` its token. `reason_key` is the key of the
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


def begin_run(recorder: LandscapeRecorder, pipeline: Pipeline, keys: RunKeys, process: RunProcess) -> Start:
    """Record a new run and its graph, in one transaction.

    The run begins at the same time as the process. Raises PluginError, before anything is recorded, if a transform
    cannot read its inputs, or if a plugin cannot describe its data.
    """
    inputs, described, run_id = read_inputs(pipeline), describe_data(pipeline), process.run_id
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
                mask_secrets({**node.config, **inputs.get(place, {}), **described.get(place, {})}, keys.mask),
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

    A resumed run keeps the replayed run with which it began, which need not be the latest any more. Raises
    RunNotFoundError or AmbiguousRunError if the settings do not name one run.
    """
    name = pipeline.settings.replay_source_run_id
    if name is None:
        return pipeline
    before = None if resumed is None else json.loads(resumed.settings_json).get("replay_source_run_id")
    run_id = before if isinstance(before, str) and matches_run(name, before) else resolve_run(db, name)
    return replace(pipeline, settings=pipeline.settings.model_copy(update={"replay_source_run_id": run_id}))

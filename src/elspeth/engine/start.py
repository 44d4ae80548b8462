"""Where a process begins its work on a run: at the first row, or where another one stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from elspeth.contracts.plugins import JsonObject, StagedOutput
from elspeth.core.canonical import CANONICAL_VERSION
from elspeth.core.landscape.recording.batches import HeldItem
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.secrets import mask_secrets
from elspeth.engine.pipeline import Pipeline
from elspeth.engine.preflight import RunKeys, SecretVariable
from elspeth.engine.result import Ending

__all__ = ["SinkProgress", "Start", "begin", "recorded_settings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkProgress:
    """How far a sink has come: rows, the last state that wrote, its position; what it was about to publish, if it was.

    `is_published` says that nothing is left to do.
    """

    rows: int = 0
    last_state_id: str | None = None
    position: JsonObject = field(default_factory=dict)
    output: StagedOutput | None = None
    is_published: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What is recorded of a run when a process begins to work on it.

    `edges` holds edge ids by the node they leave and their label, `rows` the number of rows taken from the source,
    `checkpoints` the number of the newest checkpoint and `last_token_id` its token. `is_loaded` says that the source
    has no more rows.
    """

    run_id: str
    edges: Mapping[tuple[str, str], str]
    rows: int = 0
    endings: Mapping[Ending, int] = field(default_factory=dict)
    sinks: Mapping[str, SinkProgress] = field(default_factory=dict)
    held: Sequence[HeldItem] = ()
    checkpoints: int = 0
    last_token_id: str | None = None
    is_loaded: bool = False


def recorded_settings(pipeline: Pipeline, keys: RunKeys) -> dict[str, object]:
    """The settings as they are recorded: without secrets."""
    return mask_secrets(pipeline.settings.model_dump(mode="json"), keys.mask)


def _resolution(variable: SecretVariable, keys: RunKeys) -> dict[str, object]:
    """Return the columns of a secret resolution."""
    return {
        "timestamp": keys.looked_up,
        "env_var_name": variable.name,
        "source": "env",
        "fingerprint": variable.fingerprint,
    }


def begin(
    recorder: LandscapeRecorder, pipeline: Pipeline, keys: RunKeys, *, run_id: str, started_at: datetime
) -> Start:
    """Record a new run and its graph, in one transaction."""
    with recorder.unit_of_work():
        recorder.begin_run(
            recorded_settings(pipeline, keys),
            CANONICAL_VERSION,
            run_id=run_id,
            started_at=started_at,
            source_schema=pipeline.source_node.schema.json_schema(),
        )
        recorder.record_secret_resolutions(run_id, [_resolution(each, keys) for each in keys.variables])
        for sequence, node in enumerate(pipeline.nodes.values()):
            recorder.register_node(
                run_id,
                node.plugin_name,
                node.node_type,
                node.plugin_version,
                mask_secrets(node.config, keys.mask),
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

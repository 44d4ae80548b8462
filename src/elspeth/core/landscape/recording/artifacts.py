"""Artifacts: what sinks wrote, and checkpoints: how far a run has come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from elspeth.core.landscape.recording.base import RecorderPart, json_or_none, new_id, now
from elspeth_schema import records
from elspeth_schema.contracts import Artifact, Checkpoint
from elspeth_schema.tables import artifacts_table, checkpoints_table

__all__ = ["CHECKPOINT_FORMAT", "ArtifactRecording"]

CHECKPOINT_FORMAT = 5
"""Format of the sink state in checkpoints written by this version."""


class ArtifactRecording(RecorderPart):
    """Calls about artifacts and checkpoints."""

    def register_artifact(
        self,
        run_id: str,
        state_id: str,
        sink_node_id: str,
        artifact_type: str,
        path: str,
        content_hash: str,
        size_bytes: int,
        *,
        artifact_id: str | None = None,
        idempotency_key: str | None = None,
    ) -> Artifact:
        """Record what a sink wrote, with the SHA-256 of its bytes."""
        artifact = Artifact(
            run_id=run_id,
            artifact_id=artifact_id or new_id(),
            produced_by_state_id=state_id,
            sink_node_id=sink_node_id,
            artifact_type=artifact_type,
            path_or_uri=path,
            content_hash=content_hash,
            size_bytes=size_bytes,
            idempotency_key=idempotency_key,
            created_at=now(),
        )
        self._store.add(artifact)
        return artifact

    def get_artifacts(self, run_id: str, *, sink_node_id: str | None = None) -> list[Artifact]:
        """The run's artifacts in the order they were recorded."""
        columns = artifacts_table.c
        conditions = [columns.run_id == run_id]
        if sink_node_id is not None:
            conditions.append(columns.sink_node_id == sink_node_id)
        found = self._store.select(records.ARTIFACT, *conditions)
        return sorted(found, key=lambda artifact: (artifact.created_at, artifact.artifact_id))

    def create_checkpoint(
        self,
        run_id: str,
        token_id: str,
        node_id: str,
        sequence_number: int,
        *,
        upstream_topology_hash: str | None = None,
        checkpoint_node_config_hash: str | None = None,
        aggregation_state: Mapping[str, Any] | None = None,
        sink_state: Mapping[str, Any] | None = None,
        checkpoint_id: str | None = None,
    ) -> Checkpoint:
        """Record that everything up to a token's visit to a node is done and need not be done again."""
        checkpoint = Checkpoint(
            run_id=run_id,
            checkpoint_id=checkpoint_id or new_id(),
            token_id=token_id,
            node_id=node_id,
            sequence_number=sequence_number,
            aggregation_state_json=json_or_none(aggregation_state),
            sink_state_json=json_or_none(sink_state),
            created_at=now(),
            upstream_topology_hash=upstream_topology_hash,
            checkpoint_node_config_hash=checkpoint_node_config_hash,
            format_version=CHECKPOINT_FORMAT,
        )
        self._store.add(checkpoint)
        return checkpoint

    def get_last_checkpoint(self, run_id: str) -> Checkpoint | None:
        """The run's newest checkpoint, or None."""
        columns = checkpoints_table.c
        newest = (
            select(columns.checkpoint_id)
            .where(columns.run_id == run_id)
            .order_by(columns.sequence_number.desc(), columns.checkpoint_id.desc())
            .limit(1)
        )
        found = self._store.rows(newest)
        return self._store.get_by_key(records.CHECKPOINT, run_id, str(found[0][0])) if found else None

    def get_checkpoints(self, run_id: str) -> list[Checkpoint]:
        """The run's checkpoints, in order."""
        found = self._store.select(records.CHECKPOINT, checkpoints_table.c.run_id == run_id)
        return sorted(found, key=lambda each: (each.sequence_number, each.created_at, each.checkpoint_id))

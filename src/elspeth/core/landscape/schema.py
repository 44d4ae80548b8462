"""The generated tables, under the predecessor's import path."""

from __future__ import annotations

from elspeth_schema.tables import (
    artifacts_table,
    batch_members_table,
    batch_outputs_table,
    batches_table,
    calls_table,
    checkpoints_table,
    edges_table,
    metadata,
    node_states_table,
    nodes_table,
    operations_table,
    routing_events_table,
    rows_table,
    runs_table,
    secret_resolutions_table,
    token_outcomes_table,
    token_parents_table,
    tokens_table,
    transform_errors_table,
    validation_errors_table,
)

__all__ = [
    "artifacts_table",
    "batch_members_table",
    "batch_outputs_table",
    "batches_table",
    "calls_table",
    "checkpoints_table",
    "edges_table",
    "metadata",
    "node_states_table",
    "nodes_table",
    "operations_table",
    "routing_events_table",
    "rows_table",
    "runs_table",
    "secret_resolutions_table",
    "token_outcomes_table",
    "token_parents_table",
    "tokens_table",
    "transform_errors_table",
    "validation_errors_table",
]

"""The records of an audit trail, and combinations of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TypedDict

from elspeth_schema.contracts import (
    Artifact,
    AuditRecord,
    Batch,
    BatchMember,
    BatchOutput,
    BatchStatus,
    Call,
    Checkpoint,
    Edge,
    ExportStatus,
    Node,
    NodeState,
    NodeStateCompleted,
    NodeStateFailed,
    NodeStateOpen,
    NodeStatePending,
    Operation,
    RoutingEvent,
    Row,
    Run,
    RunProcess,
    SecretResolution,
    SourceInput,
    Token,
    TokenOutcome,
    TokenParent,
    TransformErrorRecord,
    ValidationErrorRecord,
)

__all__ = [
    "Artifact",
    "AuditRecord",
    "Batch",
    "BatchMember",
    "BatchOutput",
    "BatchStatusUpdate",
    "Call",
    "Checkpoint",
    "Edge",
    "ExportStatusUpdate",
    "Node",
    "NodeState",
    "NodeStateCompleted",
    "NodeStateFailed",
    "NodeStateOpen",
    "NodeStatePending",
    "Operation",
    "RoutingEvent",
    "Row",
    "RowLineage",
    "Run",
    "RunProcess",
    "SecretResolution",
    "SourceInput",
    "Token",
    "TokenOutcome",
    "TokenParent",
    "TransformErrorRecord",
    "ValidationErrorRecord",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowLineage:
    """A source row, with its data if that is available."""

    row_id: str
    run_id: str
    source_node_id: str
    row_index: int
    source_data_hash: str
    created_at: datetime
    source_data: dict[str, object] | None
    payload_available: bool


class ExportStatusUpdate(TypedDict, total=False):
    """Columns of a run that describe its export."""

    export_status: ExportStatus
    exported_at: datetime
    export_error: str
    export_format: str
    export_sink: str


class BatchStatusUpdate(TypedDict, total=False):
    """Columns of a batch that change while it is processed."""

    status: BatchStatus
    completed_at: datetime
    trigger_reason: str
    aggregation_state_id: str

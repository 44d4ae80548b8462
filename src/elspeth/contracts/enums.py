"""The values that audit records and settings may hold, generated from the schema."""

from __future__ import annotations

from elspeth_schema.contracts import (
    BatchStatus,
    CallStatus,
    CallType,
    Determinism,
    ExportStatus,
    NodeStateStatus,
    NodeType,
    OperationStatus,
    OperationType,
    OutputMode,
    ReproducibilityGrade,
    RoutingKind,
    RoutingMode,
    RowOutcome,
    RunMode,
    RunStatus,
    TriggerType,
)

__all__ = [
    "BatchStatus",
    "CallStatus",
    "CallType",
    "Determinism",
    "ExportStatus",
    "NodeStateStatus",
    "NodeType",
    "OperationStatus",
    "OperationType",
    "OutputMode",
    "ReproducibilityGrade",
    "RoutingKind",
    "RoutingMode",
    "RowOutcome",
    "RunMode",
    "RunStatus",
    "TriggerType",
]

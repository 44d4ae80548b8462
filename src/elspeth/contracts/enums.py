"""The values that audit records and settings may hold, generated from the schema, and labels made of names."""

from __future__ import annotations

from enum import StrEnum

from elspeth_schema.enums import (
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
    "BackpressureMode",
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
    "TelemetryGranularity",
    "TriggerType",
    "error_edge_label",
]


class TelemetryGranularity(StrEnum):
    """How much of a run is told while it runs. Kept for callers that name it; nothing records it."""

    LIFECYCLE = "lifecycle"
    ROWS = "rows"
    FULL = "full"


class BackpressureMode(StrEnum):
    """What happens to telling when the listener is slow. Kept for callers that name it; nothing records it."""

    BLOCK = "block"
    DROP = "drop"
    SLOW = "slow"


def error_edge_label(transform_id: str) -> str:
    """Label of the edge that takes the rows a transform could not process to their sink."""
    return f"__error_{transform_id}__"

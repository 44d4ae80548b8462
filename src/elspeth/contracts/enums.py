"""The values that audit records and settings may hold."""

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
    """How much of a run is reported while it runs.

    Kept for programs written for the predecessor; nothing here reads it.
    """

    LIFECYCLE = "lifecycle"
    ROWS = "rows"
    FULL = "full"


class BackpressureMode(StrEnum):
    """What happens to reports when their receiver is slow.

    Kept for programs written for the predecessor; nothing here reads it.
    """

    BLOCK = "block"
    DROP = "drop"
    SLOW = "slow"


def error_edge_label(transform_id: str) -> str:
    """Return the label of a transform's error edge."""
    return f"__error_{transform_id}__"

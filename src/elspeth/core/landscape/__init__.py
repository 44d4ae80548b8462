"""The Landscape: the audit database, its writers and its readers.

The names below can be imported from here; each module is loaded when one of its names is first requested.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from elspeth.contracts.audit import (
        Artifact,
        Batch,
        BatchMember,
        BatchOutput,
        Call,
        Checkpoint,
        Edge,
        Node,
        NodeState,
        NodeStateCompleted,
        NodeStateFailed,
        NodeStateOpen,
        RoutingEvent,
        Row,
        RowLineage,
        Run,
        Token,
        TokenParent,
    )
    from elspeth.contracts.enums import CallStatus, CallType, NodeStateStatus, RunStatus
    from elspeth.contracts.routing import RoutingSpec
    from elspeth.core.landscape.database import LandscapeDB, SchemaCompatibilityError
    from elspeth.core.landscape.exporting.exporter import LandscapeExporter
    from elspeth.core.landscape.formatters import CSVFormatter, ExportFormatter, JSONFormatter
    from elspeth.core.landscape.queries.lineage import LineageResult, explain
    from elspeth.core.landscape.recording.predecessor_reads import RowDataResult, RowDataState
    from elspeth.core.landscape.recording.recorder import LandscapeRecorder
    from elspeth.core.landscape.recording.reproducibility import (
        ReproducibilityGrade,
        compute_grade,
        set_run_grade,
        update_grade_after_purge,
    )
    from elspeth.core.landscape.schema import (
        artifacts_table,
        batch_members_table,
        batch_outputs_table,
        batches_table,
        calls_table,
        edges_table,
        metadata,
        node_states_table,
        nodes_table,
        routing_events_table,
        rows_table,
        runs_table,
        token_parents_table,
        tokens_table,
    )

__all__ = [
    "Artifact",
    "Batch",
    "BatchMember",
    "BatchOutput",
    "CSVFormatter",
    "Call",
    "CallStatus",
    "CallType",
    "Checkpoint",
    "Edge",
    "ExportFormatter",
    "JSONFormatter",
    "LandscapeDB",
    "LandscapeExporter",
    "LandscapeRecorder",
    "LineageResult",
    "Node",
    "NodeState",
    "NodeStateCompleted",
    "NodeStateFailed",
    "NodeStateOpen",
    "NodeStateStatus",
    "ReproducibilityGrade",
    "RoutingEvent",
    "RoutingSpec",
    "Row",
    "RowDataResult",
    "RowDataState",
    "RowLineage",
    "Run",
    "RunStatus",
    "SchemaCompatibilityError",
    "Token",
    "TokenParent",
    "artifacts_table",
    "batch_members_table",
    "batch_outputs_table",
    "batches_table",
    "calls_table",
    "compute_grade",
    "edges_table",
    "explain",
    "metadata",
    "node_states_table",
    "nodes_table",
    "routing_events_table",
    "rows_table",
    "runs_table",
    "set_run_grade",
    "token_parents_table",
    "tokens_table",
    "update_grade_after_purge",
]

_MODULES = (
    "elspeth.contracts.audit",
    "elspeth.contracts.enums",
    "elspeth.contracts.routing",
    "elspeth.core.landscape.formatters",
    "elspeth.core.landscape.recording.predecessor_reads",
    "elspeth.core.landscape.schema",
    "elspeth.core.landscape.database",
    "elspeth.core.landscape.recording.reproducibility",
    "elspeth.core.landscape.recording.recorder",
    "elspeth.core.landscape.exporting.exporter",
    "elspeth.core.landscape.queries.lineage",
)
"""The modules that define the names, beginning with those that load quickly."""


def __getattr__(name: str) -> object:
    if name in __all__:
        for module in map(import_module, _MODULES):
            if name in module.__all__:
                return getattr(module, name)
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""Runs to measure, recorded in units of 250 rows."""

from __future__ import annotations

from elspeth.contracts.schema import SchemaConfig
from elspeth.core.canonical import CANONICAL_VERSION, stable_hash
from elspeth.core.chunks import chunks
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth_schema.contracts import NodeStateStatus, NodeType, RoutingMode, RowOutcome, RunStatus

__all__ = ["RECORDS_PER_ROUTED_ROW", "RECORDS_PER_ROW", "RUN", "record_routed_rows", "record_rows"]

RUN = "benchmark"

RECORDS_PER_ROW = 4
"""By `record_rows`: the row, its token, one visit, one outcome."""

RECORDS_PER_ROUTED_ROW = 6
"""By `record_routed_rows`: two visits, one of the gate with its routing event."""

_ROWS_PER_UNIT = 250
_DYNAMIC = SchemaConfig.from_dict({"fields": "dynamic"})


def record_rows(url: str, records: int) -> None:
    """Record a finished run of about `records` records.

    The database at the URL is created if it does not exist.
    """
    with LandscapeDB.from_url(url) as db:
        recorder = LandscapeRecorder(db)
        _begin(recorder, {"source": NodeType.SOURCE})
        for numbers in chunks(range(records // RECORDS_PER_ROW), _ROWS_PER_UNIT):
            with recorder.unit_of_work():
                for number in numbers:
                    row = recorder.create_row(RUN, "source", number, {"id": number})
                    token = recorder.create_token(row.row_id, run_id=RUN)
                    recorder.record_visit(
                        token.token_id,
                        "source",
                        0,
                        NodeStateStatus.COMPLETED,
                        run_id=RUN,
                        input_hash=row.source_data_hash,
                        started_at=row.created_at,
                        output_hash=row.source_data_hash,
                    )
                    recorder.record_token_outcome(RUN, token.token_id, RowOutcome.COMPLETED, sink_name="sink")
        recorder.finalize_run(RUN, RunStatus.COMPLETED)


def record_routed_rows(url: str, rows: int) -> None:
    """Record the records of a routed run of `rows` rows.

    They are what the engine records if a gate sends each row to one of two sinks.
    """
    with LandscapeDB.from_url(url) as db:
        recorder = LandscapeRecorder(db)
        _begin(recorder, {"source": NodeType.SOURCE, "gate": NodeType.GATE, "sink": NodeType.SINK})
        edge = recorder.register_edge(RUN, "gate", "sink", "continue", RoutingMode.MOVE)
        for numbers in chunks(range(rows), _ROWS_PER_UNIT):
            with recorder.unit_of_work():
                for number in numbers:
                    _record_routed_row(recorder, number, edge.edge_id)
        recorder.finalize_run(RUN, RunStatus.COMPLETED)


def _record_routed_row(recorder: LandscapeRecorder, number: int, edge_id: str) -> None:
    data = {"id": number, "amount": float(number)}
    row = recorder.create_row(RUN, "source", number, data)
    token = recorder.create_token(row.row_id, run_id=RUN)
    for step, node in enumerate(("gate", "sink"), start=1):
        state = recorder.record_visit(
            token.token_id,
            node,
            step,
            NodeStateStatus.COMPLETED,
            run_id=RUN,
            input_hash=row.source_data_hash,
            started_at=row.created_at,
            output_hash=stable_hash(data),
        )
        if node == "gate":
            reason = {"condition": "row['amount'] > 10", "result": "true"}
            recorder.record_routing_event(state.state_id, edge_id, RoutingMode.MOVE, reason, run_id=RUN)
    recorder.record_token_outcome(RUN, token.token_id, RowOutcome.COMPLETED, sink_name="sink")


def _begin(recorder: LandscapeRecorder, nodes: dict[str, NodeType]) -> None:
    recorder.begin_run({}, CANONICAL_VERSION, run_id=RUN)
    for node, kind in nodes.items():
        recorder.register_node(RUN, kind.value, kind, "1", {}, node_id=node, schema_config=_DYNAMIC)

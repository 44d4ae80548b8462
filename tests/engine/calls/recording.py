"""The records of a run that made calls."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from elspeth.contracts.enums import CallStatus, CallType, NodeStateStatus, NodeType
from elspeth.contracts.plugins import JsonObject
from elspeth.contracts.schema import SchemaConfig
from elspeth.core.canonical import CANONICAL_VERSION, stable_hash
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.payload_store import PayloadStore

__all__ = ["RUN_ID", "Asked", "record_run_with_calls"]

RUN_ID = "asking"

Asked = tuple[int, JsonObject, Sequence[JsonObject | None]]
"""A visit of a row, by its index: what was asked, and what each attempt was answered.

None, and what has the key `refused`, stand for failures.
"""

ERROR = {"exception": "answered 503", "type": "CallError"}


def record_run_with_calls(db: LandscapeDB, payloads: PayloadStore | None, visits: Sequence[Asked]) -> None:
    """Record a run whose one node made these calls."""
    recorder = LandscapeRecorder(db, payload_store=payloads)
    recorder.begin_run({}, CANONICAL_VERSION, run_id=RUN_ID)
    schema = SchemaConfig.from_dict({"fields": "dynamic"})
    for node_id, kind in (("source", NodeType.SOURCE), ("oracle", NodeType.TRANSFORM)):
        recorder.register_node(RUN_ID, node_id, kind, "1.0.0", {}, node_id=node_id, schema_config=schema)
    with recorder.unit_of_work():
        rows = {
            index: recorder.create_row(RUN_ID, "source", index, {"n": index})
            for index in sorted({visit[0] for visit in visits})
        }
        for index, request, answers in visits:
            token = recorder.create_token(rows[index].row_id, run_id=RUN_ID)
            state = recorder.record_visit(
                token.token_id,
                "oracle",
                1,
                NodeStateStatus.COMPLETED,
                run_id=RUN_ID,
                input_hash=stable_hash({}),
                started_at=datetime.now(UTC),
                output_hash=stable_hash({}),
            )
            for number, answer in enumerate(answers):
                has_failed = answer is None or "refused" in answer
                recorder.record_call(
                    state.state_id,
                    number,
                    CallType.HTTP,
                    CallStatus.ERROR if has_failed else CallStatus.SUCCESS,
                    request,
                    answer,
                    ERROR if has_failed else None,
                    latency_ms=1.5,
                    run_id=RUN_ID,
                )

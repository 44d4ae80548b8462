"""Calls of the recorder in any order leave valid trails.

Refused calls leave no trace.
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, multiple, rule

from elspeth.contracts.errors import AuditIntegrityError
from elspeth.contracts.schema import SchemaConfig
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.exporting.exporter import LandscapeExporter
from elspeth.core.landscape.exporting.files import write_export
from elspeth.core.landscape.exporting.format import ExportFormat
from elspeth.core.landscape.exporting.importer import import_export
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth_schema.contracts import BatchStatus, NodeStateStatus, NodeType, RoutingMode, RowOutcome, RunStatus
from tests.fixtures.effort import examples_of

ANY = SchemaConfig.from_dict({"fields": "dynamic"})
VALUES = st.dictionaries(st.text(max_size=3), st.none() | st.integers(-9, 9) | st.text(max_size=3), max_size=2)


class RecorderMachine(RuleBasedStateMachine):
    """Drives one recorder through a run, with some units."""

    rows = Bundle("rows")
    tokens = Bundle("tokens")
    states = Bundle("states")
    batches = Bundle("batches")
    operations = Bundle("operations")

    def __init__(self) -> None:
        super().__init__()
        self.db = LandscapeDB.in_memory()
        self.recorder = LandscapeRecorder(self.db)
        self.ended: set[str] = set()
        self.decided: set[str] = set()
        self.closed: set[str] = set()
        self.expected: dict[str, int] = {}

    def count(self, record_type: str, number: int = 1) -> None:
        self.expected[record_type] = self.expected.get(record_type, 0) + number

    @initialize()
    def begin(self) -> None:
        self.run_id = self.recorder.begin_run({"a": 1}, "v1").run_id
        self.nodes = [
            self.recorder.register_node(self.run_id, "p", kind, "1", {}, schema_config=ANY).node_id
            for kind in (NodeType.SOURCE, NodeType.AGGREGATION, NodeType.SINK)
        ]
        source, _, sink = self.nodes
        self.edge = self.recorder.register_edge(self.run_id, source, sink, "continue", RoutingMode.MOVE).edge_id
        self.count("run")
        self.count("node", 3)
        self.count("edge")

    @rule(target=rows, data=VALUES)
    def create_row(self, data: dict[str, Any]) -> str:
        number = self.expected.get("row", 0)
        self.count("row")
        return self.recorder.create_row(self.run_id, self.nodes[0], number, data).row_id

    @rule(target=tokens, row=rows)
    def create_token(self, row: str) -> str:
        self.count("token")
        return self.recorder.create_token(row).token_id

    @rule(target=tokens, row=rows, token=tokens, count=st.integers(1, 3), fork=st.booleans())
    def part(self, row: str, token: str, count: int, fork: bool) -> object:
        with self.recorder.unit_of_work():
            children = (
                self.recorder.fork_token(token, row, [f"branch{number}" for number in range(count)])
                if fork
                else self.recorder.expand_token(token, row, count, 1)
            )
        self.count("token", count)
        self.count("token_parent", count)
        return multiple(*(child.token_id for child in children))

    @rule(target=tokens, row=rows, first=tokens, second=tokens)
    def coalesce(self, row: str, first: str, second: str) -> object:
        if first == second:
            with pytest.raises(AuditIntegrityError):
                self.recorder.coalesce_tokens([first, second], row)
            return multiple()
        self.count("token")
        self.count("token_parent", 2)
        return self.recorder.coalesce_tokens([first, second], row).token_id

    @rule(target=states, token=tokens, data=VALUES)
    def begin_state(self, token: str, data: dict[str, Any]) -> str:
        step = len(self.recorder.get_node_states_for_token(token))
        self.count("node_state")
        return self.recorder.begin_node_state(token, self.nodes[2], step, data, attempt=step).state_id

    @rule(state=states, status=st.sampled_from(NodeStateStatus), data=VALUES)
    def complete_state(self, state: str, status: NodeStateStatus, data: dict[str, Any]) -> None:
        output = data if status is NodeStateStatus.COMPLETED else None
        if status is NodeStateStatus.OPEN or state in self.ended:
            with pytest.raises(AuditIntegrityError):
                self.recorder.complete_node_state(state, status, output_data=output)
            return
        self.recorder.complete_node_state(state, status, output_data=output)
        if status.is_terminal:
            self.ended.add(state)

    @rule(state=states, reason=VALUES)
    def route(self, state: str, reason: dict[str, Any]) -> None:
        self.recorder.record_routing_event(state, self.edge, RoutingMode.MOVE, reason)
        self.count("routing_event")

    @rule(state=states, data=VALUES)
    def call(self, state: str, data: dict[str, Any]) -> None:
        index = self.recorder.allocate_call_index(state)
        self.recorder.record_call(state, index, "http", "success", data, data, latency_ms=1.5)
        self.count("call")

    @rule(token=tokens, outcome=st.sampled_from(RowOutcome))
    def end_token(self, token: str, outcome: RowOutcome) -> None:
        if outcome.is_terminal and token in self.decided:
            with pytest.raises(AuditIntegrityError):
                self.recorder.record_token_outcome(self.run_id, token, outcome)
            return
        self.recorder.record_token_outcome(self.run_id, token, outcome)
        self.count("token_outcome")
        if outcome.is_terminal:
            self.decided.add(token)

    @rule(target=batches)
    def create_batch(self) -> str:
        self.count("batch")
        return self.recorder.create_batch(self.run_id, self.nodes[1]).batch_id

    @rule(batch=batches, token=tokens)
    def add_member(self, batch: str, token: str) -> None:
        members = self.recorder.get_batch_members(batch)
        if token in {member.token_id for member in members}:
            with pytest.raises(AuditIntegrityError):
                self.recorder.add_batch_member(batch, token, len(members))
            return
        self.recorder.add_batch_member(batch, token, len(members))
        self.count("batch_member")

    @rule(batch=batches, status=st.sampled_from(BatchStatus))
    def change_batch(self, batch: str, status: BatchStatus) -> None:
        if batch in self.closed:
            with pytest.raises(AuditIntegrityError):
                self.recorder.update_batch_status(batch, status, trigger_reason="again")
            return
        self.recorder.update_batch_status(batch, status)
        if status.is_terminal:
            self.closed.add(batch)

    @rule(data=VALUES)
    def fail_in_a_unit(self, data: dict[str, Any]) -> None:
        with pytest.raises(AuditIntegrityError):
            self.create_row_and_stray_token(data)

    def create_row_and_stray_token(self, data: dict[str, Any]) -> None:
        with self.recorder.unit_of_work():
            self.recorder.create_row(self.run_id, self.nodes[0], 10_000, data)
            self.recorder.create_token("no-such-row", run_id=self.run_id)

    def teardown(self) -> None:
        if not self.expected:
            self.db.close()
            return
        self.recorder.complete_run(self.run_id, RunStatus.COMPLETED)
        with pytest.raises(AuditIntegrityError):
            self.recorder.complete_run(self.run_id, RunStatus.FAILED)
        lines = list(LandscapeExporter(self.db).export_lines(self.run_id))
        assert json.loads(lines[-1])["counts"] == {name: number for name, number in self.expected.items() if number}
        with LandscapeDB.in_memory() as restored, TemporaryDirectory() as directory:
            path = Path(directory) / "trail.jsonl"
            write_export(self.db, self.run_id, path, format=ExportFormat.JSONL)
            import_export(restored, path)
            assert list(LandscapeExporter(restored).export_lines(self.run_id)) == lines
        self.db.close()


TestRecorderMachine = pytest.mark.law(RecorderMachine.TestCase)
TestRecorderMachine.settings = settings(max_examples=examples_of(25), stateful_step_count=25, deadline=None)

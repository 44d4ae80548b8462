"""What happens to one row: recorded step by step from the source to its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from elspeth.contracts.display import shown
from elspeth.contracts.enums import NodeStateStatus, RoutingMode, RowOutcome
from elspeth.contracts.errors import ExecutionError
from elspeth.contracts.plugins import InvalidRow, Row, RowRejectedError
from elspeth.core.canonical import CanonicalError, stable_hash
from elspeth.core.expressions import EvaluationError, route_label
from elspeth.core.landscape.recorder import LandscapeRecorder
from elspeth.core.landscape.recording.base import tolerant
from elspeth.engine.pipeline import CONTINUE, DISCARD, QUARANTINE, Gate, Pipeline
from elspeth.engine.result import Ending
from elspeth.engine.sinks import SinkSet

__all__ = ["RowProcessor"]


class RouteError(ValueError):
    """A condition's value has no route."""


@dataclass(slots=True, kw_only=True)
class _Token:
    """A token on its way: its data, and how many nodes it has visited."""

    token_id: str
    data: Row
    step: int = 0


class RowProcessor:
    """Takes rows through a pipeline. Every token it makes ends in exactly one terminal outcome.

    `edges` holds the id of the edge that leaves a node with a label. A row is never changed after it was read, so what
    is recorded as one node's output is the next node's input.
    """

    def __init__(
        self,
        recorder: LandscapeRecorder,
        run_id: str,
        pipeline: Pipeline,
        edges: Mapping[tuple[str, str], str],
        sinks: SinkSet,
    ) -> None:
        self._recorder = recorder
        self._run_id = run_id
        self._source_id = pipeline.source_node.node_id
        self._schema_mode = pipeline.source_node.schema.mode or "dynamic"
        self._on_validation_failure = pipeline.on_validation_failure
        self._gates = pipeline.gates
        self._output_sink = pipeline.settings.output_sink
        self._edges = edges
        self._sinks = sinks

    def process(self, index: int, item: Row | InvalidRow) -> Ending:
        """Take one row of the source, the `index`-th from 0, to its end."""
        if isinstance(item, InvalidRow):
            return self._quarantine(index, item)
        try:
            row = self._recorder.create_row(self._run_id, self._source_id, index, item)
        except CanonicalError as error:
            return self._quarantine(index, InvalidRow(data=item, error=str(error)))
        token = _Token(token_id=self._recorder.create_token(row.row_id, run_id=self._run_id).token_id, data=item)
        self._complete(self._begin(token, self._source_id), token)
        for gate in self._gates:
            try:
                destination = self._decide(token, gate)
            except (EvaluationError, RouteError) as error:
                return self._fail_at_gate(token, gate, error)
            if destination != CONTINUE:
                return self._deliver(token, destination, RowOutcome.ROUTED)
        return self._deliver(token, self._output_sink, RowOutcome.COMPLETED)

    def _decide(self, token: _Token, gate: Gate) -> str:
        """The destination that a gate chooses for a token."""
        value = gate.condition.evaluate(token.data)
        label = route_label(value)
        if label not in gate.routes:
            raise RouteError(f"expected one of the labels {', '.join(gate.routes)}, got {shown(label)}")
        reason = {"condition": gate.condition.source, "result": value, "label": label}
        state_id = self._begin(token, gate.node.node_id)
        self._complete(state_id, token, reason)
        self._record_route(state_id, gate.node.node_id, label, RoutingMode.MOVE, reason)
        return gate.routes[label]

    def _deliver(self, token: _Token, sink_name: str, outcome: RowOutcome, *, error_hash: str | None = None) -> Ending:
        """Hand a token to a sink. The sink only stages it: nothing is visible before the run's end."""
        sink = self._sinks[sink_name]
        state_id = self._begin(token, sink.node_id)
        try:
            sink.write(token.data, state_id)
        except RowRejectedError as error:
            return self._end(token, RowOutcome.FAILED, None, self._fail(state_id, error))
        self._complete(state_id, token)
        return self._end(token, outcome, sink_name, error_hash)

    def _fail_at_gate(self, token: _Token, gate: Gate, error: ValueError) -> Ending:
        error_hash = self._fail(self._begin(token, gate.node.node_id), error)
        details = {"condition": gate.condition.source, "exception": str(error), "type": type(error).__name__}
        if isinstance(error, EvaluationError) and error.field is not None:
            details["field"] = error.field
        self._recorder.record_transform_error(
            self._run_id, token.token_id, gate.node.node_id, token.data, details, DISCARD
        )
        return self._end(token, RowOutcome.FAILED, None, error_hash)

    def _quarantine(self, index: int, item: InvalidRow) -> Ending:
        """Record a row that the source refused, and send it where the settings say."""
        data = cast("Row", tolerant(item.data))
        destination = self._on_validation_failure
        row = self._recorder.create_row(self._run_id, self._source_id, index, data)
        token = _Token(token_id=self._recorder.create_token(row.row_id, run_id=self._run_id).token_id, data=data)
        self._recorder.record_validation_error(
            self._run_id, self._source_id, data, item.error, self._schema_mode, destination
        )
        state_id = self._begin(token, self._source_id)
        error_hash = self._fail(state_id, ValueError(item.error))
        if destination == DISCARD:
            return self._end(token, RowOutcome.QUARANTINED, None, error_hash)
        self._record_route(state_id, self._source_id, QUARANTINE, RoutingMode.DIVERT, {"error": item.error})
        return self._deliver(token, destination, RowOutcome.QUARANTINED, error_hash=error_hash)

    def _begin(self, token: _Token, node_id: str) -> str:
        state = self._recorder.begin_node_state(token.token_id, node_id, token.step, token.data, run_id=self._run_id)
        token.step += 1
        return state.state_id

    def _complete(self, state_id: str, token: _Token, reason: Mapping[str, object] | None = None) -> None:
        self._recorder.complete_node_state(
            state_id, NodeStateStatus.COMPLETED, run_id=self._run_id, output_data=token.data, success_reason=reason
        )

    def _fail(self, state_id: str, error: Exception) -> str:
        """Record that a state failed; the hash by which the outcome refers to the error."""
        details = ExecutionError(exception=str(error), type=type(error).__name__)
        self._recorder.complete_node_state(state_id, NodeStateStatus.FAILED, run_id=self._run_id, error=details)
        return stable_hash(details)

    def _record_route(
        self, state_id: str, node_id: str, label: str, mode: RoutingMode, reason: Mapping[str, object]
    ) -> None:
        self._recorder.record_routing_event(state_id, self._edges[node_id, label], mode, reason, run_id=self._run_id)

    def _end(self, token: _Token, outcome: RowOutcome, sink_name: str | None, error_hash: str | None) -> Ending:
        self._recorder.record_token_outcome(
            self._run_id, token.token_id, outcome, sink_name=sink_name, error_hash=error_hash
        )
        return outcome, sink_name

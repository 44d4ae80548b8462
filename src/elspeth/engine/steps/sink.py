"""A sink: where tokens leave the pipeline."""

from __future__ import annotations

from elspeth.contracts.enums import RoutingMode, RowOutcome
from elspeth.contracts.plugins import RowRejectedError
from elspeth.contracts.routing import QUARANTINE
from elspeth.core.settings.wiring import Wire, sink_place
from elspeth.engine.flow import Failure, Flow
from elspeth.engine.sinks import OpenSink
from elspeth.engine.tokens import Token

__all__ = ["SinkStep"]


class SinkStep:
    """Hands rows to one sink. The sink only stages them: nothing is visible before the run's end."""

    is_ordered = True

    def __init__(self, flow: Flow, name: str, sink: OpenSink, *, is_output: bool) -> None:
        self._flow = flow
        self._name = name
        self._sink = sink
        self._is_output = is_output

    def take(self, token: Token, along: Wire) -> None:
        """End the token here. How it came tells whether it went all the way, was routed or was set aside."""
        visit = self._flow.arrive(token, self._sink.node_id)
        try:
            self._sink.write(token.row)
        except RowRejectedError as error:
            self._flow.refuse(visit, sink_place(self._name), Failure.of(error))
            return
        self._sink.last_state_id = self._flow.complete(visit, token.row_hash)
        self._flow.end(token, self._outcome(along), sink_name=self._name, error_hash=token.error_hash)

    def _outcome(self, along: Wire) -> RowOutcome:
        if along.mode is RoutingMode.DIVERT:
            return RowOutcome.QUARANTINED if along.label == QUARANTINE else RowOutcome.FAILED
        return RowOutcome.COMPLETED if along.is_onward and self._is_output else RowOutcome.ROUTED

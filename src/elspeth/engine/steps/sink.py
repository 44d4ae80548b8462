"""Sinks, at which tokens leave the pipeline."""

from __future__ import annotations

from elspeth.contracts.enums import RoutingMode, RowOutcome
from elspeth.contracts.error_fields import ERROR_FIELDS, add_error_fields
from elspeth.contracts.plugins import RowRejectedError
from elspeth.contracts.routing import QUARANTINE
from elspeth.contracts.rows import RowData
from elspeth.core.canonical import stable_hash
from elspeth.core.settings.wiring import Wire, sink_place
from elspeth.engine.errors import Failure
from elspeth.engine.publishing import OpenSink
from elspeth.engine.steps import Step
from elspeth.engine.tokens import LiveToken, Onward
from elspeth.engine.trail import TrailWriter

__all__ = ["SinkStep"]


class SinkStep(Step):
    """Passes rows to a sink, which stages them.

    With `has_error_fields`, every row gets the error fields.
    """

    is_ordered = True

    def __init__(self, trail: TrailWriter, name: str, sink: OpenSink, *, has_error_fields: bool) -> None:
        self._trail = trail
        self._name = name
        self._place = sink_place(name)
        self._sink = sink
        self._has_error_fields = has_error_fields

    def take(self, token: LiveToken, along: Wire) -> Onward:
        """End a token, with an outcome that depends on `along`."""
        visit = self._trail.arrive(token, self._place)
        row, row_hash = token.row, token.row_hash
        if self._has_error_fields:
            row = self._with_error_fields(token)
            row_hash = stable_hash(row)
        try:
            self._sink.write(row)
        except RowRejectedError as error:
            return self._trail.refuse(visit, Failure.of(error))
        self._sink.last_state_id = self._trail.complete(visit, row_hash)
        return self._trail.end(token, self._outcome(along), sink_name=self._name, error_hash=token.error_hash)

    def _with_error_fields(self, token: LiveToken) -> RowData:
        """Return the row with error fields, which may be null."""
        why = token.diversion
        if why is None:
            return add_error_fields(token.row, (None,) * len(ERROR_FIELDS))
        return add_error_fields(token.row, (why.reason, why.step, why.file or token.source, why.line, token.row_index))

    def _outcome(self, along: Wire) -> RowOutcome:
        if along.mode is RoutingMode.DIVERT:
            return RowOutcome.QUARANTINED if along.label == QUARANTINE else RowOutcome.FAILED
        return RowOutcome.COMPLETED if along.completes else RowOutcome.ROUTED

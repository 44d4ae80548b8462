"""What happens to one row: recorded from the source on, and taken through the graph to its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import cast

from elspeth.contracts.enums import RowOutcome
from elspeth.contracts.plugins import InvalidRow, Row
from elspeth.contracts.routing import CONTINUE, DISCARD, QUARANTINE
from elspeth.core.canonical import CanonicalError
from elspeth.core.landscape.recording.base import tolerant
from elspeth.core.landscape.recording.batches import HeldItem
from elspeth.core.settings.wiring import SOURCE, Place, sink_place
from elspeth.engine.calls.caller import Outside
from elspeth.engine.flow import Failure, Flow, Step
from elspeth.engine.pipeline import Pipeline
from elspeth.engine.sinks import SinkSet
from elspeth.engine.steps.aggregation import AggregationStep
from elspeth.engine.steps.call import CallStep
from elspeth.engine.steps.coalesce import CoalesceStep
from elspeth.engine.steps.gate import GateStep
from elspeth.engine.steps.sink import SinkStep
from elspeth.engine.steps.transform import TransformStep
from elspeth.engine.tokens import Token
from elspeth.engine.walks import Walks
from elspeth.plugins.base import CallingTransform

__all__ = ["Clock", "RowProcessor"]

Clock = Callable[[], float]
"""Seconds since any moment, never running backwards: what timeouts are measured with."""


_ROWS_PER_WORKER = 4
"""Rows on their way for each call that may be under way, so that a slow answer does not leave the others idle."""


class RowProcessor:
    """Takes rows through a pipeline. Every token that it makes has exactly one terminal outcome when `end` returns."""

    def __init__(
        self,
        flow: Flow,
        pipeline: Pipeline,
        sinks: SinkSet,
        outside: Outside | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._flow = flow
        self._clock = clock
        self._source_id = pipeline.source_node.node_id
        self._schema_mode = pipeline.source_node.schema.mode or "dynamic"
        self._on_validation_failure = pipeline.source.options.on_validation_failure
        steps = dict(_steps(flow, pipeline, sinks, outside, clock))
        found = [(place, steps[place]) for place in pipeline.nodes if place in steps]
        self._waiting = {place: step for place, step in found if isinstance(step, AggregationStep | CoalesceStep)}
        limit = _ROWS_PER_WORKER * pipeline.settings.concurrency.max_workers if flow.asking else 1
        self._walks = Walks(flow, steps, limit)

    def restore(self, pipeline: Pipeline, held: Sequence[HeldItem]) -> None:
        """Wait with what waited when another process stopped."""
        for place, step in self._waiting.items():
            node_id = pipeline.nodes[place].node_id
            step.restore([each for each in held if each.node_id == node_id])

    def process(self, index: int, item: Row | InvalidRow) -> str:
        """Take one row of the source, the `index`-th from 0, until its tokens have ended or wait; its token's id."""
        self._release_due()
        self._walks.begin()
        if isinstance(item, InvalidRow):
            token_id = self._quarantine(index, item)
        else:
            try:
                token_id = self._admit(index, item)
            except CanonicalError as error:
                token_id = self._quarantine(index, InvalidRow(data=item, error=str(error)))
        self._walks.go_on()
        return token_id

    def settle(self) -> None:
        """Return when the tokens of all rows so far have ended or wait for further rows."""
        self._walks.settle()

    def end(self) -> None:
        """Process what still waits: the source has no more rows. What comes later in the graph is asked later."""
        self.settle()
        for step in self._waiting.values():
            self._walks.begin()
            step.release_all()
            self.settle()

    def _release_due(self) -> None:
        now = self._clock()
        for step in self._waiting.values():
            self._walks.begin()
            step.release_due(now)
            self._walks.go_on()

    def _admit(self, index: int, row: Row) -> str:
        token = self._begin(index, row)
        self._flow.complete(self._flow.arrive(token, self._source_id), token.row_hash)
        self._flow.send(token, SOURCE, CONTINUE)
        return token.token_id

    def _quarantine(self, index: int, item: InvalidRow) -> str:
        """Record a row that the source refused, and send it where the settings say."""
        data = cast("Row", tolerant(item.data))
        destination = self._on_validation_failure
        token = self._begin(index, data)
        self._flow.recorder.record_validation_error(
            self._flow.run_id, self._source_id, data, item.error, self._schema_mode, destination
        )
        failure = Failure(message=item.error, kind="ValueError")
        state_id = self._flow.fail(self._flow.arrive(token, self._source_id), failure)
        if destination == DISCARD:
            self._flow.end(token, RowOutcome.QUARANTINED, error_hash=failure.hash())
            return token.token_id
        self._flow.route(state_id, SOURCE, [QUARANTINE], {"error": item.error})
        token.error_hash = failure.hash()
        self._flow.send(token, SOURCE, QUARANTINE)
        return token.token_id

    def _begin(self, index: int, data: Row) -> Token:
        recorder, run_id = self._flow.recorder, self._flow.run_id
        row = recorder.create_row(run_id, self._source_id, index, data)
        token = recorder.create_token(row.row_id, run_id=run_id)
        return Token(
            token_id=token.token_id, row_id=row.row_id, row_index=index, row=data, row_hash=row.source_data_hash
        )


def _steps(
    flow: Flow, pipeline: Pipeline, sinks: SinkSet, outside: Outside | None, clock: Clock
) -> Iterator[tuple[Place, Step]]:
    settings, conditions = pipeline.settings, pipeline.conditions
    for place, transform in pipeline.transforms.items():
        if isinstance(transform, CallingTransform) and outside is not None:
            flow.asking[place] = asking = CallStep(flow, place, transform, outside)
            yield place, asking
        else:
            yield place, TransformStep(flow, place, transform)
    for index, (place, aggregation) in enumerate(pipeline.aggregations.items()):
        part = settings.aggregations[index]
        yield place, AggregationStep(flow, place, aggregation, part, condition=conditions.get(place), clock=clock)
    for index, gate in enumerate(settings.gates):
        gate_place: Place = ("gates", index)
        yield gate_place, GateStep(flow, gate_place, gate, conditions[gate_place], pipeline.wiring.joins)
    for index, join in enumerate(settings.coalesce):
        join_place: Place = ("coalesce", index)
        flow.joins[join_place] = step = CoalesceStep(flow, join_place, join, clock)
        yield join_place, step
    for name in pipeline.sinks:
        yield sink_place(name), SinkStep(flow, name, sinks[name], is_output=name == settings.output_sink)

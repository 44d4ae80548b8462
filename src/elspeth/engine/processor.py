"""Takes rows through the graph to their ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from elspeth.contracts.enums import RowOutcome
from elspeth.contracts.plugins import CallingTransform, DistinctTransform
from elspeth.contracts.routing import CONTINUE, DISCARD, QUARANTINE
from elspeth.contracts.rows import InvalidRow, RowData
from elspeth.core.canonical import CanonicalError, CanonicalText
from elspeth.core.landscape.recording.base import make_recordable
from elspeth.core.landscape.recording.batches import HeldItem
from elspeth.core.settings.wiring import Place, sink_place
from elspeth.engine.calls.external import ExternalCalls
from elspeth.engine.cut import cut_graph
from elspeth.engine.errors import AccountingError, Failure
from elspeth.engine.pipeline import Pipeline
from elspeth.engine.publishing import SinkSet
from elspeth.engine.steps import CollectingStep, Step
from elspeth.engine.steps.aggregation import AggregationStep
from elspeth.engine.steps.coalesce import CoalesceStep
from elspeth.engine.steps.distinct import DistinctStep
from elspeth.engine.steps.gate import GateStep
from elspeth.engine.steps.sink import SinkStep
from elspeth.engine.steps.transform import CallStep, TransformStep
from elspeth.engine.tokens import Diversion, Onward
from elspeth.engine.trail import TrailWriter
from elspeth.engine.walks import Walks

__all__ = ["ROWS_PER_CALL", "Clock", "RowProcessor"]

Clock = Callable[[], float]
"""A function that returns monotonic seconds, by which timeouts are measured."""

ROWS_PER_CALL = 4  # rows in progress for each concurrent call, so that a slow answer leaves no thread idle


@dataclass(frozen=True, slots=True, kw_only=True)
class _SourceFacts:
    """The facts to record with a source's invalid rows."""

    node_id: str
    name: str
    schema_mode: str
    on_validation_failure: str


class RowProcessor:
    """Takes rows through a pipeline.

    When `end` returns, every token has exactly one terminal outcome. Without sinks, rows are taken only through the
    row-local steps, and `take_handed` returns the departures for the other steps.
    """

    def __init__(
        self,
        trail: TrailWriter,
        pipeline: Pipeline,
        sinks: SinkSet | None,
        *,
        external: ExternalCalls | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._trail = trail
        self._clock = clock
        self._sources = {
            place: _SourceFacts(
                node_id=pipeline.nodes[place].node_id,
                name=pipeline.nodes[place].name,
                schema_mode=pipeline.nodes[place].schema.mode or "dynamic",
                on_validation_failure=source.options.on_validation_failure,
            )
            for place, source in pipeline.sources.items()
        }
        cut = cut_graph(pipeline)
        steps = dict(self._steps(pipeline, external))
        if sinks is None:
            steps = {place: step for place, step in steps.items() if place not in cut.ordered}
        else:
            steps |= self._sink_steps(pipeline, sinks)
        found = {place: steps[place] for place in pipeline.nodes if place in steps}
        self._collecting = {place: step for place, step in found.items() if isinstance(step, CollectingStep)}
        limit = 1 if external is None else ROWS_PER_CALL * pipeline.settings.concurrency.max_workers
        self._walks = Walks(steps, limit, cut)

    @property
    def batches(self) -> int:
        """Count the batches that this process has processed."""
        return sum(step.processed for step in self._collecting.values() if isinstance(step, AggregationStep))

    def restore(self, pipeline: Pipeline, items: Sequence[HeldItem]) -> None:
        """Give each step the waiting items that another process kept."""
        for place, step in self._collecting.items():
            node_id = pipeline.nodes[place].node_id
            step.restore([each for each in items if each.node_id == node_id])

    def process(self, source: Place, index: int, item: RowData | InvalidRow) -> str:
        """Process a source's row, and return its token's id.

        `index` counts the rows of all sources from 0.
        """
        self._release_due()
        if isinstance(item, InvalidRow):
            token_id, onward = self._quarantine(source, index, item)
        else:
            try:
                token_id, onward = self._admit(source, index, item)
            except CanonicalError as error:
                token_id, onward = self._quarantine(source, index, InvalidRow(data=item, error=str(error)))
        self._walks.begin(onward)
        self._walks.advance()
        return token_id

    def go_on(self, handed: Onward) -> None:
        """Continue with the departures that another process handed over."""
        self._release_due()
        self._walks.begin(handed)
        self._walks.advance()

    def settle(self) -> None:
        """Take all tokens on until they end or wait."""
        self._walks.settle()

    def take_handed(self) -> list[Onward]:
        """Return the departures to the ordered steps, by row.

        Call it after `settle`. Raises AccountingError if a row-local step keeps a token waiting.
        """
        if any(step.release_all() for step in self._collecting.values()):
            raise AccountingError("a coalesce about single rows waits for a branch after the row was processed")
        return self._walks.take_handed()

    def end(self) -> None:
        """Process the items that still wait, in graph order."""
        self.settle()
        for step in self._collecting.values():
            self._walks.begin(step.release_all())
            self.settle()

    def _release_due(self) -> None:
        now = self._clock()
        for step in self._collecting.values():
            if onward := step.release_due(now):
                self._walks.begin(onward)
                self._walks.advance()

    def _admit(self, source: Place, index: int, row: RowData) -> tuple[str, Onward]:
        token = self._trail.create_row(source, index, row)
        self._trail.complete(self._trail.arrive(token, source), token.row_hash)
        return token.token_id, [self._trail.depart(token, source, CONTINUE)]

    def _quarantine(self, source: Place, index: int, item: InvalidRow) -> tuple[str, Onward]:
        """Record an invalid row, and send it to its sink."""
        try:
            data, content = item.data, CanonicalText.of(item.data)
        except CanonicalError:
            data = cast("RowData", make_recordable(item.data))
            content = CanonicalText.of(data)
        facts = self._sources[source]
        destination = facts.on_validation_failure
        token = self._trail.create_row(source, index, data, content)
        self._trail.recorder.record_validation_error(
            self._trail.run_id, facts.node_id, content, item.error, facts.schema_mode, destination
        )
        failure = Failure(message=item.error, kind="ValueError")
        state_id, error_hash = self._trail.fail(self._trail.arrive(token, source), failure), failure.hash()
        if destination == DISCARD:
            return token.token_id, self._trail.end(token, RowOutcome.QUARANTINED, error_hash=error_hash)
        self._trail.route(state_id, source, QUARANTINE, {"error": item.error})
        token.error_hash = error_hash
        token.diversion = Diversion(reason=item.error, step=facts.name, file=item.file, line=item.line)
        return token.token_id, [self._trail.depart(token, source, QUARANTINE)]

    def _steps(self, pipeline: Pipeline, external: ExternalCalls | None) -> Iterator[tuple[Place, Step]]:
        """Yield the step of each place between sources and sinks."""
        trail, settings = self._trail, pipeline.settings
        for place, transform in pipeline.transforms.items():
            if isinstance(transform, CallingTransform) and external is not None:
                yield place, CallStep(trail, place, transform, external)
            elif isinstance(transform, DistinctTransform):
                yield place, DistinctStep(trail, place, transform)
            else:
                yield place, TransformStep(trail, place, transform)
        for place, aggregation in zip(pipeline.aggregations, settings.aggregations, strict=True):
            yield place, AggregationStep(trail, place, pipeline, aggregation, self._clock)
        for index, gate in enumerate(settings.gates):
            place = ("gates", index)
            yield place, GateStep(trail, place, gate, pipeline.conditions[place], pipeline.wiring.joins)
        for index, join in enumerate(settings.coalesce):
            place = ("coalesce", index)
            yield place, CoalesceStep(trail, place, join, self._clock)

    def _sink_steps(self, pipeline: Pipeline, sinks: SinkSet) -> Iterator[tuple[Place, Step]]:
        for name in pipeline.sinks:
            has_error_fields = name in pipeline.error_sinks
            yield sink_place(name), SinkStep(self._trail, name, sinks[name], has_error_fields=has_error_fields)

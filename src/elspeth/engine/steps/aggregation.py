"""Aggregations, at which tokens wait to be processed in batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from elspeth.contracts.enums import BatchStatus, OutputMode, RowOutcome, TriggerType
from elspeth.contracts.expressions import EvaluationError
from elspeth.contracts.plugins import RowError
from elspeth.contracts.routing import CONTINUE
from elspeth.contracts.rows import RowData, RowValidator, SchemaViolationError
from elspeth.core.canonical import stable_hash
from elspeth.core.landscape.recording.batches import HeldItem
from elspeth.core.settings.steps import AggregationSettings
from elspeth.core.settings.wiring import Place, Wire
from elspeth.engine.errors import PLUGIN_ERRORS, AnswerError, Failure
from elspeth.engine.pipeline import Pipeline
from elspeth.engine.steps import CollectingStep
from elspeth.engine.tokens import Departure, HashedRow, LiveToken, LostBranch, Onward, copy_row, require_json
from elspeth.engine.trail import TrailWriter, WaitingToken

__all__ = ["AggregationStep"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    waiting: WaitingToken
    row: RowData


@dataclass(frozen=True, slots=True, kw_only=True)
class _OpenBatch:
    """A batch that takes members, whose rows stay in memory."""

    batch_id: str
    since: float
    members: list[_Member]


class AggregationStep(CollectingStep):
    """Collects tokens in batches, which the plugin processes.

    A trigger ends a batch, at the latest at the end of the source. Its condition sees the arriving row, and
    `batch_count` and `batch_age_seconds`, which include that row.
    """

    def __init__(
        self,
        trail: TrailWriter,
        place: Place,
        pipeline: Pipeline,
        settings: AggregationSettings,
        clock: Callable[[], float],
    ) -> None:
        self._trail = trail
        self._place = place
        self._plugin = pipeline.aggregations[place]
        self._node_id = pipeline.nodes[place].node_id
        self._condition = pipeline.conditions.get(place)
        self._trigger = settings.trigger
        self._mode = OutputMode(settings.output_mode)
        self._expected_count = settings.expected_output_count
        self._recorder = trail.recorder
        self._run_id = trail.run_id
        self._clock = clock
        self._validator = RowValidator(self._plugin.options.schema_config)
        self._batch: _OpenBatch | None = None
        self._processed = 0

    @property
    def processed(self) -> int:
        """Count the batches that this process has processed."""
        return self._processed

    def take(self, token: LiveToken, along: Wire) -> Onward:  # noqa: ARG002  the same on every edge
        """Add a token, and process the batch if triggered."""
        visit = self._trail.arrive(token, self._place)
        try:
            require_json(token.row)
            row = self._validator.validate(token.row)
            fires = self._condition_holds(row)
        except (AnswerError, SchemaViolationError, EvaluationError) as error:
            return self._trail.refuse(visit, Failure.of(error))
        batch = self._open()
        self._recorder.add_batch_member(batch.batch_id, token.token_id, len(batch.members), run_id=self._run_id)
        self._recorder.record_token_outcome(self._run_id, token.token_id, RowOutcome.BUFFERED, batch_id=batch.batch_id)
        batch.members.append(_Member(waiting=self._trail.wait(visit), row=row))
        self._trail.keep_item(self._place, token.token_id, lambda: {"batch_id": batch.batch_id, "token": token.state()})
        if self._trigger.count is not None and len(batch.members) >= self._trigger.count:
            return self._execute(batch, TriggerType.COUNT, f"count={len(batch.members)}")
        if fires and self._condition is not None:
            return self._execute(batch, TriggerType.CONDITION, self._condition.source)
        return []

    def release_due(self, now: float) -> Onward:
        """Process the open batch if its timeout has passed."""
        timeout = self._trigger.timeout_seconds
        if self._batch is not None and timeout is not None and self._batch.since + timeout <= now:
            return self._execute(self._batch, TriggerType.TIMEOUT, f"timeout_seconds={timeout:g}")
        return []

    def release_all(self) -> Onward:
        """Process the open batch, as no more tokens will arrive."""
        if self._batch is None:
            return []
        return self._execute(self._batch, TriggerType.END_OF_SOURCE, "the source has no more rows")

    def restore(self, items: Sequence[HeldItem]) -> None:
        """Reopen the batch that another process kept.

        Its age counts from now.
        """
        tokens = [LiveToken.restore(each.state["token"]) for each in items]
        members = [
            _Member(waiting=waiting, row=self._validator.validate(waiting.token.row))
            for waiting in self._trail.restore_waiting(self._place, tokens)
        ]
        if items:
            self._batch = _OpenBatch(batch_id=str(items[0].state["batch_id"]), since=self._clock(), members=members)

    def _condition_holds(self, row: RowData) -> bool:
        if self._condition is None:
            return False
        count = 1 + (len(self._batch.members) if self._batch else 0)
        age = self._clock() - self._batch.since if self._batch else 0.0
        return bool(self._condition.evaluate({**row, "batch_count": count, "batch_age_seconds": age}))

    def _open(self) -> _OpenBatch:
        if self._batch is None:
            batch = self._recorder.create_batch(self._run_id, self._node_id)
            self._batch = _OpenBatch(batch_id=batch.batch_id, since=self._clock(), members=[])
        return self._batch

    def _execute(self, batch: _OpenBatch, trigger: TriggerType, reason: str) -> Onward:
        """Process a batch, and record its results.

        A crash before the commit leaves the batch open with its members.
        """
        self._batch = None
        self._processed += 1
        for member in batch.members:
            self._trail.drop_item(self._place, member.waiting.token.token_id)
        self._recorder.update_batch_status(
            batch.batch_id,
            BatchStatus.EXECUTING,
            run_id=self._run_id,
            trigger_type=trigger,
            trigger_reason=reason,
            state_id=batch.members[-1].waiting.state.state_id,
        )
        result = self._process(batch)
        status = BatchStatus.FAILED if isinstance(result, Failure) else BatchStatus.COMPLETED
        self._recorder.complete_batch(batch.batch_id, status, run_id=self._run_id)
        if isinstance(result, Failure):
            return self._refuse(batch, result)
        if self._mode is OutputMode.PASSTHROUGH:
            return self._pass_on(batch, result)
        return self._absorb(batch, result)

    def _process(self, batch: _OpenBatch) -> list[HashedRow] | Failure:
        """Return the plugin's result for a batch."""
        try:
            result = self._plugin.process([copy_row(member.row) for member in batch.members])
            if isinstance(result, RowError):
                return Failure.of(result)
            return [HashedRow.of(row) for row in self._rows(result, len(batch.members))]
        except PLUGIN_ERRORS as error:  # a plugin may fail in any way, and one batch must not end the run
            return Failure.of(error)

    def _rows(self, result: object, members: int) -> list[RowData]:
        """Return the rows in a plugin's result.

        Raises AnswerError for a result that the output mode does not allow.
        """
        name = self._plugin.name
        if not isinstance(result, list) or not all(isinstance(row, dict) for row in result):
            kind = type(result).__name__
            raise AnswerError(f"aggregation {name!r} must return a list of rows or a RowError, got {kind}")
        message = f"aggregation {name!r} made {len(result)} rows of {members}"
        expected = {OutputMode.SINGLE: 1, OutputMode.PASSTHROUGH: members}.get(self._mode, len(result))
        if len(result) != expected:
            raise AnswerError(f"{message}: output_mode {self._mode.value!r} expects {expected}")
        if self._expected_count not in {None, len(result)}:
            raise AnswerError(f"{message}: expected_output_count expects {self._expected_count}")
        return result

    def _refuse(self, batch: _OpenBatch, failure: Failure) -> Onward:
        """Fail every member for the same reason."""
        onward: list[Departure | LostBranch] = []
        for member in batch.members:
            onward += self._trail.refuse_waiting(member.waiting, failure)
        return onward

    def _pass_on(self, batch: _OpenBatch, outputs: list[HashedRow]) -> Onward:
        """Send on each member with its new row."""
        onward: list[Departure | LostBranch] = []
        for member, output in zip(batch.members, outputs, strict=True):
            token = member.waiting.token
            self._complete(batch, member, output.row_hash)
            self._record_output(batch, token.token_id)
            token.row, token.row_hash = output.row, output.row_hash
            onward.append(self._trail.depart(token, self._place, CONTINUE))
        return onward

    def _absorb(self, batch: _OpenBatch, outputs: list[HashedRow]) -> Onward:
        """End the members, and send on new tokens."""
        is_single = self._mode is OutputMode.SINGLE
        row_hash = outputs[0].row_hash if is_single else stable_hash([output.row for output in outputs])
        onward: list[Departure | LostBranch] = []
        for member in batch.members:
            self._complete(batch, member, row_hash)
            onward += self._trail.end(member.waiting.token, RowOutcome.CONSUMED_IN_BATCH, batch_id=batch.batch_id)
        members = [member.waiting.token for member in batch.members]
        for output in outputs:
            token = self._trail.create_output(members, output)
            self._record_output(batch, token.token_id)
            onward.append(self._trail.depart(token, self._place, CONTINUE))
        return onward

    def _complete(self, batch: _OpenBatch, member: _Member, output_hash: str) -> None:
        reason = {"action": self._plugin.name, "batch_id": batch.batch_id}
        self._trail.complete_waiting(member.waiting, output_hash, reason)

    def _record_output(self, batch: _OpenBatch, token_id: str) -> None:
        self._recorder.add_batch_output(batch.batch_id, "token", token_id, run_id=self._run_id)

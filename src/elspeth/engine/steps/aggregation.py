"""An aggregation: tokens wait until a batch is complete, and are processed together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from elspeth.contracts.audit import NodeStatePending
from elspeth.contracts.enums import BatchStatus, NodeStateStatus, OutputMode, RowOutcome, TriggerType
from elspeth.contracts.expressions import EvaluationError, Expression
from elspeth.contracts.plugins import Row, RowError
from elspeth.contracts.routing import CONTINUE
from elspeth.core.canonical import stable_hash
from elspeth.core.landscape.recording.batches import HeldItem
from elspeth.core.settings.model import AggregationSettings
from elspeth.core.settings.wiring import Place, Wire
from elspeth.engine.errors import AnswerError
from elspeth.engine.flow import Failure, Flow
from elspeth.engine.tokens import Token, independent, require_json
from elspeth.plugins.base import Aggregation
from elspeth.plugins.coercion import RowValidator, SchemaViolationError

__all__ = ["AggregationStep"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    token: Token
    state: NodeStatePending
    row: Row


@dataclass(frozen=True, slots=True, kw_only=True)
class _OpenBatch:
    """A batch that takes members. Each row stays in memory until the trigger fires."""

    batch_id: str
    since: float
    members: list[_Member]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Output:
    row: Row
    row_hash: str


class AggregationStep:
    """Collects tokens and hands each batch to the plugin when a trigger fires, at the latest at the end of the source.

    The trigger's condition sees the row that arrives, and `batch_count` and `batch_age_seconds` with it counted in.
    """

    is_ordered = True

    def __init__(
        self,
        flow: Flow,
        place: Place,
        plugin: Aggregation,
        settings: AggregationSettings,
        *,
        condition: Expression | None,
        clock: Callable[[], float],
    ) -> None:
        self._flow = flow
        self._place = place
        self._plugin = plugin
        self._trigger = settings.trigger
        self._mode = OutputMode(settings.output_mode)
        self._condition = condition
        self._clock = clock
        self._node_id = flow.node(place).node_id
        self._validator = RowValidator(plugin.options.schema_config)
        self._batch: _OpenBatch | None = None

    def take(self, token: Token, along: Wire) -> None:  # noqa: ARG002  the same whichever way a token came
        """Add a token to the open batch, and process the batch if that fires a trigger."""
        visit = self._flow.arrive(token, self._node_id)
        try:
            require_json(token.row)
            row = self._validator.validate(token.row)
            fires = self._condition_holds(row)
        except (AnswerError, SchemaViolationError, EvaluationError) as error:
            self._flow.refuse(visit, self._place, Failure.of(error))
            return
        batch, recorder, run_id = self._open(), self._flow.recorder, self._flow.run_id
        recorder.add_batch_member(batch.batch_id, token.token_id, len(batch.members), run_id=run_id)
        recorder.record_token_outcome(run_id, token.token_id, RowOutcome.BUFFERED, batch_id=batch.batch_id)
        batch.members.append(_Member(token=token, state=self._flow.wait(visit), row=row))
        self._flow.held.put(self._node_id, token.token_id, lambda: {"batch_id": batch.batch_id, "token": token.state()})
        if self._trigger.count is not None and len(batch.members) >= self._trigger.count:
            self._execute(batch, TriggerType.COUNT, f"count={len(batch.members)}")
        elif fires and self._condition is not None:
            self._execute(batch, TriggerType.CONDITION, self._condition.source)

    def release_due(self, now: float) -> None:
        """Process the open batch if its timeout has passed."""
        timeout = self._trigger.timeout_seconds
        if self._batch is not None and timeout is not None and self._batch.since + timeout <= now:
            self._execute(self._batch, TriggerType.TIMEOUT, f"timeout_seconds={timeout:g}")

    def release_all(self) -> None:
        """Process the open batch: nothing more will come."""
        if self._batch is not None:
            self._execute(self._batch, TriggerType.END_OF_SOURCE, "the source has no more rows")

    def restore(self, items: Sequence[HeldItem]) -> None:
        """Open the batch again that waited when another process stopped; its age counts from now."""
        states = self._flow.waiting_states(self._node_id) if items else {}
        for each in items:
            token = Token.restored(each.state["token"])
            if self._batch is None:
                self._batch = _OpenBatch(batch_id=str(each.state["batch_id"]), since=self._clock(), members=[])
            row = self._validator.validate(token.row)
            self._batch.members.append(_Member(token=token, state=states[token.token_id], row=row))

    def _condition_holds(self, row: Row) -> bool:
        if self._condition is None:
            return False
        count = 1 + (len(self._batch.members) if self._batch else 0)
        age = self._clock() - self._batch.since if self._batch else 0.0
        return bool(self._condition.evaluate({**row, "batch_count": count, "batch_age_seconds": age}))

    def _open(self) -> _OpenBatch:
        if self._batch is None:
            batch = self._flow.recorder.create_batch(self._flow.run_id, self._node_id)
            self._batch = _OpenBatch(batch_id=batch.batch_id, since=self._clock(), members=[])
        return self._batch

    def _execute(self, batch: _OpenBatch, trigger: TriggerType, reason: str) -> None:
        """Process a batch, and record what came of it. A crash before the commit leaves it open with its members."""
        self._batch = None
        self._flow.batches += 1
        for member in batch.members:
            self._flow.held.drop(self._node_id, member.token.token_id)
        recorder, run_id = self._flow.recorder, self._flow.run_id
        recorder.update_batch_status(
            batch.batch_id,
            BatchStatus.EXECUTING,
            run_id=run_id,
            trigger_type=trigger,
            trigger_reason=reason,
            state_id=batch.members[-1].state.state_id,
        )
        result = self._process(batch)
        status = BatchStatus.FAILED if isinstance(result, Failure) else BatchStatus.COMPLETED
        recorder.complete_batch(batch.batch_id, status, run_id=run_id)
        if isinstance(result, Failure):
            for member in batch.members:
                self._flow.refuse_waiting(member.token, member.state, self._place, result)
        elif self._mode is OutputMode.PASSTHROUGH:
            self._pass_on(batch, result)
        else:
            self._absorb(batch, result)

    def _process(self, batch: _OpenBatch) -> list[_Output] | Failure:
        """The rows that the plugin makes of a batch, or why it made none that can be used."""
        try:
            result = self._plugin.process([independent(member.row) for member in batch.members])
            if isinstance(result, RowError):
                return Failure.of(result)
            return [_Output(row=row, row_hash=stable_hash(row)) for row in self._rows(result, len(batch.members))]
        except Exception as error:  # noqa: BLE001  a plugin may fail in any way, and one batch must not end the run
            return Failure.of(error)

    def _rows(self, result: object, members: int) -> list[Row]:
        name = self._plugin.name
        if not isinstance(result, list) or not all(isinstance(row, dict) for row in result):
            kind = type(result).__name__
            raise AnswerError(f"aggregation {name!r} must return a list of rows or a RowError, got {kind}")
        expected = {OutputMode.SINGLE: 1, OutputMode.PASSTHROUGH: members}.get(self._mode, len(result))
        if len(result) != expected:
            message = f"aggregation {name!r} made {len(result)} rows of {members}"
            raise AnswerError(f"{message}: output_mode {self._mode.value!r} expects {expected}")
        return result

    def _pass_on(self, batch: _OpenBatch, outputs: list[_Output]) -> None:
        """Each member goes on as the token that it was, with its new row."""
        for member, output in zip(batch.members, outputs, strict=True):
            token = member.token
            self._complete(batch, member, output.row_hash)
            self._record_output(batch, token.token_id)
            token.row, token.row_hash = output.row, output.row_hash
            self._flow.send(token, self._place, CONTINUE)

    def _absorb(self, batch: _OpenBatch, outputs: list[_Output]) -> None:
        """The members end in the batch; new tokens, of the source row that came last, carry the outputs."""
        rows = [output.row for output in outputs]
        row_hash = outputs[0].row_hash if self._mode is OutputMode.SINGLE else stable_hash(rows)
        for member in batch.members:
            self._complete(batch, member, row_hash)
            self._flow.end(member.token, RowOutcome.CONSUMED_IN_BATCH, batch_id=batch.batch_id)
        last, step = batch.members[-1].token, max(member.token.step for member in batch.members)
        for output in outputs:
            made = self._flow.recorder.create_token(last.row_id, run_id=self._flow.run_id)
            self._record_output(batch, made.token_id)
            token = Token(
                token_id=made.token_id,
                row_id=last.row_id,
                row_index=last.row_index,
                row=output.row,
                row_hash=output.row_hash,
                step=step,
            )
            self._flow.send(token, self._place, CONTINUE)

    def _complete(self, batch: _OpenBatch, member: _Member, output_hash: str) -> None:
        reason = {"action": self._plugin.name, "batch_id": batch.batch_id}
        self._flow.recorder.end_visit(
            member.state, NodeStateStatus.COMPLETED, output_hash=output_hash, success_reason=reason
        )

    def _record_output(self, batch: _OpenBatch, token_id: str) -> None:
        self._flow.recorder.add_batch_output(batch.batch_id, "token", token_id, run_id=self._flow.run_id)

"""Batches: the tokens that an aggregation collects, and what it makes of them."""

from __future__ import annotations

from dataclasses import replace

from elspeth.core.landscape.recording.base import RecorderPart, member_of, new_id, now, storable_text
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema import records
from elspeth_schema.contracts import Batch, BatchMember, BatchOutput, BatchStatus, TriggerType
from elspeth_schema.tables import batch_members_table, batch_outputs_table, batches_table

__all__ = ["BatchRecording"]


class BatchRecording(RecorderPart):
    """Calls about batches."""

    def create_batch(
        self, run_id: str, aggregation_node_id: str, *, batch_id: str | None = None, attempt: int = 0
    ) -> Batch:
        """Record a new batch, to be filled."""
        batch = Batch(
            run_id=run_id,
            batch_id=batch_id or new_id(),
            aggregation_node_id=aggregation_node_id,
            attempt=attempt,
            status=BatchStatus.DRAFT,
            created_at=now(),
        )
        self._store.add(batch)
        return batch

    def add_batch_member(self, batch_id: str, token_id: str, ordinal: int, *, run_id: str | None = None) -> BatchMember:
        """Record that a token belongs to a batch."""
        run = run_id or self._store.require(records.BATCH, batch_id).run_id
        member = BatchMember(run_id=run, batch_id=batch_id, token_id=token_id, ordinal=ordinal)
        self._store.add(member)
        return member

    def add_batch_output(
        self, batch_id: str, output_type: str, output_id: str, *, run_id: str | None = None
    ) -> BatchOutput:
        """Record what a batch produced: a token or an artifact, by its id."""
        run = run_id or self._store.require(records.BATCH, batch_id).run_id
        output = BatchOutput(
            run_id=run, batch_output_id=new_id(), batch_id=batch_id, output_type=output_type, output_id=output_id
        )
        self._store.add(output)
        return output

    def update_batch_status(
        self,
        batch_id: str,
        status: BatchStatus | str,
        *,
        run_id: str | None = None,
        trigger_type: TriggerType | str | None = None,
        trigger_reason: str | None = None,
        state_id: str | None = None,
    ) -> None:
        """Record another status of a batch; a final one also ends it."""
        self._update(batch_id, status, run_id, trigger_type, trigger_reason, state_id)

    def complete_batch(
        self,
        batch_id: str,
        status: BatchStatus | str,
        *,
        run_id: str | None = None,
        trigger_type: TriggerType | str | None = None,
        trigger_reason: str | None = None,
        state_id: str | None = None,
    ) -> Batch:
        """Record how a batch ended."""
        if not member_of(BatchStatus, status, call="complete_batch").is_terminal:
            key: dict[str, object] = {"batch_id": batch_id}
            raise AuditIntegrityError(
                table="batches", key=key, field="status", expected="completed or failed", got=status
            )
        return self._update(batch_id, status, run_id, trigger_type, trigger_reason, state_id)

    def _update(
        self,
        batch_id: str,
        status: BatchStatus | str,
        run_id: str | None,
        trigger_type: TriggerType | str | None,
        trigger_reason: str | None,
        state_id: str | None,
    ) -> Batch:
        before = self._store.require(records.BATCH, batch_id, run_id=run_id)
        new_status = member_of(BatchStatus, status, call="update_batch_status")
        trigger = None if trigger_type is None else member_of(TriggerType, trigger_type, call="update_batch_status")
        after = replace(
            before,
            status=new_status,
            trigger_type=trigger or before.trigger_type,
            trigger_reason=storable_text(trigger_reason) if trigger_reason else before.trigger_reason,
            aggregation_state_id=state_id or before.aggregation_state_id,
            completed_at=now() if new_status.is_terminal else before.completed_at,
        )
        self._store.change(before, after)
        return after

    def retry_batch(self, batch_id: str, *, run_id: str | None = None) -> Batch:
        """Record a new attempt at a failed batch, with the same members."""
        failed = self._store.require(records.BATCH, batch_id, run_id=run_id)
        if failed.status is not BatchStatus.FAILED:
            key: dict[str, object] = {"run_id": failed.run_id, "batch_id": batch_id}
            raise AuditIntegrityError(
                table="batches", key=key, field="status", expected="failed, to be retried", got=failed.status
            )
        with self.unit_of_work():
            batch = self.create_batch(failed.run_id, failed.aggregation_node_id, attempt=failed.attempt + 1)
            for member in self.get_batch_members(batch_id, run_id=failed.run_id):
                self.add_batch_member(batch.batch_id, member.token_id, member.ordinal, run_id=failed.run_id)
        return batch

    def get_batch(self, batch_id: str, *, run_id: str | None = None) -> Batch | None:
        """The batch, or None."""
        return self._store.get(records.BATCH, batch_id, run_id=run_id)

    def get_batches(
        self, run_id: str, *, status: BatchStatus | str | None = None, node_id: str | None = None
    ) -> list[Batch]:
        """The run's batches in the order they were begun."""
        columns = batches_table.c
        conditions = [columns.run_id == run_id]
        if status is not None:
            conditions.append(columns.status == member_of(BatchStatus, status, call="get_batches"))
        if node_id is not None:
            conditions.append(columns.aggregation_node_id == node_id)
        found = self._store.select(records.BATCH, *conditions)
        return sorted(found, key=lambda batch: (batch.created_at, batch.batch_id))

    def get_incomplete_batches(self, run_id: str) -> list[Batch]:
        """The run's batches that were not completed: being filled, at work, or failed."""
        return [batch for batch in self.get_batches(run_id) if batch.status is not BatchStatus.COMPLETED]

    def get_batch_members(self, batch_id: str, *, run_id: str | None = None) -> list[BatchMember]:
        """The members of a batch, in order."""
        batch = self.get_batch(batch_id, run_id=run_id)
        if batch is None:
            return []
        columns = batch_members_table.c
        found = self._store.select(records.BATCH_MEMBER, columns.run_id == batch.run_id, columns.batch_id == batch_id)
        return sorted(found, key=lambda member: member.ordinal)

    def get_batch_outputs(self, batch_id: str, *, run_id: str | None = None) -> list[BatchOutput]:
        """What a batch produced."""
        batch = self.get_batch(batch_id, run_id=run_id)
        if batch is None:
            return []
        columns = batch_outputs_table.c
        return self._store.select(records.BATCH_OUTPUT, columns.run_id == batch.run_id, columns.batch_id == batch_id)

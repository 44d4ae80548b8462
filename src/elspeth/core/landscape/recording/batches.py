"""Records batches, and the items that wait at steps."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from sqlalchemy import bindparam, delete, insert, select

from elspeth.core.landscape.recording.base import RecorderPart, make_storable, member_of, new_id, now
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema import records
from elspeth_schema.contracts import Batch, BatchMember, BatchOutput, BatchStatus, TriggerType
from elspeth_schema.tables import held_items_table

__all__ = ["BatchRecording", "HeldItem"]


FIRST_ROW = "first_row"
"""The field for the index of the first row with a key, in the state of a kept key and in reasons of drops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldItem:
    """A waiting item, with its state in JSON."""

    node_id: str
    item: str
    position: int
    state: Mapping[str, object]


class BatchRecording(RecorderPart):
    """Calls about batches and waiting items."""

    def create_batch(
        self, run_id: str, aggregation_node_id: str, *, batch_id: str | None = None, attempt: int = 0
    ) -> Batch:
        """Record a new, empty batch."""
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
        """Record a token or artifact that a batch produced."""
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
        """Record another status of a batch.

        A final status also ends it.
        """
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
        """Record the end of a batch."""
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
            trigger_reason=make_storable(trigger_reason) if trigger_reason else before.trigger_reason,
            aggregation_state_id=state_id or before.aggregation_state_id,
            completed_at=now() if new_status.is_terminal else before.completed_at,
        )
        self._store.change(before, after)
        return after

    def hold(self, run_id: str, items: Iterable[HeldItem], gone: Iterable[tuple[str, str]] = ()) -> None:
        """Keep waiting items, replacing those of the same name.

        `gone` names the items to delete, by node and name.
        """
        columns = held_items_table.c
        kept: list[dict[str, object]] = [
            {
                "run_id": run_id,
                "node_id": each.node_id,
                "item": each.item,
                "position": each.position,
                "state_json": json.dumps(each.state),
            }
            for each in items
        ]
        old: list[dict[str, object]] = [{"old_node": node_id, "old_item": item} for node_id, item in gone]
        old += [{"old_node": row["node_id"], "old_item": row["item"]} for row in kept]
        with self.unit_of_work():
            connection = self._store.flushed_connection()
            if old:
                forget = delete(held_items_table).where(
                    columns.run_id == run_id,
                    columns.node_id == bindparam("old_node"),
                    columns.item == bindparam("old_item"),
                )
                connection.execute(forget, old)
            if kept:
                connection.execute(insert(held_items_table), kept)

    def get_held(self, run_id: str) -> list[HeldItem]:
        """Return the waiting items of a run, in order."""
        columns = held_items_table.c
        statement = (
            select(columns.node_id, columns.item, columns.position, columns.state_json)
            .where(columns.run_id == run_id)
            .order_by(columns.position)
        )
        return [
            HeldItem(node_id=str(node_id), item=str(item), position=int(str(position)), state=json.loads(str(state)))
            for node_id, item, position, state in self._store.rows(statement)
        ]

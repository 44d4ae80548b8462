"""What waits at the nodes of a run that has not ended: kept beside the records, so that the run can be resumed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import bindparam, delete, insert, select

from elspeth.core.landscape.recording.base import RecorderPart
from elspeth_schema.tables import held_items_table

__all__ = ["HeldItem", "HeldRecording"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldItem:
    """One thing that a node waits with, and the order in which they came. `state` is what JSON can hold."""

    node_id: str
    item: str
    position: int
    state: Mapping[str, object]


class HeldRecording(RecorderPart):
    """Calls about what waits."""

    def hold(self, run_id: str, items: Iterable[HeldItem], gone: Iterable[tuple[str, str]] = ()) -> None:
        """Keep items in place of those of the same name, and forget those that are gone, by node and item."""
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
            connection = self._store.sent()
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
        """What waits in a run, in the order in which it came."""
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

"""Source rows, and their content where it is still kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from elspeth.contracts.audit import RowLineage
from elspeth.core.canonical import stable_hash
from elspeth.core.landscape.recording.base import RecorderPart, new_id, now, tolerant
from elspeth.core.landscape.recording.row_data import RowDataResult, RowDataState
from elspeth_schema import records
from elspeth_schema.contracts import Row
from elspeth_schema.tables import rows_table

__all__ = ["RowRecording"]


class RowRecording(RecorderPart):
    """Calls about source rows."""

    def create_row(
        self,
        run_id: str,
        source_node_id: str,
        row_index: int,
        data: Mapping[str, Any],
        *,
        row_id: str | None = None,
        payload_ref: str | None = None,
        quarantined: bool = False,
    ) -> Row:
        """Record a row as it was read. Only a quarantined one may hold what canonical JSON cannot express."""
        content = tolerant(data) if quarantined else data
        row = Row(
            run_id=run_id,
            row_id=row_id or new_id(),
            source_node_id=source_node_id,
            row_index=row_index,
            source_data_hash=stable_hash(content),
            source_data_ref=self._keep(content, payload_ref),
            created_at=now(),
        )
        self._store.add(row)
        return row

    def get_row(self, row_id: str, *, run_id: str | None = None) -> Row | None:
        """The row, or None."""
        return self._store.get(records.ROW, row_id, run_id=run_id)

    def get_rows(self, run_id: str) -> list[Row]:
        """The run's rows in the order they were read."""
        return self._store.select(records.ROW, rows_table.c.run_id == run_id)

    def get_row_data(self, row_id: str, *, run_id: str | None = None) -> RowDataResult:
        """The row's content, or why it cannot be had. IntegrityError if what is kept is not what was recorded."""
        row = self.get_row(row_id, run_id=run_id)
        if row is None:
            return RowDataResult(state=RowDataState.ROW_NOT_FOUND, data=None)
        return self._row_data(row)

    def explain_row(self, run_id: str, row_id: str) -> RowLineage | None:
        """The row with its content where that can still be had, or None."""
        row = self.get_row(row_id, run_id=run_id)
        if row is None:
            return None
        content = self._row_data(row)
        return RowLineage(
            row_id=row.row_id,
            run_id=row.run_id,
            source_node_id=row.source_node_id,
            row_index=row.row_index,
            source_data_hash=row.source_data_hash,
            created_at=row.created_at,
            source_data=content.data,
            payload_available=content.state is RowDataState.AVAILABLE,
        )

    def _row_data(self, row: Row) -> RowDataResult:
        if row.source_data_ref is None:
            return RowDataResult(state=RowDataState.NEVER_STORED, data=None)
        if self._payloads is None:
            return RowDataResult(state=RowDataState.STORE_NOT_CONFIGURED, data=None)
        try:
            content = self._payloads.retrieve(row.source_data_ref)
        except KeyError:
            return RowDataResult(state=RowDataState.PURGED, data=None)
        return RowDataResult(state=RowDataState.AVAILABLE, data=json.loads(content))

"""Records the origins of a run: processes and inputs."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import func, select

from elspeth.core.landscape.recording.base import RecorderPart, make_storable, new_id, now
from elspeth_schema import records
from elspeth_schema.contracts import RunProcess, SourceInput
from elspeth_schema.tables import run_processes_table, source_inputs_table

__all__ = ["OriginRecording"]


class OriginRecording(RecorderPart):
    """Calls about processes and inputs."""

    def record_run_process(self, process: RunProcess) -> RunProcess:
        """Record a process that begins or resumes a run.

        Its `attempt` is set to the number of the run's earlier processes.
        """
        columns = run_processes_table.c
        ((earlier,),) = self._store.rows(select(func.count()).where(columns.run_id == process.run_id))
        numbered = replace(process, attempt=int(str(earlier)))
        self._store.add(numbered)
        return numbered

    def record_source_input(
        self,
        run_id: str,
        node_id: str,
        ordinal: int,
        input_type: str,
        *,
        row_count: int,
        path_or_uri: str | None = None,
        query_text: str | None = None,
        content_hash: str | None = None,
        size_bytes: int | None = None,
        object_version: str | None = None,
    ) -> SourceInput:
        """Record an input that a source read."""
        source_input = SourceInput(
            run_id=run_id,
            input_id=new_id(),
            node_id=node_id,
            ordinal=ordinal,
            input_type=input_type,
            path_or_uri=None if path_or_uri is None else make_storable(path_or_uri),
            query_text=None if query_text is None else make_storable(query_text),
            content_hash=content_hash,
            size_bytes=size_bytes,
            object_version=None if object_version is None else make_storable(object_version),
            row_count=row_count,
            created_at=now(),
        )
        self._store.add(source_input)
        return source_input

    def get_run_processes(self, run_id: str) -> list[RunProcess]:
        """Return the processes of the run, oldest first."""
        found = self._store.select(records.RUN_PROCESS, run_processes_table.c.run_id == run_id)
        return sorted(found, key=lambda process: process.attempt)

    def get_source_inputs(self, run_id: str, node_id: str) -> list[SourceInput]:
        """Return the inputs of a source, in order of reading."""
        columns = source_inputs_table.c
        found = self._store.select(records.SOURCE_INPUT, columns.run_id == run_id, columns.node_id == node_id)
        return sorted(found, key=lambda each: each.ordinal)

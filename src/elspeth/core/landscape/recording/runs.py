"""Runs: begin, finish, what was exported of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import delete

from elspeth.core.canonical import stable_hash
from elspeth.core.landscape.recording.base import RecorderPart, json_or_none, member_of, new_id, now, storable_text
from elspeth.core.landscape.recording.reproducibility import grade_of
from elspeth.core.landscape.sealing.seal import keep_secret, seal_run
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema import records
from elspeth_schema.contracts import ExportStatus, Node, ReproducibilityGrade, Run, RunStatus, SecretResolution
from elspeth_schema.tables import held_items_table, nodes_table, runs_table, secret_resolutions_table

__all__ = ["RunRecording"]


class RunRecording(RecorderPart):
    """Calls about a run as a whole."""

    def begin_run(
        self,
        config: Mapping[str, Any],
        canonical_version: str,
        *,
        run_id: str | None = None,
        reproducibility_grade: ReproducibilityGrade | str | None = None,
        status: RunStatus | str = RunStatus.RUNNING,
        source_schema: Mapping[str, Any] | None = None,
        started_at: datetime | None = None,
    ) -> Run:
        """Record that a run begins, now unless a time is given.

        The settings are those that were resolved; they must hold no secrets.
        """
        run = Run(
            run_id=run_id or new_id(),
            started_at=started_at or now(),
            config_hash=stable_hash(config),
            settings_json=json_or_none(config) or "{}",
            canonical_version=canonical_version,
            status=member_of(RunStatus, status, call="begin_run"),
            reproducibility_grade=_grade(reproducibility_grade),
            source_schema_json=json_or_none(source_schema),
        )
        with self.unit_of_work():
            self._store.add(run)
            keep_secret(self._store.sent(), run.run_id)
        return run

    def complete_run(
        self,
        run_id: str,
        status: RunStatus | str,
        *,
        reproducibility_grade: ReproducibilityGrade | str | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Run:
        """Record that a run ended, and seal its records: nothing may be recorded in it any more.

        `progress` is called as `seal_run` does. LandscapeError if the seal cannot be signed: the run stays open.
        """
        before = self._store.require(records.RUN, run_id, run_id=run_id)
        new_status = member_of(RunStatus, status, call="complete_run")
        if not new_status.is_terminal:
            key: dict[str, object] = {"run_id": run_id}
            raise AuditIntegrityError(
                table="runs", key=key, field="status", expected="completed or failed", got=new_status
            )
        run = replace(
            before,
            status=new_status,
            completed_at=now(),
            reproducibility_grade=_grade(reproducibility_grade) or before.reproducibility_grade,
        )
        with self.unit_of_work():
            self._store.change(before, run)
            connection = self._store.sent()
            connection.execute(delete(held_items_table).where(held_items_table.c.run_id == run_id))
            seal_run(connection, run_id, self._seal_signer, progress)
        return run

    def finalize_run(
        self, run_id: str, status: RunStatus | str, *, progress: Callable[[int, int], None] | None = None
    ) -> Run:
        """Record that a run ended, with the reproducibility grade that its nodes allow.

        `progress` is called as `seal_run` does.
        """
        grade = self.compute_reproducibility_grade(run_id)
        return self.complete_run(run_id, status, reproducibility_grade=grade, progress=progress)

    def compute_reproducibility_grade(self, run_id: str) -> ReproducibilityGrade:
        """How much of the run could be repeated, judged by its nodes."""
        nodes: list[Node] = self._store.select(records.NODE, nodes_table.c.run_id == run_id)
        return grade_of(node.determinism for node in nodes)

    def update_run_status(self, run_id: str, status: RunStatus | str) -> None:
        """Record another status of a run that has not ended; a final one also ends it."""
        new_status = member_of(RunStatus, status, call="update_run_status")
        if new_status.is_terminal:
            self.complete_run(run_id, new_status)
            return
        before = self._store.require(records.RUN, run_id, run_id=run_id)
        self._store.change(before, replace(before, status=new_status))

    def record_run_source(
        self,
        run_id: str,
        *,
        field_resolution: Mapping[str, Any] | None = None,
        schema_contract: Mapping[str, Any] | None = None,
    ) -> Run:
        """Record what the source turned out to hold: how its fields were named, and the contract its rows keep."""
        before = self._store.require(records.RUN, run_id, run_id=run_id)
        run = replace(
            before,
            source_field_resolution_json=json_or_none(field_resolution) or before.source_field_resolution_json,
            schema_contract_json=json_or_none(schema_contract) or before.schema_contract_json,
            schema_contract_hash=stable_hash(schema_contract) if schema_contract else before.schema_contract_hash,
        )
        self._store.change(before, run)
        return run

    def get_run(self, run_id: str) -> Run | None:
        """The run, or None."""
        return self._store.get(records.RUN, run_id, run_id=run_id)

    def list_runs(self, *, status: RunStatus | str | None = None) -> list[Run]:
        """All runs, the newest first."""
        conditions = [] if status is None else [runs_table.c.status == member_of(RunStatus, status, call="list_runs")]
        found = self._store.select(records.RUN, *conditions)
        return sorted(found, key=lambda run: (run.started_at, run.run_id), reverse=True)

    def set_export_status(
        self,
        run_id: str,
        status: ExportStatus | str,
        *,
        error: str | None = None,
        export_format: str | None = None,
        export_sink: str | None = None,
    ) -> None:
        """Record how far the export of a run has come; an error belongs to a failed one only."""
        before = self._store.require(records.RUN, run_id, run_id=run_id)
        export_status = member_of(ExportStatus, status, call="set_export_status")
        run = replace(
            before,
            export_status=export_status,
            exported_at=now() if export_status is ExportStatus.COMPLETED else before.exported_at,
            export_error=storable_text(error) if error and export_status is ExportStatus.FAILED else None,
            export_format=export_format or before.export_format,
            export_sink=export_sink or before.export_sink,
        )
        self._store.change(before, run)

    def record_secret_resolutions(self, run_id: str, resolutions: list[dict[str, Any]]) -> None:
        """Record where each secret of the run's settings came from; fingerprints only, never the secrets.

        Each item holds the columns of a secret resolution, without its id and run.
        """
        self._store.add(
            *(SecretResolution(run_id=run_id, resolution_id=new_id(), **resolution) for resolution in resolutions)
        )

    def get_secret_resolutions_for_run(self, run_id: str) -> list[SecretResolution]:
        """The run's secret resolutions."""
        return self._store.select(records.SECRET_RESOLUTION, secret_resolutions_table.c.run_id == run_id)


def _grade(grade: ReproducibilityGrade | str | None) -> ReproducibilityGrade | None:
    return None if grade is None else member_of(ReproducibilityGrade, grade, call="reproducibility_grade")

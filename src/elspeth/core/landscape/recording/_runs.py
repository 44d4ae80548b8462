"""Records runs and their graphs: begin, nodes, edges, end, export."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import delete

from elspeth.contracts.schema import SchemaConfig
from elspeth.core.canonical import canonical_json, stable_hash, timestamp_text
from elspeth.core.landscape.database.pruned_runs import require_not_pruned
from elspeth.core.landscape.database.run_log import Happening, append_entry, ensure_log
from elspeth.core.landscape.lines.ranges import Readers
from elspeth.core.landscape.recording.base import RecorderPart, json_or_none, make_storable, member_of, new_id, now
from elspeth.core.landscape.recording.reproducibility import grade_of
from elspeth.core.landscape.sealing.seal import create_secret, seal_run
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema import records
from elspeth_schema.contracts import (
    Determinism,
    Edge,
    ExportStatus,
    Node,
    NodeType,
    ReproducibilityGrade,
    RoutingMode,
    Run,
    RunStatus,
    SecretResolution,
)
from elspeth_schema.tables import edges_table, held_items_table, nodes_table

__all__ = ["RunRecording"]


class RunRecording(RecorderPart):
    """Calls about runs, nodes and edges."""

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
        """Record the start of a run.

        It starts now unless `started_at` is given. `config` holds the resolved settings, and must not contain secrets.
        Raises PrunedRunError for the id of a pruned run.
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
            ensure_log(self._store.flushed_connection())
            require_not_pruned(self._store.flushed_connection(), run.run_id)
            self._store.add(run)
            connection = self._store.flushed_connection()
            create_secret(connection, run.run_id)
            append_entry(
                connection,
                Happening.BEGUN,
                config_hash=run.config_hash,
                run_id=run.run_id,
                started_at=timestamp_text(run.started_at),
            )
        return run

    def complete_run(
        self,
        run_id: str,
        status: RunStatus | str,
        *,
        reproducibility_grade: ReproducibilityGrade | str | None = None,
        progress: Callable[[int, int], None] | None = None,
        readers: Readers | None = None,
    ) -> Run:
        """Record the end of a run and seal its records.

        Nothing can be recorded in it afterwards. `progress` and `readers` are used as by `seal_run`. Raises
        LandscapeError if the seal cannot be signed; the run then stays open.
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
            ensure_log(self._store.flushed_connection())
            self._store.change(before, run)
            connection = self._store.flushed_connection()
            connection.execute(delete(held_items_table).where(held_items_table.c.run_id == run_id))
            changed = self._store.changed
            seal = seal_run(connection, run_id, self._seal_signer, progress, readers=readers, changed=changed)
            append_entry(connection, Happening.ENDED, root=seal.root, run_id=run_id, status=new_status.value)
        return run

    def finalize_run(
        self,
        run_id: str,
        status: RunStatus | str,
        *,
        progress: Callable[[int, int], None] | None = None,
        readers: Readers | None = None,
    ) -> Run:
        """Record the end of a run, graded by its nodes.

        `progress` and `readers` are used as by `seal_run`.
        """
        grade = self.compute_reproducibility_grade(run_id)
        return self.complete_run(run_id, status, reproducibility_grade=grade, progress=progress, readers=readers)

    def compute_reproducibility_grade(self, run_id: str) -> ReproducibilityGrade:
        """Return the reproducibility grade derived from the run's nodes."""
        nodes: list[Node] = self._store.select(records.NODE, nodes_table.c.run_id == run_id)
        return grade_of(node.determinism for node in nodes)

    def update_run_status(self, run_id: str, status: RunStatus | str) -> None:
        """Record another status of a run that has not ended.

        A final status also ends it.
        """
        new_status = member_of(RunStatus, status, call="update_run_status")
        if new_status.is_terminal:
            self.complete_run(run_id, new_status)
            return
        before = self._store.require(records.RUN, run_id, run_id=run_id)
        self._store.change(before, replace(before, status=new_status))

    def get_run(self, run_id: str) -> Run | None:
        """Return the run, or None."""
        return self._store.get(records.RUN, run_id, run_id=run_id)

    def record_secret_resolutions(self, run_id: str, resolutions: list[dict[str, Any]]) -> None:
        """Record where each secret of the settings came from.

        Each item holds the columns of a secret resolution except its id and run: fingerprints, never the secrets.
        """
        self._store.add(
            *(SecretResolution(run_id=run_id, resolution_id=new_id(), **resolution) for resolution in resolutions)
        )

    def set_export_status(
        self,
        run_id: str,
        status: ExportStatus | str,
        *,
        error: str | None = None,
        export_format: str | None = None,
        export_sink: str | None = None,
    ) -> None:
        """Record the state of a run's export.

        `error` is kept only for a failed export.
        """
        before = self._store.require(records.RUN, run_id, run_id=run_id)
        export_status = member_of(ExportStatus, status, call="set_export_status")
        run = replace(
            before,
            export_status=export_status,
            exported_at=now() if export_status is ExportStatus.COMPLETED else before.exported_at,
            export_error=make_storable(error) if error and export_status is ExportStatus.FAILED else None,
            export_format=export_format or before.export_format,
            export_sink=export_sink or before.export_sink,
        )
        self._store.change(before, run)

    def register_node(
        self,
        run_id: str,
        plugin_name: str,
        node_type: NodeType | str,
        plugin_version: str,
        config: Mapping[str, Any],
        *,
        node_id: str | None = None,
        sequence: int | None = None,
        schema_hash: str | None = None,
        determinism: Determinism | str = Determinism.DETERMINISTIC,
        schema_config: SchemaConfig,
        input_contract: Mapping[str, Any] | None = None,
        output_contract: Mapping[str, Any] | None = None,
    ) -> Node:
        """Record a node with its configuration.

        `config` must not hold secrets.
        """
        fields = None if schema_config.fields is None else [field.to_dict() for field in schema_config.fields]
        node = Node(
            run_id=run_id,
            node_id=node_id or new_id(),
            plugin_name=plugin_name,
            node_type=member_of(NodeType, node_type, call="register_node"),
            plugin_version=plugin_version,
            determinism=member_of(Determinism, determinism, call="register_node"),
            config_hash=stable_hash(config),
            config_json=canonical_json(config),
            schema_hash=schema_hash,
            sequence_in_pipeline=sequence,
            registered_at=now(),
            schema_mode="dynamic" if schema_config.is_dynamic else schema_config.mode,
            schema_fields_json=json_or_none(fields),
            input_contract_json=json_or_none(input_contract),
            output_contract_json=json_or_none(output_contract),
        )
        self._store.add(node)
        return node

    def register_edge(
        self,
        run_id: str,
        from_node_id: str,
        to_node_id: str,
        label: str,
        mode: RoutingMode | str,
        *,
        edge_id: str | None = None,
    ) -> Edge:
        """Record an edge.

        Labels are unique among the edges that leave a node.
        """
        edge = Edge(
            run_id=run_id,
            edge_id=edge_id or new_id(),
            from_node_id=from_node_id,
            to_node_id=to_node_id,
            label=label,
            default_mode=member_of(RoutingMode, mode, call="register_edge"),
            created_at=now(),
        )
        self._store.add(edge)
        return edge

    def get_nodes(self, run_id: str) -> list[Node]:
        """Return the run's nodes in pipeline order, unplaced ones last."""
        found = self._store.select(records.NODE, nodes_table.c.run_id == run_id)
        return sorted(found, key=lambda node: (node.sequence_in_pipeline is None, node.sequence_in_pipeline or 0))

    def get_edges(self, run_id: str) -> list[Edge]:
        """Return the run's edges in order of registration."""
        found = self._store.select(records.EDGE, edges_table.c.run_id == run_id)
        return sorted(found, key=lambda edge: (edge.created_at, edge.edge_id))

    def get_edge_map(self, run_id: str) -> dict[tuple[str, str], str]:
        """Return edge ids by (from node, label)."""
        return {(edge.from_node_id, edge.label): edge.edge_id for edge in self.get_edges(run_id)}


def _grade(grade: ReproducibilityGrade | str | None) -> ReproducibilityGrade | None:
    return None if grade is None else member_of(ReproducibilityGrade, grade, call="reproducibility_grade")

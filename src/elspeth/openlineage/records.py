"""Reads the records from which events are made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy import Connection, func, select

from elspeth.contracts.plugins import Dataset, FieldOrigins
from elspeth.core.landscape.database.errors import RunNotFoundError
from elspeth.core.landscape.records.mapping import mapper
from elspeth.core.landscape.sealing.seal import Seal
from elspeth.evidence.format.bag import Statement
from elspeth_schema.contracts import (
    Artifact,
    AuditRecord,
    Edge,
    Node,
    NodeType,
    Operation,
    OperationStatus,
    OperationType,
    Run,
    RunProcess,
    SourceInput,
)
from elspeth_schema.records import (
    ARTIFACT,
    EDGE,
    NODE,
    OPERATION,
    RUN,
    RUN_PROCESS,
    SOURCE_INPUT,
    TOKEN_OUTCOME,
    RecordType,
)
from elspeth_schema.tables import token_outcomes_table

__all__ = ["DATASETS", "FIELD_ORIGINS", "RECORDS", "LineageRecords", "read_records", "record_origins"]

RECORDS = (RUN, RUN_PROCESS, NODE, EDGE, OPERATION, SOURCE_INPUT, ARTIFACT, TOKEN_OUTCOME)
"""The types of these records."""

DATASETS = "datasets"
"""The key in a node's recorded configuration that names what it reads or writes."""

FIELD_ORIGINS = "field_origins"
"""The key in a node's recorded configuration that says where its fields come from."""


_R = TypeVar("_R", bound=AuditRecord)


class _RecordedOrigins(BaseModel):
    """The origins of fields as they are recorded.

    They are pairs, because in an object a value would be masked if its name looks like that of a secret.
    """

    model_config = ConfigDict(extra="forbid")

    same: list[tuple[str, str]]
    derived: list[tuple[str, list[str]]]
    changed: list[str]
    removed: list[str]
    keeps_others: bool


def record_origins(origins: FieldOrigins) -> dict[str, object]:
    """Return the origins of fields as they are recorded."""
    return {
        "same": [[name, origin] for name, origin in origins.same.items()],
        "derived": [[name, list(read)] for name, read in origins.derived.items()],
        "changed": list(origins.changed),
        "removed": list(origins.removed),
        "keeps_others": origins.keeps_others,
    }


@dataclass(frozen=True, kw_only=True)
class LineageRecords:
    """The records about a run as a whole.

    `rows_by_sink` is the number of tokens that each sink wrote. A database has the `seal` of an ended run, a bag has
    the `statement`.
    """

    run: Run
    processes: Sequence[RunProcess]
    nodes: Sequence[Node]
    edges: Sequence[Edge]
    operations: Sequence[Operation]
    inputs: Sequence[SourceInput]
    artifacts: Sequence[Artifact]
    rows_by_sink: Mapping[str, int]
    seal: Seal | None = None
    statement: Statement | None = None

    @cached_property
    def configs(self) -> Mapping[str, Mapping[str, object]]:
        """The configuration of each node, by its id."""
        found = {node.node_id: json.loads(node.config_json) for node in self.nodes}
        # The predecessor recorded any value that its plugins returned.
        return {node_id: config if isinstance(config, dict) else {} for node_id, config in found.items()}

    @cached_property
    def settings(self) -> Mapping[str, object]:
        """The settings of the run."""
        found: dict[str, object] = json.loads(self.run.settings_json)
        return found

    def nodes_of(self, node_type: NodeType) -> list[Node]:
        """Return the sources, sinks or others, in their order."""
        return [node for node in self.nodes if node.node_type is node_type]

    def datasets(self, node: Node) -> list[Dataset]:
        """Return what a source or sink reads or writes.

        Returns none for runs of earlier versions, which did not record them.
        """
        found = self.configs[node.node_id].get(DATASETS)
        return [Dataset(**each) for each in found] if isinstance(found, list) else []

    def field_origins(self, node: Node) -> FieldOrigins | None:
        """Return where the fields behind a transform come from.

        Returns None if they are not recorded in the form of this version.
        """
        try:
            found = _RecordedOrigins.model_validate(self.configs[node.node_id].get(FIELD_ORIGINS))
        except ValidationError:
            return None
        return FieldOrigins(
            same=dict(found.same),
            derived=dict(found.derived),
            changed=found.changed,
            removed=found.removed,
            keeps_others=found.keeps_others,
        )

    def inputs_of(self, node: Node) -> list[SourceInput]:
        """Return the inputs of a source in reading order."""
        return [each for each in self.inputs if each.node_id == node.node_id]

    def artifact_of(self, node: Node) -> Artifact | None:
        """Return the output of a sink, or None without rows."""
        return next((each for each in self.artifacts if each.sink_node_id == node.node_id), None)

    def is_published(self, node: Node) -> bool:
        """Return whether a sink has published its output."""
        done = (OperationType.SINK_WRITE, OperationStatus.COMPLETED)
        return any(
            each.node_id == node.node_id and (each.operation_type, each.status) == done for each in self.operations
        )


def read_records(
    connection: Connection, run_id: str, *, seal: Seal | None = None, statement: Statement | None = None
) -> LineageRecords:
    """Read the records of a run.

    Raises RunNotFoundError if there is no such run.
    """
    runs = _read(connection, RUN, run_id)
    if not runs:
        raise RunNotFoundError(f"run {run_id!r} is not there")
    return LineageRecords(
        run=runs[0],
        processes=sorted(_read(connection, RUN_PROCESS, run_id), key=lambda each: each.attempt),
        nodes=sorted(_read(connection, NODE, run_id), key=lambda each: (each.sequence_in_pipeline or 0, each.node_id)),
        edges=_read(connection, EDGE, run_id),
        operations=_read(connection, OPERATION, run_id),
        inputs=sorted(_read(connection, SOURCE_INPUT, run_id), key=lambda each: (each.node_id, each.ordinal)),
        artifacts=_read(connection, ARTIFACT, run_id),
        rows_by_sink=_count_rows(connection, run_id),
        seal=seal,
        statement=statement,
    )


def _read(connection: Connection, record_type: RecordType[_R], run_id: str) -> list[_R]:
    statement = mapper(record_type).select().where(record_type.table.c.run_id == run_id)
    return [mapper(record_type).from_row(tuple(row)) for row in connection.execute(statement)]


def _count_rows(connection: Connection, run_id: str) -> dict[str, int]:
    columns = token_outcomes_table.c
    statement = (
        select(columns.sink_name, func.count())
        .where(columns.run_id == run_id, columns.is_terminal == 1, columns.sink_name.is_not(None))
        .group_by(columns.sink_name)
    )
    return {str(name): int(count) for name, count in connection.execute(statement)}

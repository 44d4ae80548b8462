"""Compares the published outputs of runs with files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum

from sqlalchemy import Connection, select

from elspeth.core.canonical import stable_hash, timestamp_text
from elspeth.core.landscape.database.pruned_runs import has_pruned_runs, read_pruned_runs
from elspeth.core.landscape.queries.endings import step_names
from elspeth.core.landscape.queries.recorded import output_summary
from elspeth.core.landscape.records.mapping import mapper
from elspeth.core.placeholders import fill_placeholders, placeholder_problem, placeholder_values
from elspeth.objects.address import Place, place_of
from elspeth.objects.stores import size_and_hash
from elspeth_schema.contracts import Artifact, Operation, OperationStatus, OperationType
from elspeth_schema.records import ARTIFACT, NODE, OPERATION, RUN
from elspeth_schema.tables import artifacts_table, nodes_table, operations_table, runs_table

__all__ = [
    "OUTPUT_RECORDS",
    "FileState",
    "RecordedOutput",
    "check_output",
    "find_writers",
    "outputs_json",
    "recorded_outputs",
]

OUTPUT_RECORDS = (RUN, NODE, ARTIFACT, OPERATION)
"""The record types that these queries read."""

_DATABASE = "database"
"""The type of artifacts that are not files."""

_artifacts, _operations, _nodes, _runs = artifacts_table.c, operations_table.c, nodes_table.c, runs_table.c


class FileState(StrEnum):
    """The state of a file, compared with the recorded output."""

    UNCHANGED = "unchanged"
    CHANGED = "changed"
    MISSING = "missing"
    NOT_CHECKED = "not checked"
    """The output is not a file, but the table of a database."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedOutput:
    """An output that a sink of a run published.

    The trail holds neither hash nor size of an output without rows. Its `summary_hash` is then the hash of the summary
    that its operation recorded, which can be computed again from the file. `object_version` is the version that an
    object store gave to the output.
    """

    run_id: str
    sink: str
    kind: str
    path: str
    content_hash: str | None
    size_bytes: int | None
    recorded_at: str
    summary_hash: str | None
    object_version: str | None = None


def recorded_outputs(connection: Connection, run_id: str) -> list[RecordedOutput]:
    """Return the outputs of a run, by sink."""
    names = step_names(connection, run_id)
    statement = mapper(ARTIFACT).select().where(_artifacts.run_id == run_id)
    artifacts = [mapper(ARTIFACT).from_row(tuple(row)) for row in connection.execute(statement)]
    published = select(_operations.node_id, _operations.object_version).where(
        _operations.run_id == run_id, _operations.object_version.is_not(None)
    )
    versions = {row.node_id: row.object_version for row in connection.execute(published)}
    found = [_of_artifact(each, names, versions) for each in artifacts]
    found += _without_rows(connection, run_id, names, {each.sink_node_id for each in artifacts})
    return sorted(found, key=lambda each: (each.sink, each.path))


def _of_artifact(artifact: Artifact, names: Mapping[str, str], versions: Mapping[str, str]) -> RecordedOutput:
    return RecordedOutput(
        run_id=artifact.run_id,
        sink=names.get(artifact.sink_node_id, artifact.sink_node_id),
        kind=artifact.artifact_type,
        path=artifact.path_or_uri,
        content_hash=artifact.content_hash,
        size_bytes=artifact.size_bytes,
        recorded_at=timestamp_text(artifact.created_at),
        summary_hash=None,
        object_version=versions.get(artifact.sink_node_id),
    )


def _without_rows(
    connection: Connection, run_id: str, names: dict[str, str], others: set[str]
) -> Iterator[RecordedOutput]:
    """Yield the files without rows, which have no artifact.

    They have none because an artifact names the visit of a row. Their path is taken from the sink's options.
    """
    statement = (
        mapper(OPERATION)
        .select()
        .where(
            _operations.run_id == run_id,
            _operations.operation_type == OperationType.SINK_WRITE.value,
            _operations.status == OperationStatus.COMPLETED.value,
        )
    )
    started_at = connection.execute(select(_runs.started_at).where(_runs.run_id == run_id)).scalar_one()
    values = placeholder_values(run_id, started_at)
    for row in connection.execute(statement).all():
        operation: Operation = mapper(OPERATION).from_row(tuple(row))
        if operation.node_id in others or operation.completed_at is None:
            continue
        where = (_nodes.run_id == run_id, _nodes.node_id == operation.node_id)
        plugin = select(_nodes.plugin_name, _nodes.config_json).where(*where)
        name, config = connection.execute(plugin).one()
        path = _path_in(json.loads(config))
        if path is not None and placeholder_problem(path) is None:
            yield RecordedOutput(
                run_id=run_id,
                sink=names.get(operation.node_id, operation.node_id),
                kind=name,
                path=fill_placeholders(path, values),
                content_hash=None,
                size_bytes=None,
                recorded_at=timestamp_text(operation.completed_at),
                summary_hash=operation.output_data_hash,
                object_version=operation.object_version,
            )


def _path_in(config: object) -> str | None:
    """Return the path in the configuration of a sink."""
    options = config.get("options") if isinstance(config, dict) else None
    path = options.get("path") if isinstance(options, dict) else None
    return path if isinstance(path, str) else None


def outputs_json(outputs: Iterable[RecordedOutput]) -> str:
    """Return the outputs of a run as JSON.

    `find_writers` and the check of outputs read it after the run was pruned.
    """
    named = [{name: value for name, value in asdict(each).items() if name != "run_id"} for each in outputs]
    return json.dumps(named, ensure_ascii=False, separators=(",", ":"))


def check_output(output: RecordedOutput) -> FileState:
    """Compare an output with the file at its path.

    A relative path is resolved against the working directory. Raises OSError if the file cannot be read.
    """
    if output.kind == _DATABASE:
        return FileState.NOT_CHECKED
    try:
        size, content_hash = size_and_hash(place_of(output.path))
    except (FileNotFoundError, IsADirectoryError):
        return FileState.MISSING
    if output.content_hash is None:
        summary = output_summary(rows=0, path=output.path, content_hash=content_hash, size_bytes=size)
        is_same = output.summary_hash == stable_hash(summary)
    else:
        is_same = (content_hash, size) == (output.content_hash, output.size_bytes)
    return FileState.UNCHANGED if is_same else FileState.CHANGED


def find_writers(connection: Connection, file: Place) -> list[RecordedOutput]:
    """Return the outputs that equal a file, oldest first.

    They include outputs of pruned runs. The name of the file does not matter, unless the output had no rows. Raises
    OSError if the file cannot be read.
    """
    size, content_hash = size_and_hash(file)
    same = select(_artifacts.run_id).where(_artifacts.content_hash == content_hash, _artifacts.size_bytes == size)
    summary = output_summary(rows=0, path=str(file), content_hash=content_hash, size_bytes=size)
    empty = select(_operations.run_id).where(_operations.output_data_hash == stable_hash(summary))
    hashes = {content_hash, stable_hash(summary)}
    found = [
        output
        for run_id in sorted({*connection.scalars(same), *connection.scalars(empty)})
        for output in recorded_outputs(connection, run_id)
        if (output.content_hash or output.summary_hash) in hashes
    ]
    for run in read_pruned_runs(connection, holding=hashes) if has_pruned_runs(connection) else ():
        outputs = (RecordedOutput(run_id=run.run_id, **each) for each in json.loads(run.outputs_json))
        found += [output for output in outputs if (output.content_hash or output.summary_hash) in hashes]
    return sorted(found, key=lambda each: (each.recorded_at, each.run_id, each.sink))

"""Makes the events of a run from its records alone.

So a run sends the same events that are later made from its database or bag.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import cast
from uuid import NAMESPACE_URL, UUID, uuid5

from elspeth.contracts.plugins import Dataset
from elspeth.core.canonical import timestamp_text
from elspeth.openlineage import facets
from elspeth.openlineage.columns import trace_columns
from elspeth.openlineage.facets import Facet
from elspeth.openlineage.records import LineageRecords
from elspeth_schema.contracts import Node, NodeType, OperationStatus, RunProcess, RunStatus, SourceInput

__all__ = ["Event", "EventType", "beat", "run_events", "run_uuid"]

Event = dict[str, object]
"""An event as JSON."""

_SCHEMA = f"{facets.SPECIFICATION}/2-0-2/OpenLineage.json#/$defs/RunEvent"
_NAMESPACE = "elspeth"
_DIGITS = 12  # those of a hash, in the name of a job without a name
_FORMATS = {"csv": "csv", "json": "json", "jsonl": "json", "parquet": "parquet"}
_DATABASE = "database"
"""The type of artifacts whose hash covers the added rows, not the whole dataset."""


class EventType(StrEnum):
    """What happened to a run."""

    START = "START"
    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    FAIL = "FAIL"
    ABORT = "ABORT"
    """The run was stopped, and can be resumed."""


def run_uuid(run_id: str) -> UUID:
    """Return the UUID of a run in events."""
    return uuid5(NAMESPACE_URL, f"{facets.PRODUCER}/run/{run_id}")


def beat(event: Event, time: datetime) -> Event:
    """Return the event that shows that a run is alive."""
    return {**event, "eventType": EventType.RUNNING.value, "eventTime": timestamp_text(time)}


def run_events(records: LineageRecords) -> list[Event]:
    """Return the events of a run so far, oldest first.

    Events of the type RUNNING that only show that the run is alive are not among them, because they are not recorded.
    """
    return [_event(records, each) for each in _moments(records)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moment:
    """A moment in a run that gives an event.

    With `is_end`, inputs and outputs are recorded.
    """

    type: EventType
    time: datetime
    process: RunProcess | None
    problem: str | None = None

    @property
    def is_end(self) -> bool:
        return self.type in {EventType.COMPLETE, EventType.FAIL}


def _moments(records: LineageRecords) -> Iterator[_Moment]:
    run, processes = records.run, records.processes
    now = _Moment(type=EventType.START, time=run.started_at, process=processes[0] if processes else None)
    yield now
    for process in processes[1:]:
        stop = _stop(records, now, before=process.started_at)
        if stop is not None:
            yield stop
        now = _Moment(type=EventType.RUNNING, time=process.started_at, process=process)
        yield now
    if run.status is RunStatus.INTERRUPTED:
        stop = _stop(records, now)
        if stop is not None:
            yield stop
    elif run.completed_at is not None:
        if run.status is RunStatus.COMPLETED:
            yield replace(now, type=EventType.COMPLETE, time=run.completed_at)
        else:
            stop = _stop(records, now)
            problem = "the run failed" if stop is None else stop.problem
            yield replace(now, type=EventType.FAIL, time=run.completed_at, problem=problem)


def _stop(records: LineageRecords, since: _Moment, before: datetime | None = None) -> _Moment | None:
    """Return how a process stopped, or None if not recorded."""
    failed = [
        (each.completed_at, each.error_message or "the run was stopped")
        for each in records.operations
        if each.status is OperationStatus.FAILED
        and each.completed_at is not None
        and since.time <= each.completed_at
        and (before is None or each.completed_at < before)
    ]
    if not failed:
        return None
    problems = dict.fromkeys(message for _, message in failed)
    return replace(since, type=EventType.ABORT, time=max(time for time, _ in failed), problem="; ".join(problems))


# -- parts of an event -------------------------------------------------------------------------------------------------


def _event(records: LineageRecords, moment: _Moment) -> Event:
    return {
        "eventType": moment.type.value,
        "eventTime": timestamp_text(moment.time),
        "producer": facets.PRODUCER,
        "schemaURL": _SCHEMA,
        "run": {"runId": str(run_uuid(records.run.run_id)), "facets": _run_facets(records, moment)},
        "job": _job(records, moment),
        "inputs": _inputs(records, is_end=moment.is_end),
        "outputs": _outputs(records, is_end=moment.is_end),
    }


def _section(records: LineageRecords) -> Mapping[str, object]:
    section = records.settings.get("openlineage")
    return section if isinstance(section, dict) else {}


def _job(records: LineageRecords, moment: _Moment) -> dict[str, object]:
    """Return the job.

    Without a name, the hash of the settings names it.
    """
    section, process = _section(records), moment.process
    named = {"jobType": facets.job_type()}
    if process is not None and process.repository_commit is not None:
        named["sourceCodeLocation"] = facets.source_code_location(process.repository_commit)
    return {
        "namespace": section.get("namespace") or _NAMESPACE,
        "name": section.get("job") or f"pipeline-{records.run.config_hash[:_DIGITS]}",
        "facets": named,
    }


def _run_facets(records: LineageRecords, moment: _Moment) -> dict[str, Facet]:
    seal, statement = (records.seal, records.statement) if moment.is_end else (None, None)
    found = {facets.EVIDENCE: facets.evidence(records.run, seal, statement)}
    process = moment.process
    if process is not None:
        found["processing_engine"] = facets.processing_engine(process.elspeth_version)
        if process.labels_json is not None:
            found["tags"] = facets.tags(json.loads(process.labels_json))
    parent = _section(records).get("parent")
    if isinstance(parent, str):
        found["parent"] = facets.parent(parent)
    if moment.problem is not None:
        found["errorMessage"] = facets.error_message(moment.problem)
    return found


# -- datasets ----------------------------------------------------------------------------------------------------------


def _inputs(records: LineageRecords, *, is_end: bool) -> list[dict[str, object]]:
    found: dict[Dataset, dict[str, object]] = {}
    for node in records.nodes_of(NodeType.SOURCE):
        datasets = records.datasets(node)
        read = _read_from(datasets, records.inputs_of(node)) if is_end else {}
        for dataset in datasets:
            described = _dataset(dataset, node) | {"inputFacets": {}}
            if dataset in read:
                described["inputFacets"], version = _input_facets(read[dataset])
                cast("dict[str, Facet]", described["facets"]).update(version)
            # A dataset that two sources read is one input, because both read the same content.
            found.setdefault(dataset, described)
    return list(found.values())


def _read_from(datasets: list[Dataset], inputs: list[SourceInput]) -> dict[Dataset, list[SourceInput]]:
    """Return the inputs that are known for each dataset.

    A query over several tables has no row count for any of them.
    """
    if len(datasets) == 1:
        return {datasets[0]: inputs} if inputs else {}
    return {
        dataset: [each]
        for dataset, each in zip(datasets, inputs, strict=False)
        if each.path_or_uri is not None and _file_name(dataset.name) == _file_name(each.path_or_uri)
    }


def _file_name(path: str) -> str:
    return path.rpartition("/")[2]


def _input_facets(inputs: list[SourceInput]) -> tuple[dict[str, Facet], dict[str, Facet]]:
    """Return the statistics of what was read, and its version."""
    statistics = {"rowCount": sum(each.row_count for each in inputs)}
    sizes = [each.size_bytes for each in inputs if each.size_bytes is not None]
    if len(sizes) == len(inputs):
        statistics |= {"size": sum(sizes), "fileCount": len(inputs)}
    version: dict[str, Facet] = {}
    if len(inputs) == 1 and inputs[0].content_hash is not None:
        version["version"] = facets.dataset_version(inputs[0].content_hash)
    return {"inputStatistics": facets.input_statistics(statistics)}, version


def _outputs(records: LineageRecords, *, is_end: bool) -> list[dict[str, object]]:
    found: dict[Dataset, dict[str, object]] = {}
    columns = trace_columns(records)
    for node in records.nodes_of(NodeType.SINK):
        for dataset in records.datasets(node):
            described = _dataset(dataset, node) | {"outputFacets": {}}
            named = cast("dict[str, Facet]", described["facets"])
            if node.node_id in columns:
                named["columnLineage"] = facets.column_lineage(columns[node.node_id])
            if is_end and records.is_published(node):
                described["outputFacets"], version = _output_facets(records, node)
                named.update(version)
            found.setdefault(dataset, described)
    return list(found.values())


def _output_facets(records: LineageRecords, node: Node) -> tuple[dict[str, Facet], dict[str, Facet]]:
    """Return the statistics of what was written, and its version."""
    artifact = records.artifact_of(node)
    name = str(records.configs[node.node_id].get("name"))
    statistics = {"rowCount": records.rows_by_sink.get(name, 0)}
    version: dict[str, Facet] = {}
    if artifact is not None:
        statistics["size"] = artifact.size_bytes
        if artifact.artifact_type != _DATABASE:
            statistics["fileCount"] = 1
            version["version"] = facets.dataset_version(artifact.content_hash)
    return {"outputStatistics": facets.output_statistics(statistics)}, version


def _dataset(dataset: Dataset, node: Node) -> dict[str, object]:
    """Return a dataset with what is known from the beginning."""
    named = {"dataSource": facets.data_source(dataset.namespace)}
    fields = json.loads(node.schema_fields_json or "[]")
    if fields:
        named["schema"] = facets.schema(fields)
    if node.plugin_name in _FORMATS:
        named["storage"] = facets.storage(dataset.namespace.partition(":")[0], _FORMATS[node.plugin_name])
    return {"namespace": dataset.namespace, "name": dataset.name, "facets": named}

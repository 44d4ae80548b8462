"""Makes facets: parts of events with their own JSON Schemas.

Each function returns one facet. Names of facets and members follow the specification.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from elspeth.core.landscape.sealing.seal import Seal
from elspeth.evidence.format.bag import Statement
from elspeth_schema.contracts import Run

__all__ = [
    "EVIDENCE",
    "EVIDENCE_SCHEMA",
    "PRODUCER",
    "SPECIFICATION",
    "Facet",
    "column_lineage",
    "data_source",
    "dataset_version",
    "error_message",
    "evidence",
    "input_statistics",
    "job_type",
    "output_statistics",
    "parent",
    "processing_engine",
    "schema",
    "source_code_location",
    "storage",
    "tags",
]

Facet = dict[str, object]

PRODUCER = "https://w3id.org/elspeth"
"""The URI that identifies elspeth in events; nothing needs to be at this address."""

SPECIFICATION = "https://openlineage.io/spec"

EVIDENCE = "elspeth_evidence"
"""The name of the facet that elspeth defines."""

EVIDENCE_SCHEMA = f"{PRODUCER}/openlineage/EvidenceRunFacet.json"
"""Its generated JSON Schema, `generated/elspeth_schema/openlineage.schema.json`."""


def _facet(version: str, name: str, members: Mapping[str, object]) -> Facet:
    """Return a facet of the specification.

    Members that are None are left out.
    """
    return {
        "_producer": PRODUCER,
        "_schemaURL": f"{SPECIFICATION}/facets/{version}/{name}.json#/$defs/{name}",
        **{key: value for key, value in members.items() if value is not None},
    }


# -- of the job --------------------------------------------------------------------------------------------------------


def job_type() -> Facet:
    """State that the job is a batch pipeline."""
    members = {"processingType": "BATCH", "integration": "ELSPETH", "jobType": "PIPELINE"}
    return _facet("2-0-4", "JobTypeJobFacet", members)


def source_code_location(commit: str) -> Facet:
    """Name the commit of the settings.

    Its repository is not recorded, so the URL is the identifier of the commit itself (ISO/IEC 18670, swhid.org).
    """
    return _facet(
        "1-1-0", "SourceCodeLocationJobFacet", {"type": "git", "url": f"swh:1:rev:{commit}", "version": commit}
    )


# -- of the run --------------------------------------------------------------------------------------------------------


def processing_engine(version: str) -> Facet:
    """Name elspeth with its version."""
    members = {"name": "elspeth", "version": version, "openlineageAdapterVersion": version}
    return _facet("1-1-1", "ProcessingEngineRunFacet", members)


def error_message(message: str) -> Facet:
    """Say why a run stopped."""
    return _facet("1-0-1", "ErrorMessageRunFacet", {"message": message, "programmingLanguage": "PYTHON"})


def tags(labels: Mapping[str, str]) -> Facet:
    """Return the labels of the settings."""
    found = [{"key": key, "value": value, "source": "ELSPETH"} for key, value in labels.items()]
    return _facet("1-0-0", "TagsRunFacet", {"tags": found})


def parent(text: str) -> Facet:
    """Return the parent run from ``NAMESPACE/JOB/RUN``."""
    rest, _, run_id = text.rpartition("/")
    namespace, _, name = rest.partition("/")
    members = {"run": {"runId": run_id}, "job": {"namespace": namespace, "name": name}}
    return _facet("1-2-0", "ParentRunFacet", members)


def evidence(run: Run, seal: Seal | None, statement: Statement | None) -> Facet:
    """Connect the run with its evidence: ids, hashes, roots."""
    facet: Facet = {
        "_producer": PRODUCER,
        "_schemaURL": f"{EVIDENCE_SCHEMA}#/$defs/EvidenceRunFacet",
        "run_id": run.run_id,
        "config_hash": run.config_hash,
    }
    if seal is not None:
        facet["seal"] = {"root": seal.root, "record_count": seal.record_count, "epoch": seal.epoch}
    if statement is not None:
        facet["bag"] = {"root": statement.root, "record_count": statement.record_count, "epoch": statement.run.epoch}
    return facet


# -- of datasets -------------------------------------------------------------------------------------------------------


def schema(fields: Sequence[Mapping[str, object]]) -> Facet:
    """Return the fields of a row schema, with their types."""
    found = [{"name": each["name"], "type": each["type"]} for each in fields]
    return _facet("1-2-0", "SchemaDatasetFacet", {"fields": found})


def data_source(namespace: str) -> Facet:
    """Say where a dataset is."""
    uri = namespace if "://" in namespace else f"{namespace}:///"
    return _facet("1-0-1", "DatasourceDatasetFacet", {"name": namespace, "uri": uri})


def storage(layer: str, file_format: str) -> Facet:
    """Say how a dataset is stored."""
    return _facet("1-0-1", "StorageDatasetFacet", {"storageLayer": layer, "fileFormat": file_format})


def dataset_version(content_hash: str) -> Facet:
    """Return the version of a file, which is its SHA-256."""
    return _facet("1-0-1", "DatasetVersionDatasetFacet", {"datasetVersion": f"sha256:{content_hash}"})


def column_lineage(fields: Mapping[str, Sequence[Mapping[str, object]]]) -> Facet:
    """Say from which fields of inputs each field comes."""
    found = {name: {"inputFields": list(origins)} for name, origins in fields.items()}
    return _facet("1-2-0", "ColumnLineageDatasetFacet", {"fields": found})


def input_statistics(statistics: Mapping[str, int]) -> Facet:
    """Say how much was read."""
    return _facet("1-0-0", "InputStatisticsInputDatasetFacet", statistics)


def output_statistics(statistics: Mapping[str, int]) -> Facet:
    """Say how much was written."""
    return _facet("1-0-2", "OutputStatisticsOutputDatasetFacet", statistics)

"""The metadata of a bag as a Workflow Run RO-Crate.

Its profile is https://w3id.org/ro/wfrun/workflow/0.5, on RO-Crate 1.1, with `data/` as the root. The document is
derived only from the records and the names of the payload files, so that verifiers can derive it again and compare.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from elspeth.evidence.format import bag
from elspeth.evidence.format.canonical import Json, canonical
from elspeth.evidence.format.iris import base_of_run, segment

__all__ = ["CRATE_TYPES", "MOST_LISTED", "CrateRecords", "crate_metadata"]

Entity = dict[str, Json]

MOST_LISTED = 100
"""The largest number of inputs, and of outputs, that the metadata lists."""

CRATE_TYPES = ("run", "run_process", "source_input", "artifact")
"""The types of the records from which the metadata is derived."""

_VERSION = "1"
"""The version of the metadata. Verifiers would need a second writer for another version."""

_CONTEXT: Json = ["https://w3id.org/ro/crate/1.1/context", {"sha256": "https://w3id.org/ro/terms/workflow-run#sha256"}]
_RO_CRATE = "https://w3id.org/ro/crate/1.1"
_WORKFLOW_CRATE = "https://w3id.org/workflowhub/workflow-ro-crate/1.0"
_PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    _WORKFLOW_CRATE: "Workflow RO-Crate",
}
_WORKFLOW_PROFILE = "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"
_PROJECT = "https://w3id.org/elspeth/"
_LANGUAGE = "https://w3id.org/elspeth/settings"
_RIGHTS, _ACCOUNT = "#rights", "#account"

_README = "data/README.md"

_FORMATS = {
    "bin": "application/octet-stream",
    "json": "application/json",
    "jsonl": "application/jsonl",
    "jsonld": "application/ld+json",
    "md": "text/markdown",
    "tlog-proof": "text/plain",
    "yaml": "application/yaml",
}
_DESCRIPTIONS = {
    bag.RECORDS: "The records of the run, one per line.",
    bag.LEAVES: "The leaf hashes of the lines.",
    bag.SCHEMA: "The JSON Schema of a record.",
    bag.REFERENCES: "The order of record types, their keys and references.",
    bag.SALTS: "The secret from which the salts of the lines are derived.",
    bag.CONTEXT: "The JSON-LD context with which the lines are RDF.",
    bag.CONTENTS: "Contents of rows and calls, each named by its SHA-256.",
    "data/data-dictionary.md": "What each field of a record means.",
    _README: "What is in this directory.",
}
_STATUSES = {
    "completed": "http://schema.org/CompletedActionStatus",
    "failed": "http://schema.org/FailedActionStatus",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CrateRecords:
    """The records from which the metadata is derived.

    `processes` holds the first one, if any. Of `inputs` and `outputs` only the first `MOST_LISTED` are used.
    """

    run: Mapping[str, Json]
    processes: Sequence[Mapping[str, Json]]
    inputs: Sequence[Mapping[str, Json]]
    outputs: Sequence[Mapping[str, Json]]


def crate_metadata(records: CrateRecords, names: Collection[str]) -> bytes:
    """Return the metadata in canonical JSON.

    `names` are the paths of the payload files, relative to the bag. Raises ValueError for values that have no canonical
    JSON.
    """
    graph = [*_Crate(records).entities(names)]
    return canonical({"@context": _CONTEXT, "@graph": graph})


class _Crate:
    """The entities of a crate."""

    def __init__(self, records: CrateRecords) -> None:
        self._records = records
        self._run = records.run
        self._run_id = _text(self._run, "run_id") or ""
        self._base = base_of_run(self._run_id)
        self._action = f"{self._base}run/{segment(self._run_id)}"
        self._inputs = self._values(records.inputs, "source_input", "input_id", "node_id")
        self._outputs = self._values(records.outputs, "artifact", "artifact_id", "sink_node_id")
        self._user = next((_text(each, "user_name") for each in records.processes), None)
        self._agent = _PROJECT if self._user is None else _ACCOUNT

    def entities(self, names: Collection[str]) -> list[Entity]:
        """Return all entities, the descriptor first."""
        parts = sorted({bag.CONTENTS if name.startswith(bag.CONTENTS) else name for name in names} - {bag.CRATE})
        parameters = [*self._parameters(self._inputs), *self._parameters(self._outputs)]
        return [
            self._descriptor(),
            self._root(parts),
            *(_file(part) for part in parts if part != bag.SETTINGS),
            self._workflow(),
            self._execution(),
            *parameters,
            *self._inputs,
            *self._outputs,
            *self._contextual(),
        ]

    def _descriptor(self) -> Entity:
        return {
            "@id": bag.CRATE.removeprefix(bag.PAYLOAD),
            "@type": "CreativeWork",
            "about": {"@id": "./"},
            "conformsTo": _links([_RO_CRATE, _WORKFLOW_CRATE]),
            "version": _VERSION,
        }

    def _root(self, parts: Sequence[str]) -> Entity:
        status = _text(self._run, "status") or "unknown"
        return {
            "@id": "./",
            "@type": "Dataset",
            "name": f"Audit trail of run {self._run_id}",
            "description": f"The records of one run of a pipeline, whose status is {status}.",
            "identifier": self._run_id,
            "datePublished": _moment(self._run, "completed_at") or _moment(self._run, "started_at"),
            "license": {"@id": _RIGHTS},
            "author": {"@id": _PROJECT},
            "publisher": {"@id": _PROJECT},
            "conformsTo": _links([*_PROFILES]),
            "mainEntity": {"@id": _relative(bag.SETTINGS)},
            "mentions": {"@id": self._action},
            "hasPart": _links([_relative(part) for part in parts]),
        }

    def _workflow(self) -> Entity:
        inputs, outputs = (_parameter_ids(each) for each in (self._inputs, self._outputs))
        described = {"conformsTo": {"@id": _WORKFLOW_PROFILE}} if inputs and outputs else {}
        return {
            "@id": _relative(bag.SETTINGS),
            "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow"],
            "name": "The settings of the pipeline",
            "description": "The settings as they were recorded, with secrets replaced by fingerprints.",
            "encodingFormat": _FORMATS["yaml"],
            "programmingLanguage": {"@id": _LANGUAGE},
            "version": _text(self._run, "config_hash"),
            "url": _relative(bag.SETTINGS),
            "dateCreated": _moment(self._run, "started_at"),
            "creator": {"@id": _PROJECT},
            "sdPublisher": {"@id": _PROJECT},
            "license": {"@id": _RIGHTS},
            **({"input": _links(inputs)} if inputs else {}),
            **({"output": _links(outputs)} if outputs else {}),
            **described,
        }

    def _execution(self) -> Entity:
        status = _text(self._run, "status") or "unknown"
        listed = [("inputs", self._inputs, "object"), ("outputs", self._outputs, "result")]
        numbers = [f"the first {len(each)} {what}" for what, each, _ in listed if len(each) == MOST_LISTED]
        limit = f" Only {' and '.join(numbers)} are listed." if numbers else ""
        facts: Entity = {
            "@id": self._action,
            "@type": "CreateAction",
            "name": f"Run {self._run_id}",
            "description": f"The execution of the pipeline, whose status is {status}.{limit}",
            "identifier": self._run_id,
            "instrument": {"@id": _relative(bag.SETTINGS)},
            "agent": {"@id": self._agent},
            "startTime": _moment(self._run, "started_at"),
            "endTime": _moment(self._run, "completed_at"),
            "actionStatus": _STATUSES.get(status),
            "result": _links([_relative(bag.RECORDS), *map(_id, self._outputs)]),
        }
        if self._inputs:
            facts["object"] = _links([*map(_id, self._inputs)])
        return _without_nulls(facts)

    def _values(self, records: Sequence[Mapping[str, Json]], kind: str, key: str, node: str) -> list[Entity]:
        """Return inputs or outputs as values of parameters."""
        return [
            _without_nulls(
                {
                    "@id": f"{self._base}{kind}/{segment(_text(each, key) or '')}",
                    "@type": "PropertyValue",
                    "name": _text(each, node) or "",
                    "value": _text(each, "path_or_uri"),
                    "exampleOfWork": {"@id": f"{self._base}node/{segment(_text(each, node) or '')}"},
                    "sha256": _text(each, "content_hash"),
                    "contentSize": None if (size := _number(each, "size_bytes")) is None else str(size),
                }
            )
            for each in records[:MOST_LISTED]
        ]

    def _parameters(self, values: Sequence[Entity]) -> list[Entity]:
        """Return the sources or sinks as parameters of the workflow."""
        return [
            {
                "@id": parameter,
                "@type": "FormalParameter",
                "name": next(each["name"] for each in values if _parameter(each) == parameter),
                "additionalType": "Text",
                "workExample": _links([_id(each) for each in values if _parameter(each) == parameter]),
            }
            for parameter in _parameter_ids(values)
        ]

    def _contextual(self) -> list[Entity]:
        engine = next((_text(each, "elspeth_version") for each in self._records.processes), None)
        profiles: list[Entity] = [
            {"@id": uri, "@type": "CreativeWork", "name": name, "version": uri.rpartition("/")[2]}
            for uri, name in _PROFILES.items()
        ]
        project = "The project whose program ran the pipeline and wrote this description."
        account: Entity = {"@id": _ACCOUNT, "@type": "Person", "name": self._user}
        account["description"] = "The account of the operating system under which the run was carried out."
        return [
            *profiles,
            {"@id": _PROJECT, "@type": "Organization", "name": "elspeth", "url": _PROJECT, "description": project},
            _without_nulls(
                {
                    "@id": _LANGUAGE,
                    "@type": "ComputerLanguage",
                    "name": "Settings of elspeth",
                    "url": _PROJECT,
                    "version": engine,
                }
            ),
            {
                "@id": _RIGHTS,
                "@type": "CreativeWork",
                "name": "No licence stated",
                "description": "The records state no licence: ask whoever gave you the bag.",
            },
            *([] if self._user is None else [account]),
        ]


def _file(name: str) -> Entity:
    """Return a payload file, or the directory of contents."""
    relative = _relative(name)
    if name == bag.CONTENTS:
        return {"@id": relative, "@type": "Dataset", "name": relative, "description": _DESCRIPTIONS[name]}
    form = _FORMATS.get(relative.partition(".")[2].rpartition(".")[2], _FORMATS["bin"])
    told = {"description": _DESCRIPTIONS[name]} if name in _DESCRIPTIONS else {}
    about = {"about": {"@id": "./"}} if name == _README else {}
    return {"@id": relative, "@type": "File", "name": relative, "encodingFormat": form, **told, **about}


def _relative(name: str) -> str:
    return name.removeprefix(bag.PAYLOAD)


def _links(ids: Sequence[str]) -> Json:
    """Return references to the entities with these ids.

    RO-Crate 1.1 requires that a single reference does not stand in a list.
    """
    links: list[Json] = [{"@id": each} for each in ids]
    return links[0] if len(links) == 1 else links


def _id(entity: Entity) -> str:
    return str(entity["@id"])


def _parameter(value: Entity) -> str:
    link = value["exampleOfWork"]
    return str(link["@id"]) if isinstance(link, dict) else ""


def _parameter_ids(values: Sequence[Entity]) -> list[str]:
    return [*dict.fromkeys(map(_parameter, values))]


def _without_nulls(entity: Entity) -> Entity:
    return {name: value for name, value in entity.items() if value is not None}


def _text(record: Mapping[str, Json], name: str) -> str | None:
    value = record.get(name)
    return value if isinstance(value, str) else None


def _number(record: Mapping[str, Json], name: str) -> int | None:
    value = record.get(name)
    return value if isinstance(value, int) else None


def _moment(record: Mapping[str, Json], name: str) -> str | None:
    """Return a time with milliseconds and an offset."""
    value = _text(record, name)
    return None if value is None else f"{value[:23]}+00:00"

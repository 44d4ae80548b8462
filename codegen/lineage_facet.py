"""The JSON Schema of the elspeth facet in lineage events.

A facet is a part of an OpenLineage event. Ours ties a run to the evidence of it; its members are columns of the schema.
"""

from __future__ import annotations

from codegen.json_schema import Json, column_value
from codegen.model import Model, Table

__all__ = ["describes_evidence", "facet_schema"]

_NAME = "EvidenceRunFacet"
_ID = f"https://w3id.org/elspeth/openlineage/{_NAME}.json"
_BASE = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunFacet"

_RUN, _SEAL, _BAG = "Run", "Seal", "PrunedRun"


def describes_evidence(model: Model) -> bool:
    """Return whether the schema has runs, seals and bags."""
    return {_RUN, _SEAL, _BAG} <= {table.class_name for table in model.tables}


def facet_schema(model: Model, *, comment: str) -> Json:
    """Return the JSON Schema of the facet."""
    tables = {table.class_name: table for table in model.tables}
    root = {"root": _described(tables[_BAG], "bag_root")}
    counts = _members(tables[_SEAL], ("record_count", "epoch"))
    seal = _object("The seal of the run, when it has ended.", _members(tables[_SEAL], ("root",)) | counts)
    bag = _object("The bag that the event was made of, if it was.", root | counts)
    members = _members(tables[_RUN], ("run_id", "config_hash"))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": comment,
        "$id": _ID,
        "$defs": {
            _NAME: {
                "description": "What ties a run to the evidence of it, which anybody who has it can check.",
                "type": "object",
                "allOf": [
                    {"$ref": _BASE},
                    {
                        "type": "object",
                        "properties": {**members, "seal": seal, "bag": bag},
                        "required": list(members),
                    },
                ],
            }
        },
        "type": "object",
        "properties": {"elspeth_evidence": {"$ref": f"#/$defs/{_NAME}"}},
    }


def _object(description: str, members: dict[str, Json]) -> Json:
    return {
        "description": description,
        "type": "object",
        "properties": members,
        "required": list(members),
        "additionalProperties": False,
    }


def _members(table: Table, names: tuple[str, ...]) -> dict[str, Json]:
    return {name: _described(table, name) for name in names}


def _described(table: Table, name: str) -> Json:
    column = table.column(name)
    return {"description": column.description, **column_value(column)}

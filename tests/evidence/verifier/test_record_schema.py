"""Schemas that are not fully understood are refused."""

from __future__ import annotations

import pytest

from elspeth.evidence.verifier._record_schema import read_shapes
from tests.evidence.bags import SCHEMA
from tests.evidence.documents import Change, Document, change_copy, refusal


def step(document: Document) -> Document:
    found: Document = document["$defs"]["Done"]
    return found


TYPES = "expected a type of string, integer, number, boolean, null"
PATTERN = "expected a pattern of characters and classes, each with a fixed count, from ^ to $, got"

SCHEMAS: dict[str, tuple[Change, str]] = {
    "no shapes": (lambda schema: schema.pop("oneOf"), "document: expected oneOf with the shapes of records, got None"),
    "unknown keyword of a value": (
        lambda schema: step(schema)["properties"]["step_id"].update(format="uuid"),
        "document: $defs/Done/properties/step_id: the keyword 'format' is not known to this verifier: use a newer one",
    ),
    "unknown keyword of a shape": (
        lambda schema: step(schema).update(minProperties=1),
        "document: $defs/Done: the keyword 'minProperties' is not known to this verifier: use a newer one",
    ),
    "open shape": (
        lambda schema: step(schema).pop("additionalProperties"),
        "document: $defs/Done: expected an object without additional properties",
    ),
    "nothing required": (
        lambda schema: step(schema).update(required=["gone"]),
        "document: $defs/Done: expected properties, and which of them are required",
    ),
    "no constant type": (
        lambda schema: step(schema)["properties"].update(record_type={"type": "string"}),
        "document: $defs/Done: expected a shape whose record_type is a constant",
    ),
    "reference to nothing": (
        lambda schema: schema["$defs"]["Run"]["properties"].update(status={"$ref": "#/$defs/Gone"}),
        "document: $defs/Run/properties/status: expected a reference to one of $defs, got '#/$defs/Gone'",
    ),
    "reference in a circle": (
        lambda schema: schema["$defs"].update(Status={"$ref": "#/$defs/Status"}),
        "document: $defs/Status: the keyword '$ref' is not known to this verifier: use a newer one",
    ),
    "unknown type": (
        lambda schema: step(schema)["properties"].update(good={"type": "date"}),
        "document: $defs/Done/properties/good: expected a type of string, integer, number, boolean, null, got 'date'",
    ),
    "several types": (
        lambda schema: step(schema)["properties"].update(good={"type": ["string", "null"]}),
        f"document: $defs/Done/properties/good: {TYPES}, got ['string', 'null']",
    ),
    "required names that are not texts": (
        lambda schema: step(schema).update(required=[[]]),
        "document: $defs/Done: expected properties, and which of them are required",
    ),
    "any value": (
        lambda schema: step(schema)["properties"].update(step_id={}),
        "document: $defs/Done/properties/step_id: expected a type of string, integer, number, boolean, null, got None",
    ),
    "pattern without end": (
        lambda schema: step(schema)["properties"].update(step_id={"type": "string", "pattern": "^a"}),
        f"document: $defs/Done/properties/step_id: {PATTERN} '^a'",
    ),
    "malformed pattern": (
        lambda schema: step(schema)["properties"].update(step_id={"type": "string", "pattern": "^*$"}),
        f"document: $defs/Done/properties/step_id: {PATTERN} '^*$'",
    ),
    "bound that is not a number": (
        lambda schema: step(schema)["properties"].update(step_id={"type": "string", "maxLength": "9"}),
        "document: $defs/Done/properties/step_id: expected a number in maxLength, got '9'",
    ),
    "two alternatives": (
        lambda schema: step(schema)["properties"].update(step_id={"anyOf": [{"type": "string"}, {"type": "integer"}]}),
        "document: $defs/Done/properties/step_id: expected anyOf to be of a value and null",
    ),
    "another condition": (
        lambda schema: schema["$defs"]["Link"].update(allOf=[{"oneOf": [{"required": ["row"]}]}]),
        "document: $defs/Link/allOf: expected oneOf with each of several properties as the one that is not null",
    ),
    "choice of objects": (
        lambda schema: schema["$defs"].update(Status={"enum": [{}]}),
        "document: $defs/Status: expected plain values to choose from, got [{}]",
    ),
}


@pytest.mark.parametrize("case", SCHEMAS)
def test_a_schema_that_is_not_understood_is_refused(case: str) -> None:
    change, message = SCHEMAS[case]
    assert refusal(read_shapes, change_copy(SCHEMA, change)) == message

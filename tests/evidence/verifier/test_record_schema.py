"""Schemas that are not fully understood are refused."""

from __future__ import annotations

import pytest

from elspeth.evidence.format.canonical import canonical
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
    "constant type that is no text": (
        lambda schema: step(schema)["properties"].update(record_type={"const": 5}),
        "document: $defs/Done: expected a shape whose record_type is a constant",
    ),
    "unknown keyword of the language": (
        lambda schema: step(schema)["properties"]["step_id"].update({"$anchor": "x"}),
        "document: $defs/Done/properties/step_id: the keyword '$anchor' is not known to this verifier: use a newer one",
    ),
    "reference with more": (
        lambda schema: schema["$defs"]["Run"]["properties"]["status"].update(maxLength=3),
        "document: $defs/Run/properties/status: the keyword 'maxLength' is not known to this verifier: use a newer one",
    ),
    "reference to a shape with more": (
        lambda schema: schema["oneOf"][0].update(required=["more"]),
        "document: oneOf: the keyword 'required' is not known to this verifier: use a newer one",
    ),
    "unused shape with an unknown keyword": (
        lambda schema: schema["$defs"].update(Unused={**step(schema), "minProperties": 1}),
        "document: $defs/Unused: the keyword 'minProperties' is not known to this verifier: use a newer one",
    ),
    "manifest with an unknown keyword inside": (
        lambda schema: schema["$defs"].update(
            M={"properties": {"record_type": {"const": "manifest"}, "x": {"type": "array", "items": {"format": "x"}}}}
        ),
        "document: $defs/M: the keyword 'format' is not known to this verifier: use a newer one",
    ),
    "manifest with an unknown keyword of further members": (
        lambda schema: schema["$defs"].update(
            M={"properties": {"record_type": {"const": "manifest"}}, "additionalProperties": {"format": "x"}}
        ),
        "document: $defs/M: the keyword 'format' is not known to this verifier: use a newer one",
    ),
    "truth for a bound": (
        lambda schema: step(schema)["properties"].update(step_id={"type": "integer", "minimum": True}),
        "document: $defs/Done/properties/step_id: expected a number in minimum, got True",
    ),
    "null in null": (
        lambda schema: step(schema)["properties"].update(
            step_id={"anyOf": [{"anyOf": [{"type": "string"}, {"type": "null"}]}, {"type": "null"}]}
        ),
        "document: $defs/Done/properties/step_id: expected anyOf to be of a value and null",
    ),
    "group with more": (
        lambda schema: schema["$defs"]["Link"]["allOf"][0].update(maxProperties=1),
        "document: $defs/Link/allOf: expected oneOf with each of several properties as the one that is not null",
    ),
    "group with another choice": (
        lambda schema: schema["$defs"]["Link"]["allOf"][0]["oneOf"].append({"properties": {}}),
        "document: $defs/Link/allOf: expected oneOf with each of several properties as the one that is not null",
    ),
    "group with a choice less": (
        lambda schema: schema["$defs"]["Link"]["allOf"][0]["oneOf"].pop(),
        "document: $defs/Link/allOf: expected oneOf with each of several properties as the one that is not null",
    ),
    "group of a field that is not required": (
        lambda schema: schema["$defs"]["Link"]["required"].remove("file"),
        "document: $defs/Link: expected allOf to be about required properties, each in one group",
    ),
    "groups that are no array": (
        lambda schema: schema["$defs"]["Link"].update(allOf={}),
        "document: $defs/Link: expected an array in allOf, got {}",
    ),
    "definitions that are no object": (
        lambda schema: schema.update({"$defs": []}),
        "document: $defs: expected an object of definitions, got []",
    ),
    "definition that is no object": (
        lambda schema: schema["$defs"].update(Status=[]),
        "document: $defs/Run/properties/status: expected an object, got []",
    ),
    "value that is no object": (
        lambda schema: step(schema)["properties"].update(step_id=True),
        "document: $defs/Done/properties/step_id: expected an object, got True",
    ),
    "shape of an array": (
        lambda schema: step(schema).update(type="array"),
        "document: $defs/Done: expected an object without additional properties",
    ),
    "shape with further fields": (
        lambda schema: step(schema).update(additionalProperties={}),
        "document: $defs/Done: expected an object without additional properties",
    ),
    "same choice twice": (
        lambda schema: schema["$defs"].update(Status={"enum": ["a", "a"]}),
        "document: $defs/Status: expected different values to choose from, got ['a', 'a']",
    ),
    "no choice": (
        lambda schema: schema["$defs"].update(Status={"enum": []}),
        f"document: $defs/Status: {TYPES}, got None",
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


def test_a_value_may_be_null_true_or_one_among_choices() -> None:
    """They are different values, though 1 equals true."""
    document = change_copy(SCHEMA, lambda schema: schema["$defs"].update(Status={"enum": ["a", None, True, 1, 0]}))
    [run] = read_shapes(canonical(document), "document")["run"]
    assert run.rules["status"].choices == ("a", None, True, 1, 0)


def test_no_value_fits_an_empty_choice_of_texts() -> None:
    document = change_copy(SCHEMA, lambda schema: schema["$defs"].update(Status={"type": "string", "enum": []}))
    [run] = read_shapes(canonical(document), "document")["run"]
    assert run.rules["status"].problem("completed") == "expected , got 'completed'"


@pytest.mark.parametrize(
    ("limit", "keyword", "length"),
    [("maxLength", "max_length", 7), ("minimum", "minimum", -2.5), ("maximum", "maximum", 9)],
)
def test_each_bound_reaches_the_rule(limit: str, keyword: str, length: float) -> None:
    rule = {"type": "string" if limit == "maxLength" else "number", limit: length}
    document = change_copy(SCHEMA, lambda schema: step(schema)["properties"].update(step_id=rule))
    found = read_shapes(canonical(document), "document")["step"][1].rules["step_id"]
    bounds = {name: getattr(found, name) for name in ("max_length", "minimum", "maximum")}
    assert bounds == dict.fromkeys(bounds) | {keyword: length}

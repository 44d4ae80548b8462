"""Malformed or unknown documents are refused, not passed over."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth.evidence.format.bag import SALT_ALGORITHM, Salts, Statement, manifest_text, parse_manifest
from elspeth.evidence.format.canonical import canonical
from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.verifier._record_schema import read_shapes
from elspeth.evidence.verifier._record_types import read_rules
from elspeth.evidence.verifier._trail import TrailChecker
from tests.evidence.bags import REFERENCES, SCHEMA, facts

Document = dict[str, Any]
Change = Callable[[Document], object]

STATEMENT = Statement(subjects={"data/records.jsonl": "0" * 64}, run=facts(), counts={"run": 1}, root="1" * 64)


def refusal(read: Callable[[bytes, str], object], document: object) -> str:
    with pytest.raises(EvidenceError) as caught:
        read(canonical(document), "document")  # type: ignore[arg-type]
    return str(caught.value)


def changed(document: Document, change: Change) -> Document:
    document = json.loads(json.dumps(document))  # without parts that are one object in several places
    change(document)
    return document


def step(document: Document) -> Document:
    found: Document = document["$defs"]["Done"]
    return found


TYPES = "expected a type of string, integer, number, boolean, null"
PATTERN = "expected a pattern of characters and classes, each with a fixed count, from ^ to $, got"
KINDS = "'urn:elspeth:audit-trail-export:v1' or 'urn:elspeth:audit-trail-export:v2'"

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
    "type of no kind": (
        lambda schema: step(schema)["properties"].update(good={"type": "date"}),
        "document: $defs/Done/properties/good: expected a type of string, integer, number, boolean, null, got 'date'",
    ),
    "several types": (
        lambda schema: step(schema)["properties"].update(good={"type": ["string", "null"]}),
        f"document: $defs/Done/properties/good: {TYPES}, got ['string', 'null']",
    ),
    "required that are no names": (
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
    "pattern of no sense": (
        lambda schema: step(schema)["properties"].update(step_id={"type": "string", "pattern": "^*$"}),
        f"document: $defs/Done/properties/step_id: {PATTERN} '^*$'",
    ),
    "bound of no number": (
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
    assert refusal(read_shapes, changed(SCHEMA, change)) == message


RULES: dict[str, tuple[Change, str]] = {
    "no types": (
        lambda rules: rules.update(order=[]),
        "document: order: expected record types, each once, got ()",
    ),
    "type without rules": (
        lambda rules: rules["types"].pop("thing"),
        "document: types: expected a member 'thing', got none",
    ),
    "rules without place": (
        lambda rules: rules["order"].pop(),
        "document: types: expected no further member, got 'checkpoint'",
    ),
    "further member": (
        lambda rules: rules["types"]["thing"].update(more=1),
        "document: types: thing: expected no further member, got 'more'",
    ),
    "key without the run": (
        lambda rules: rules["types"]["thing"].update(key=["row_id"]),
        "document: types: thing: expected key and order to begin with run_id, the key of the run",
    ),
    "run of two columns": (
        lambda rules: rules["types"]["run"].update(key=["run_id", "status"]),
        "document: types: run: expected a key of one column: it is the run itself",
    ),
    "reference forwards": (
        lambda rules: rules["types"]["thing"]["references"].append(
            {"columns": ["run_id", "row_id"], "record_type": "step"}
        ),
        "document: types: thing: expected references to keys of earlier types, got run_id, row_id to 'step'",
    ),
    "reference to half a key": (
        lambda rules: rules["types"]["link"]["references"].append({"columns": ["run_id"], "record_type": "step"}),
        "document: types: link: expected references to keys of earlier types, got run_id to 'step'",
    ),
    "lifecycle without end": (
        lambda rules: rules["types"]["step"]["lifecycle"].update(final=[]),
        "document: types: step: expected the values that end its lifecycle, got none",
    ),
    "abandoned without end": (
        lambda rules: rules["types"]["run"]["lifecycle"].update(abandoned=["lost"]),
        "document: types: run: expected only a run to be abandoned, got ['lost']",
    ),
    "abandoned record": (
        lambda rules: rules["types"]["step"]["lifecycle"].update(abandoned=["done"]),
        "document: types: step: expected only a run to be abandoned, got ['done']",
    ),
    "column of no text": (
        lambda rules: rules["types"]["step"].update(key=["run_id", 1]),
        "document: types: step: key: expected an array of texts, got ['run_id', 1]",
    ),
}


@pytest.mark.parametrize("case", RULES)
def test_rules_that_contradict_themselves_are_refused(case: str) -> None:
    change, message = RULES[case]
    assert refusal(read_rules, changed(REFERENCES, change)) == message


TOGETHER: dict[str, tuple[Change, str]] = {
    "unknown type": (
        lambda rules: (rules["order"].append("x"), rules["types"].update(x=rules["types"]["thing"])),
        "data/references.json: types: expected types that the schema knows, got 'x'",
    ),
    "unknown column": (
        lambda rules: rules["types"]["step"]["lifecycle"].update(status="state"),
        "data/references.json: types: step: expected 'state' to be required by the schema",
    ),
    "key that may be null": (
        lambda rules: rules["types"]["thing"].update(order=["run_id", "note"]),
        "data/references.json: types: thing: expected 'note' to be text or a whole number in the schema",
    ),
}


@pytest.mark.parametrize("case", TOGETHER)
def test_rules_that_the_schema_contradicts_are_refused(case: str) -> None:
    change, message = TOGETHER[case]
    rules = read_rules(canonical(changed(REFERENCES, change)), "document")
    with pytest.raises(EvidenceError) as caught:
        TrailChecker(rules, read_shapes(json.dumps(SCHEMA).encode(), "schema"), None)
    assert str(caught.value) == message


STATEMENTS: dict[str, tuple[Change, str]] = {
    "another type": (
        lambda statement: statement.update(_type="https://in-toto.io/Statement/v0.1"),
        "document: _type: expected 'https://in-toto.io/Statement/v1', got 'https://in-toto.io/Statement/v0.1'",
    ),
    "another predicate": (
        lambda statement: statement.update(predicateType="https://slsa.dev/provenance/v1"),
        f"document: predicateType: expected {KINDS}, got 'https://slsa.dev/provenance/v1': use a newer verifier",
    ),
    "another sum": (
        lambda statement: statement["predicate"].update(record_count=2),
        "document: predicate: record_count: expected 1, got 2",
    ),
    "true for one": (
        lambda statement: statement["predicate"].update(record_count=True),
        "document: predicate: record_count: expected 1, got True",
    ),
    "count of nothing": (
        lambda statement: statement["predicate"].update(counts={"run": 0}),
        "document: predicate: counts: expected an object of counts of at least one, got {'run': 0}",
    ),
    "root of no hash": (
        lambda statement: statement["predicate"]["merkle_tree"].update(root="0"),
        "document: predicate: merkle_tree: root: expected a SHA-256 in hexadecimal, got '0'",
    ),
    "file twice": (
        lambda statement: statement["subject"].append(statement["subject"][0]),
        "document: subject: expected each file once, got 'data/records.jsonl' again",
    ),
    "file of no object": (
        lambda statement: statement.update(subject=[1]),
        "document: subject: expected an array of objects, got [1]",
    ),
    "further predicate": (
        lambda statement: statement["predicate"].update(more=1),
        "document: predicate: expected no further member, got 'more'",
    ),
    "completeness of no truth": (
        lambda statement: statement["predicate"].update(complete=1),
        "document: predicate: complete: expected true or false, got 1",
    ),
}


@pytest.mark.parametrize("case", STATEMENTS)
def test_malformed_statements_are_refused(case: str) -> None:
    change, message = STATEMENTS[case]
    document = changed(json.loads(STATEMENT.to_bytes()), change)
    assert refusal(Statement.from_bytes, document) == message


def test_a_statement_is_read_as_it_was_written() -> None:
    assert Statement.from_bytes(STATEMENT.to_bytes(), "statement") == STATEMENT


def test_a_secret_is_read_as_it_was_written() -> None:
    salts = Salts(secret="secret")
    assert Salts.from_bytes(salts.to_bytes(), "salts") == salts


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"algorithm": "md5", "secret": "s"}, f"document: algorithm: expected {SALT_ALGORITHM!r}, got 'md5'"),
        ({"algorithm": SALT_ALGORITHM, "secret": ""}, "document: secret: expected a secret, got an empty text"),
    ],
)
def test_malformed_secrets_are_refused(document: Document, message: str) -> None:
    assert refusal(Salts.from_bytes, document) == message


MANIFESTS = {
    "nothing": (b"", "m, line 1: expected a SHA-256 and a file name, got ''"),
    "binary mode": (b"0" * 64 + b" *a\n", f"m, line 1: expected a SHA-256 and a file name, got '{'0' * 64} *a'"),
    "file twice": ((b"0" * 64 + b"  a\n") * 2, "m, line 2: expected each file once, got 'a' again"),
    "no end": (b"0" * 64 + b"  a", "m: expected its lines in the order of file names, each with a line feed"),
}


@pytest.mark.parametrize("case", MANIFESTS)
def test_malformed_manifests_are_refused(case: str) -> None:
    text, message = MANIFESTS[case]
    with pytest.raises(EvidenceError) as caught:
        parse_manifest(text, "m")
    assert str(caught.value) == message


@given(
    st.dictionaries(st.from_regex(r"[a-z./-]{1,20}", fullmatch=True), st.sampled_from(["0" * 64, "f" * 64]), min_size=1)
)
def test_a_manifest_is_read_as_it_was_written(digests: dict[str, str]) -> None:
    assert parse_manifest(manifest_text(digests), "manifest") == digests


READERS: list[Callable[[bytes, str], object]] = [
    read_shapes,
    read_rules,
    Statement.from_bytes,
    Salts.from_bytes,
    parse_manifest,
]

names = st.sampled_from(["$defs", "oneOf", "order", "types", "subject", "predicate", "secret"])
trees = st.recursive(st.none() | st.text(), lambda each: st.dictionaries(names, each) | st.lists(each))
documents = st.binary() | trees.map(lambda tree: json.dumps(tree).encode())


@given(documents, st.sampled_from(READERS))
def test_arbitrary_documents_are_evidence_errors(data: bytes, read: Callable[[bytes, str], object]) -> None:
    try:
        found = read(data, "document")
    except EvidenceError:
        return
    # A schema may have no shapes at all; the rules then ask for some.
    assert (read, found) == (read_shapes, {})


def nodes_of(tree: object) -> list[tuple[Any, Any]]:
    """Return all containers in a document, with their keys."""
    items: list[tuple[Any, Any]] = []
    if isinstance(tree, dict):
        items = list(tree.items())
    elif isinstance(tree, list):
        items = list(enumerate(tree))
    return [(tree, key) for key, _ in items] + [found for _, value in items for found in nodes_of(value)]


@given(st.data(), st.sampled_from([(read_shapes, SCHEMA), (read_rules, REFERENCES)]))
def test_a_document_changed_anywhere_is_read_or_refused(
    data: st.DataObject, case: tuple[Callable[[bytes, str], object], Document]
) -> None:
    read, document = case
    changed = json.loads(json.dumps(document))
    container, key = data.draw(st.sampled_from(nodes_of(changed)))
    container[key] = data.draw(trees | st.integers() | st.booleans() | st.lists(st.text(), max_size=2))
    with suppress(EvidenceError):
        read(json.dumps(changed).encode(), "document")

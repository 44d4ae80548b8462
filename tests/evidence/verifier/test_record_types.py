"""Rules must be consistent, and fit schema and laws."""

from __future__ import annotations

import json

import pytest

from elspeth.evidence.format.canonical import canonical
from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.verifier._record_schema import read_shapes
from elspeth.evidence.verifier._record_types import read_rules
from elspeth.evidence.verifier._trail import TrailChecker
from tests.evidence.bags import REFERENCES, SCHEMA
from tests.evidence.documents import Change, change_copy, refusal

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
    "column that is not a text": (
        lambda rules: rules["types"]["step"].update(key=["run_id", 1]),
        "document: types: step: key: expected an array of texts, got ['run_id', 1]",
    ),
}


@pytest.mark.parametrize("case", RULES)
def test_rules_that_contradict_themselves_are_refused(case: str) -> None:
    change, message = RULES[case]
    assert refusal(read_rules, change_copy(REFERENCES, change)) == message


TOGETHER: dict[str, tuple[Change, str]] = {
    "unknown type": (
        lambda rules: (rules["order"].append("x"), rules["types"].update(x=rules["types"]["thing"])),
        "data/references.json: types: expected types that the schema knows, got 'x'",
    ),
    "run that is not first": (
        lambda rules: (
            rules["order"].insert(0, "other"),
            rules["types"].update(other=rules["types"]["run"]),
            rules["types"].update(run={**rules["types"]["run"], "lifecycle": rules["types"]["thing"]["lifecycle"]}),
        ),
        "data/references.json: order: expected the run record first, got 'other'",
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
    rules = read_rules(canonical(change_copy(REFERENCES, change)), "document")
    with pytest.raises(EvidenceError) as caught:
        TrailChecker(rules, read_shapes(json.dumps(SCHEMA).encode(), "schema"), None)
    assert str(caught.value) == message


def test_a_schema_of_negative_steps_is_refused() -> None:
    """Steps are counted from 0, and kept in unsigned bits."""
    rules, schema = read_rules(json.dumps(REFERENCES).encode(), "rules"), json.loads(json.dumps(SCHEMA))
    schema["$defs"]["node_state"]["properties"]["step_index"] = {"type": "integer"}
    with pytest.raises(EvidenceError) as caught:
        TrailChecker(rules, read_shapes(json.dumps(schema).encode(), "schema"), None)
    problem = "expected node_state records with 'step_index', whole number from 0, which the laws are about"
    assert str(caught.value) == f"data/export.schema.json: {problem}: use a newer verifier"

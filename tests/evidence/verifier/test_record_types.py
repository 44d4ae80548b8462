"""Rules must be consistent, and fit schema and laws."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from elspeth.evidence.format.canonical import canonical
from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.verifier import _record_types
from elspeth.evidence.verifier._record_schema import read_shapes
from elspeth.evidence.verifier._record_types import build_readers, read_rules
from elspeth.evidence.verifier._shapes import PatternBudget, Shape, ValueRule
from elspeth.evidence.verifier._trail import TrailChecker
from elspeth.evidence.verifier.accounting.accountant import LEDGERS
from tests.evidence.bags import REFERENCES, SCHEMA
from tests.evidence.documents import Change, Document, change_copy, refusal

RIGHT = read_rules(json.dumps(REFERENCES).encode(), "rules")
SHAPES = read_shapes(canonical(SCHEMA), "schema")  # type: ignore[arg-type]

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
    "further member of the document": (
        lambda rules: rules.update(more=1),
        "document: expected no further member, got 'more'",
    ),
    "further member of a reference": (
        lambda rules: rules["types"]["link"]["references"][1].update(more=1),
        "document: types: link: references[1]: expected no further member, got 'more'",
    ),
    "further member of a lifecycle": (
        lambda rules: rules["types"]["link"]["lifecycle"].update(more=1),
        "document: types: link: lifecycle: expected no further member, got 'more'",
    ),
    "type twice": (
        lambda rules: rules.update(order=["run", "thing", "run"]),
        "document: order: expected record types, each once, got ('run', 'thing', 'run')",
    ),
    "order without the run": (
        lambda rules: rules["types"]["thing"].update(order=["row_index"]),
        "document: types: thing: expected key and order to begin with run_id, the key of the run",
    ),
    "reference without the run": (
        lambda rules: rules["types"]["link"]["references"].append(
            {"columns": ["row", "step_id"], "record_type": "step"}
        ),
        "document: types: link: expected references to keys of earlier types, got row, step_id to 'step'",
    ),
    "reference to its own type": (
        lambda rules: rules["types"]["thing"]["references"].append(
            {"columns": ["run_id", "row_id"], "record_type": "thing"}
        ),
        "document: types: thing: expected references to keys of earlier types, got run_id, row_id to 'thing'",
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


NUMBER, TEXT, FLAG = ValueRule(type="integer"), ValueRule(type="string"), ValueRule(type="boolean")
CONTENTS = {
    "text": [NUMBER, FLAG, ValueRule(type="number"), ValueRule(choices=("a", 1))],
    "whole number from 0": [NUMBER, replace(NUMBER, minimum=-1), ValueRule(type="number", minimum=0), TEXT],
    "true or false": [TEXT, NUMBER, ValueRule(choices=(True, False))],
    "time": [TEXT, replace(TEXT, regex_length=26), NUMBER, ValueRule(choices=("2026-01-31T23:59:59.999999Z",))],
}
"""By what the laws ask of a column, rules that do not give it.

Steps are kept in unsigned bits, and times are compared as texts.
"""

COLUMNS = [(name, column) for name, ledger in LEDGERS.items() for column in ledger.columns]


@pytest.mark.parametrize(("record_type", "column"), COLUMNS)
def test_a_schema_without_a_column_of_the_laws_is_refused(record_type: str, column: str) -> None:
    content = LEDGERS[record_type].columns[column]
    [shape] = SHAPES[record_type]

    def refusal_of(changed: Shape) -> str:
        with pytest.raises(EvidenceError) as caught:
            build_readers(RIGHT, {**SHAPES, record_type: [shape, changed]})
        return str(caught.value)

    def replaced(rule: ValueRule) -> Shape:
        return replace(shape, rules={**shape.rules, column: rule})

    others = [*CONTENTS[content.removesuffix(" or null")]]
    if not content.endswith(" or null"):
        others += [replace(shape.rules[column], nullable=True), ValueRule(type="null")]
    optional = replace(shape, required=shape.required - {column})
    absent = replace(optional, rules={name: rule for name, rule in shape.rules.items() if name != column})
    problem = f"expected {record_type} records with '{column}', {content}, which the laws are about"
    found = {refusal_of(each) for each in (optional, absent, *map(replaced, others))}
    assert found == {f"data/export.schema.json: {problem}: use a newer verifier"}


LINKS = [(name, column) for name, ledger in LEDGERS.items() for column in ledger.links]


@pytest.mark.parametrize(("record_type", "column"), LINKS)
def test_rules_without_a_reference_of_the_laws_are_refused(record_type: str, column: str) -> None:
    def change(rules: Document) -> None:
        rule = rules["types"][record_type]
        rule["references"] = [each for each in rule["references"] if each["columns"] != ["run_id", column]]

    with pytest.raises(EvidenceError) as caught:
        build_readers(read_rules(canonical(change_copy(REFERENCES, change)), "rules"), SHAPES)
    problem = f"expected '{column}' to name another record, as the laws ask"
    assert str(caught.value) == f"data/references.json: types: {record_type}: {problem}"


@pytest.mark.parametrize("record_type", [name for name in LEDGERS if name not in {"run", "node_state", "batch"}])
def test_rules_without_a_type_of_the_laws_are_refused(record_type: str) -> None:
    def change(rules: Document) -> None:
        rules["order"].remove(record_type)
        del rules["types"][record_type]
        for rule in rules["types"].values():
            rule["references"] = [each for each in rule["references"] if each["record_type"] != record_type]

    with pytest.raises(EvidenceError) as caught:
        build_readers(read_rules(canonical(change_copy(REFERENCES, change)), "rules"), SHAPES)
    problem = f"expected {record_type} records, which the laws are about, got none"
    assert str(caught.value) == f"data/references.json: types: {problem}"


def test_the_budget_of_patterns_is_that_of_all_types(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    take = PatternBudget.take

    def counted(self: PatternBudget, characters: int) -> None:
        taken.append(characters)
        take(self, characters)

    monkeypatch.setattr(PatternBudget, "take", counted)
    build_readers(RIGHT, SHAPES)
    limit = sum(taken) - 1
    monkeypatch.setattr(_record_types, "PatternBudget", lambda place: PatternBudget(place, limit))
    with pytest.raises(EvidenceError) as caught:
        build_readers(RIGHT, SHAPES)
    problem = f"expected shapes with patterns of at most {limit:,} characters, got more"
    assert str(caught.value) == f"data/export.schema.json: {problem}"

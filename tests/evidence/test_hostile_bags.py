"""Bags made to keep a verifier busy are refused early.

What a case costs is bounded by what is refused before it is used. Nothing here is timed: a test that is not bounded
does not end.
"""

from __future__ import annotations

import json
import re
import re._constants as sre  # type: ignore[import-not-found]
import re._parser as sre_parser  # type: ignore[import-not-found]
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from elspeth.core.landscape.exporting.bag_form import references_document
from elspeth.evidence.format import bag
from elspeth.evidence.format.canonical import canonical
from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.format.limits import MAX_DOCUMENT, MAX_PATTERNS
from elspeth.evidence.format.signatures import PRIVATE_KEY, PublicKey, Signer, generate_keys, load_signer
from elspeth.evidence.verifier import _line_patterns, _record_types
from elspeth.evidence.verifier._examination import Documents
from elspeth.evidence.verifier._record_schema import read_shapes
from elspeth.evidence.verifier._record_types import read_rules
from elspeth.evidence.verifier.procedure import Status
from elspeth.evidence.verifier.proof import verify_proof
from tests.evidence.bags import (
    DOCUMENTS,
    REFERENCES,
    SCHEMA,
    faults,
    make_bag,
    make_older_bag,
    records,
    reseal,
    to_lines,
    verify,
)

Document = dict[str, Any]
Files = dict[str, bytes]
Change = Callable[[Document], object]


def definition(document: Document, name: str = "Thing") -> Document:
    found: Document = document["$defs"][name]
    return found


def field(schema: object) -> Change:
    """Replace the rule of a field of every thing."""
    return lambda document: definition(document)["properties"].update(note=schema)


def pattern(text: str) -> Change:
    return field({"type": "string", "pattern": text})


def groups(count: int) -> Change:
    """Add groups of two fields, one of them not null."""

    def change(document: Document) -> None:
        row = definition(document)
        names = [f"g{number}" for number in range(2 * count)]
        row["properties"] |= {name: {"anyOf": [{"type": "integer"}, NULL]} for name in names}
        row["required"] += names
        row["allOf"] = [
            {"oneOf": [{"properties": {left: NOT_NULL, right: NULL}}, {"properties": {left: NULL, right: NOT_NULL}}]}
            for left, right in zip(names[::2], names[1::2], strict=True)
        ]

    return change


NULL: Document = {"type": "null"}
NOT_NULL: Document = {"not": NULL}


def choices_everywhere(document: Document) -> None:
    """Let many fields refer to one long list.

    A megabyte of schema would make gigabytes of patterns.
    """
    document["$defs"]["Choice"] = {"enum": [f"{number:05}" + "x" * 95 for number in range(200)]}
    names = [f"f{number}" for number in range(150)]
    row = definition(document)
    row["properties"] |= {name: {"$ref": "#/$defs/Choice"} for name in names}
    row["required"] += names


PATTERN = "expected a pattern of characters and classes, each with a fixed count, from ^ to $"

SCHEMAS: dict[str, tuple[Change, str]] = {
    "a class that repeats 12 times": (pattern("^" + "[!-~]*" * 12 + "#$"), PATTERN),
    "any text 8 times": (pattern("^" + ".*" * 8 + "#$"), PATTERN),
    "a group that repeats": (pattern("^(a|a)*$"), PATTERN),
    "a choice within a pattern": (pattern("^a|b$"), PATTERN),
    "a reference back": (pattern(r"^(a)\1$"), PATTERN),
    "a pattern that may be absent": (pattern("^a?b$"), PATTERN),
    "a pattern of a range of lengths": (pattern("^[a-z]{1,9}$"), PATTERN),
    "a long pattern": (pattern("^" + "a" * 2000 + "$"), PATTERN),
    "a pattern that matches long texts": (pattern("^" + "a{999}" * 9 + "$"), "expected a pattern of at most 1,000"),
    "2^40 shapes": (groups(40), "expected at most 16 groups in allOf, got 40"),
    "2^5 shapes": (groups(5), "expected groups in allOf that leave at most 16 choices, got more"),
    "one group of many": (
        lambda document: definition(document, "Link").update(allOf=[{"oneOf": [{"properties": {}}] * 17}]),
        "expected at most 16 choices in oneOf, got 17",
    ),
    "a field in two groups": (
        lambda document: definition(document, "Link").update(allOf=definition(document, "Link")["allOf"] * 2),
        "expected allOf to be about required properties, each in one group",
    ),
    "many alternatives": (
        lambda document: document["oneOf"].extend([{"$ref": "#/$defs/Thing"}] * 400),
        "expected at most 400 alternatives in oneOf, got 422",
    ),
    "many shapes of one type": (
        lambda document: document["oneOf"].extend([{"$ref": "#/$defs/Thing"}] * 8),
        "expected at most 8 shapes of thing records, got 9",
    ),
    "many definitions": (
        lambda document: document["$defs"].update({f"D{number}": NULL for number in range(400)}),
        "expected at most 400 definitions, got 423",
    ),
    "many fields": (
        lambda document: definition(document)["properties"].update({f"f{number}": NULL for number in range(200)}),
        "expected at most 200 properties, got 207",
    ),
    "many choices": (field({"enum": list(range(201))}), "expected at most 200 values to choose from, got 201"),
    "the same choice twice": (field({"enum": ["a", "b", "a"]}), "expected different values to choose from"),
    "long choices in many fields": (
        choices_everywhere,
        f"expected shapes with patterns of at most {MAX_PATTERNS:,} characters, got more",
    ),
    "a keyword at the top": (lambda document: document.update(unevaluatedProperties=False), "unevaluatedProperties"),
    "another dialect": (
        lambda document: document.update({"$schema": "https://json-schema.org/draft/2019-09/schema"}),
        "expected https://json-schema.org/draft/2020-12/schema",
    ),
    "a keyword where nothing looks": (
        lambda document: document["$defs"].update(Unused={"type": "string", "format": "uuid"}),
        "$defs/Unused: the keyword 'format' is not known",
    ),
    "a keyword in the manifest": (
        lambda document: document["$defs"].update(
            Manifest={"properties": {"record_type": {"const": "manifest"}}, "patternProperties": {}}
        ),
        "$defs/Manifest: the keyword 'patternProperties' is not known",
    ),
}


@pytest.mark.parametrize("case", SCHEMAS)
def test_a_schema_beyond_the_limits_is_refused(case: str, tmp_path: Path, signer: Signer, key: PublicKey) -> None:
    change, problem = SCHEMAS[case]
    document = json.loads(json.dumps(SCHEMA))
    change(document)
    [(step, detail)] = faults(verify(sealed(tmp_path, signer, schema=document), key))
    assert (step, detail.startswith("data/export.schema.json: ")) == (4, True)
    assert problem in detail


@pytest.mark.parametrize(
    "change",
    [groups(4), field({"enum": list(range(200))}), pattern("^a{999}b$")],
    ids=["groups", "choices", "pattern"],
)
def test_a_schema_may_reach_the_limits(change: Change) -> None:
    document = json.loads(json.dumps(SCHEMA))
    change(document)
    types = read_shapes(canonical(document), bag.SCHEMA).keys()
    assert types == read_shapes(DOCUMENTS["export.schema.json"], bag.SCHEMA).keys()


def sealed(tmp_path: Path, signer: Signer, schema: object = SCHEMA, references: object = REFERENCES) -> Files:
    """Seal a bag with other documents."""
    documents = {bag.SCHEMA: canonical(schema), bag.REFERENCES: canonical(references)}  # type: ignore[arg-type]
    short = {name.removeprefix(bag.PAYLOAD): content for name, content in documents.items()}
    some = [{**record, "note": "!" * 200} if record["record_type"] == "thing" else record for record in records()]
    return make_bag(tmp_path, to_lines(some), signer, documents={**DOCUMENTS, **short})


RULES: dict[str, tuple[Change, str]] = {
    "many record types": (
        lambda rules: rules.update(order=[f"t{number}" for number in range(101)]),
        "expected at most 100 record types, got 101",
    ),
    "many references": (
        lambda rules: rules["types"]["link"].update(references=rules["types"]["link"]["references"] * 9),
        "expected at most 8 columns of a key and 16 references, got more",
    ),
    "a long key": (
        lambda rules: rules["types"]["link"].update(key=["run_id", "step_id"] * 5),
        "expected at most 8 columns of a key and 16 references, got more",
    ),
}


@pytest.mark.parametrize("case", RULES)
def test_rules_beyond_the_limits_are_refused(case: str, tmp_path: Path, signer: Signer, key: PublicKey) -> None:
    change, problem = RULES[case]
    document = json.loads(json.dumps(REFERENCES))
    change(document)
    [(step, detail)] = faults(verify(sealed(tmp_path, signer, references=document), key))
    assert (step, problem in detail) == (4, True)


def test_rules_may_reach_the_limit_of_types(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_record_types, "MAX_TYPES", len(REFERENCES["order"]))
    assert list(read_rules(DOCUMENTS["references.json"], bag.REFERENCES).types) == REFERENCES["order"]


TEXTS: dict[str, tuple[bytes, str]] = {
    "a name twice": (
        b'{"oneOf":[],' + DOCUMENTS["export.schema.json"][1:],
        "is not canonical JSON: expected",
    ),
    "spaces": (DOCUMENTS["export.schema.json"] + b"\n", "is not canonical JSON: expected"),
    "a document without end": (b"[" * 100_000, "expected JSON"),
    "400,000 alternatives": (
        b'{"oneOf":[' + b",".join([b'{"$ref":"#/$defs/A"}'] * 400_000) + b"]}",
        f"expected at most {MAX_DOCUMENT:,} bytes, got 8,",
    ),
}


@pytest.mark.parametrize("case", TEXTS)
def test_a_document_in_another_form_is_refused(case: str, signed: Files, signer: Signer, key: PublicKey) -> None:
    text, problem = TEXTS[case]
    [(step, detail)] = faults(verify(reseal({**signed, bag.SCHEMA: text}, signer), key))
    assert (step, detail.startswith("data/export.schema.json: ")) == (4, True)
    assert problem in detail


@pytest.mark.parametrize("name", [bag.SCHEMA, bag.REFERENCES])
def test_documents_are_canonical_since_version_2(name: str, tmp_path: Path) -> None:
    files = make_older_bag(tmp_path, to_lines(records(), salts=True))
    spaced = reseal({**files, name: files[name] + b"\n"}, version=2)
    [(step, detail)] = faults(verify(spaced))
    assert (step, detail.startswith(f"{name}: is not canonical JSON: expected")) == (4, True)
    assert faults(verify(reseal({**files, name: files[name] + b"\n"}, version=1))) == []


def test_repeated_names_are_refused_in_bags_of_the_first_release_too(
    signer: Signer, key: PublicKey, tmp_path: Path
) -> None:
    text = b'{"oneOf":[],' + DOCUMENTS["export.schema.json"][1:]
    files = make_older_bag(tmp_path, to_lines(records(), salts=True))
    first = reseal({**files, bag.SCHEMA: text}, signer, version=1)
    problem = "expected JSON without names that occur twice: 'oneOf' occurs twice"
    assert faults(verify(first, key)) == [(4, f"data/export.schema.json: {problem}")]


ENDLESS = json.loads(json.dumps(SCHEMA))
pattern("^" + "[!-~]*" * 12 + "#$")(ENDLESS)


def test_nothing_of_a_bag_by_another_key_is_used(tmp_path: Path, key: PublicKey) -> None:
    generate_keys(tmp_path / "enemy")
    enemy = load_signer(str(tmp_path / "enemy" / PRIVATE_KEY))
    result = verify(sealed(tmp_path, enemy, schema=ENDLESS), key)
    expected = f"expected a signature by the key {key.fingerprint}, got one by '{enemy.public_key.fingerprint}'"
    assert faults(result) == [(2, f"statement.dsse.json: {expected}")]
    assert [step.status for step in result.steps[3:]] == [Status.NOT_REACHED] * len(result.steps[3:])


def test_only_files_that_the_statement_names_are_used(signed: Files, key: PublicKey) -> None:
    result = verify({**signed, bag.SCHEMA: canonical(ENDLESS)}, key)
    assert [step for step, _ in faults(result)] == [1, 3]
    assert [step.status for step in result.steps[3:]] == [Status.NOT_REACHED] * len(result.steps[3:])


def test_a_pattern_has_one_way_to_match(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every choice and repetition is final, so nothing is retried."""
    compiled: list[str] = []

    def kept(text: str, flags: int = 0) -> re.Pattern[str]:
        compiled.append(text)
        return re.compile(text, flags)

    monkeypatch.setattr(_line_patterns, "_compile", kept)
    schema = (Path(__file__).parents[2] / "generated/elspeth_schema/export.schema.json").read_bytes()
    for documents in (
        Documents(schema=schema, references=references_document(), salts=None, version=1),
        Documents(
            schema=DOCUMENTS["export.schema.json"], references=DOCUMENTS["references.json"], salts=None, version=2
        ),
    ):
        patterns = [pattern for reader in documents.checker()._readers.values() for pattern in reader._fast]
        assert all(pattern._line.groups == pattern._lines.groups for pattern in patterns)
    assert len(compiled) > 50
    assert [each for text in compiled for each in open_choices(sre_parser.parse(text))] == []
    assert sum(map(len, compiled)) < MAX_PATTERNS / 4


def open_choices(parsed: Any, *, is_final: bool = False) -> Iterator[str]:  # noqa: ANN401 - the library's own types
    """Yield choices and repetitions that a match could retry.

    `is_final` tells that the one around them is final.
    """
    for kind, value in parsed:
        repeats = kind in {sre.MAX_REPEAT, sre.MIN_REPEAT}
        if (kind is sre.BRANCH and not is_final) or (repeats and value[0] != value[1]):
            yield str(kind)
        for part in parts_of(kind, value):
            final = kind in {sre.POSSESSIVE_REPEAT, sre.ATOMIC_GROUP} or (kind is sre.SUBPATTERN and is_final)
            yield from open_choices(part, is_final=final)


def parts_of(kind: Any, value: Any) -> list[Any]:  # noqa: ANN401
    """Return the parts of a part of a pattern."""
    if kind is sre.BRANCH:
        return list(value[1])
    if kind in {sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT}:
        return [value[2]]
    if kind is sre.SUBPATTERN:
        return [value[3]]
    if kind is sre.ATOMIC_GROUP:
        return [value]
    # The start of a line (AT) is not a choice that could be retried.
    assert kind in {sre.LITERAL, sre.NOT_LITERAL, sre.IN, sre.ANY, sre.ASSERT_NOT, sre.FAILURE, sre.AT}
    return []


def test_a_file_that_is_not_a_proof_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "trail.jsonl"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a sparse file: it takes no room
    with pytest.raises(EvidenceError) as caught:
        verify_proof(path)
    assert str(caught.value) == f"{path}: expected a bag, or a proof of at most 8,388,608 bytes, got a larger file"

"""Statements and manifests: malformed ones are refused."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth.evidence.format.bag import NO_RUN, Contact, Statement, manifest_text, parse_manifest, payload_name
from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.format.found import DatabaseFacts
from tests.evidence.bags import run_facts
from tests.evidence.documents import Change, change_copy, refusal

KINDS = " or ".join(
    f"'urn:elspeth:{kind}'"
    for kind in (*(f"audit-trail-export:v{version}" for version in (1, 2, 3)), "database-as-found:v1")
)
STATEMENT = Statement(
    subjects={"data/records.jsonl": "0" * 64}, facts=run_facts(), counts={"run": 1}, root="1" * 64, salted=True
)
OLDER = run_facts(recorded_epoch=None)

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
    "root that is not a hash": (
        lambda statement: statement["predicate"]["merkle_tree"].update(root="0"),
        "document: predicate: merkle_tree: root: expected a SHA-256 in hexadecimal, got '0'",
    ),
    "file twice": (
        lambda statement: statement["subject"].append(statement["subject"][0]),
        "document: subject: expected each file once, got 'data/records.jsonl' again",
    ),
    "file that is not an object": (
        lambda statement: statement.update(subject=[1]),
        "document: subject: expected an array of objects, got [1]",
    ),
    "further predicate": (
        lambda statement: statement["predicate"].update(more=1),
        "document: predicate: expected no further member, got 'more'",
    ),
    "further member": (
        lambda statement: statement.update(more=1),
        "document: expected no further member, got 'more'",
    ),
    "further member of a file": (
        lambda statement: statement["subject"][0].update(more=1),
        "document: subject[0]: expected no further member, got 'more'",
    ),
    "further digest": (
        lambda statement: statement["subject"][0]["digest"].update(sha512="0"),
        "document: subject[0]: digest: expected no further member, got 'sha512'",
    ),
    "further member of the tree": (
        lambda statement: statement["predicate"]["merkle_tree"].update(more=1),
        "document: predicate: merkle_tree: expected no further member, got 'more'",
    ),
    "another tree": (
        lambda statement: statement["predicate"]["merkle_tree"].update(algorithm="sha256"),
        "document: predicate: merkle_tree: algorithm: expected 'rfc9162-sha256', got 'sha256'",
    ),
    "further member of a contact": (
        lambda statement: statement["predicate"].update(contact={"name": "Ada", "email": None, "phone": "1"}),
        "document: predicate: contact: expected no further member, got 'phone'",
    ),
    "contact in a version without": (
        lambda statement: (
            statement.update(predicateType="urn:elspeth:audit-trail-export:v2"),
            statement["predicate"]["merkle_tree"].pop("salted"),
            statement["predicate"].update(contact={"name": "Ada", "email": None}),
        ),
        "document: predicate: expected no further member, got 'contact'",
    ),
    "salts that are not a boolean": (
        lambda statement: statement["predicate"]["merkle_tree"].update(salted=1),
        "document: predicate: merkle_tree: salted: expected true or false, got 1",
    ),
    "completeness that is not a boolean": (
        lambda statement: statement["predicate"].update(complete=1),
        "document: predicate: complete: expected true or false, got 1",
    ),
}


@pytest.mark.parametrize("case", STATEMENTS)
def test_malformed_statements_are_refused(case: str) -> None:
    change, message = STATEMENTS[case]
    document = change_copy(json.loads(STATEMENT.to_bytes()), change)
    assert refusal(Statement.from_bytes, document) == message


@pytest.mark.parametrize(
    "kind",
    [
        *(f"urn:elspeth:audit-trail-export:v{version}" for version in (0, 4, 10, 31)),
        "urn:elspeth:database-as-found:v2",
        "urn:elspeth:database-as-found:v10",
    ],
)
def test_a_version_that_this_release_does_not_know_is_refused(kind: str) -> None:
    document = change_copy(json.loads(STATEMENT.to_bytes()), lambda statement: statement.update(predicateType=kind))
    assert refusal(Statement.from_bytes, document) == (
        f"document: predicateType: expected {KINDS}, got '{kind}': use a newer verifier"
    )


@pytest.mark.parametrize(
    "statement",
    [
        STATEMENT,
        replace(STATEMENT, contact=Contact(name="Ada")),
        replace(STATEMENT, version=2, salted=False),
        replace(STATEMENT, version=1, salted=False, facts=OLDER),
    ],
)
def test_a_statement_is_read_as_it_was_written(statement: Statement) -> None:
    assert Statement.from_bytes(statement.to_bytes(), "statement") == statement


FOUND = replace(
    STATEMENT, facts=DatabaseFacts(name="x", engine="sqlite", read_at="2026-01-01"), counts={"database": 1, "table": 2}
)


def test_a_statement_about_a_database_is_read_as_it_was_written_if_it_is_complete() -> None:
    assert Statement.from_bytes(FOUND.to_bytes(), "statement") == FOUND
    with pytest.raises(EvidenceError) as caught:
        Statement.from_bytes(FOUND.to_bytes().replace(b'"complete":true', b'"complete":false'), "statement")
    assert str(caught.value) == ("statement: complete: expected true, got false: the export says that it is incomplete")
    for name in ("name", "engine", "read_at"):
        document = json.loads(FOUND.to_bytes())
        document["predicate"][name] = None
        assert refusal(Statement.from_bytes, document) == f"document: predicate: {name}: expected text, got None"
    with pytest.raises(EvidenceError) as caught:
        _ = FOUND.run
    assert str(caught.value) == f"statement: {NO_RUN}"
    assert FOUND.record_count == 3


def test_the_order_in_which_files_are_given_does_not_change_the_statement() -> None:
    subjects = {"data/b": "0" * 64, "data/a": "1" * 64, "VERIFY.txt": "2" * 64}
    statement = replace(STATEMENT, subjects=subjects)
    names = [each["name"] for each in json.loads(statement.to_bytes())["subject"]]
    assert names == ["VERIFY.txt", "data/a", "data/b"]
    again = replace(statement, subjects=dict(sorted(subjects.items())))
    assert (again.to_bytes(), again.sha256) == (statement.to_bytes(), statement.sha256)
    assert statement.sha256 == hashlib.sha256(statement.to_bytes()).hexdigest()


@pytest.mark.parametrize("recorded_epoch", [5, None])
@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize("contact", [None, Contact(email="ada@x.org"), Contact(name="Ada", email="ada@x.org")])
def test_all_facts_of_a_run_are_in_its_statement(
    recorded_epoch: int | None, complete: bool, contact: Contact | None
) -> None:
    facts = replace(run_facts(), recorded_epoch=recorded_epoch, complete=complete, withheld=("a.b", "a.a"))
    statement = replace(STATEMENT, facts=facts, contact=contact, salted=complete)
    assert Statement.from_bytes(statement.to_bytes(), "statement") == statement


@pytest.mark.parametrize("text", ["", " Ada", "Ada\n", "A\u202eda"])
@pytest.mark.parametrize("field", ["name", "email"])
def test_a_contact_fits_a_line(field: str, text: str) -> None:
    with pytest.raises(EvidenceError) as caught:
        Contact(**{field: text})
    assert str(caught.value) == f"contact: {field}: expected printable text on one line, got {text!r}"


def test_a_contact_is_a_name_with_an_address() -> None:
    assert str(Contact(name="Ada L.", email="ada@x.org")) == "Ada L. <ada@x.org>"
    assert [str(Contact(name="Ada")), str(Contact(email="ada@x.org")), str(Contact())] == ["Ada", "<ada@x.org>", ""]


@pytest.mark.parametrize("name", ["", ".a", "a/b", "ä", "a" * 101, "a b", "a\n", "a.json\u202e"])
def test_a_document_has_a_name_that_every_system_reads_alike(name: str) -> None:
    assert payload_name("a" * 100) == f"data/{'a' * 100}"
    with pytest.raises(ValueError, match="expected a document name of ASCII letters, digits, dots and dashes"):
        payload_name(name)


MANIFESTS = {
    "another order": (
        b"0" * 64 + b"  b\n" + b"0" * 64 + b"  a\n",
        "m: expected its lines in the order of file names, each with a line feed",
    ),
    "nothing": (b"", "m, line 1: expected a SHA-256 and a file name, got ''"),
    "binary mode": (b"0" * 64 + b" *a\n", f"m, line 1: expected a SHA-256 and a file name, got '{'0' * 64} *a'"),
    "file twice": ((b"0" * 64 + b"  a\n") * 2, "m, line 2: expected each file once, got 'a' again"),
    "binary after a sound line": (
        b"0" * 64 + b"  a\n\xff\n",
        "m, line 2: expected a SHA-256 and a file name, got '\ufffd'",
    ),
    "empty line": (
        b"0" * 64 + b"  a\n\n",
        "m, line 2: expected a SHA-256 and a file name, got ''",
    ),
    "file twice with another hash": (
        b"0" * 64 + b"  a\n" + b"1" * 64 + b"  a\n",
        "m, line 2: expected each file once, got 'a' again",
    ),
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

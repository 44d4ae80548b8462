"""Every change to a database as found is noticed."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from elspeth.evidence.format import bag
from elspeth.evidence.format.canonical import Json, canonical
from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.format.found import (
    DATABASE,
    PREDICATE_TYPE,
    ROW,
    TABLE,
    Column,
    DatabaseFacts,
    Form,
    record_schema,
    row_schema,
)
from elspeth.evidence.format.signatures import PublicKey, Signer, load_public_key
from elspeth.evidence.verifier import found as found_verifier
from elspeth.evidence.verifier import proof as proofs
from elspeth.evidence.verifier.found import FoundChecker, verify_found_export
from elspeth.evidence.verifier.procedure import Status, Step, StepError, Verdict, Verification
from elspeth.evidence.verifier.verify import verify_bag
from elspeth.evidence.writer.bag import write_bag
from tests.evidence.bags import read_bag, reseal, rewrite_manifests, verify

Record = dict[str, Any]
Files = dict[str, bytes]

FACTS = DatabaseFacts(name="x.db", engine="sqlite", read_at="2026-01-31T23:59:59.999999Z")
SECRET = "0" * 64
KEY = b"k" * 32


def table_record(name: str, *columns: tuple[str, Form], kind: str = "table") -> Record:
    found = [Column(name=column, type="", form=form) for column, form in columns]
    return {
        "record_type": TABLE,
        "schema": "main",
        "table": name,
        "kind": kind,
        "definition": None,
        "columns": [{"name": each.name, "type": each.type, "form": each.form.value} for each in found],
        "key": [],
        "order": "rowid" if kind == "table" else None,
        "row_schema": row_schema(found),
    }


def row_record(table: str, number: int, **values: Json) -> Record:
    return {"record_type": ROW, "schema": "main", "table": table, "number": number, "values": values}


def records() -> list[Record]:
    return [
        {"record_type": DATABASE, **FACTS.to_json(), "version": "3", "encoding": "UTF-8"},
        table_record("a", ("id", Form.ANY), ("x", Form.ANY_REAL)),
        row_record("a", 1, id=1, x=0.5),
        row_record("a", 2, id=2, x={"blob": "AAEC"}),
        row_record("a", 3, id=None, x="text"),
        table_record("b"),
        table_record("c", ("n", Form.TEXT)),
        row_record("c", 1, n="end"),
        table_record("v", kind="view"),
    ]


def to_lines(some: list[Record]) -> list[bytes]:
    return [canonical(record) for record in some]


def make_found_bag(directory: Path, lines: list[bytes], signer: Signer | None = None) -> Files:
    """Write a bag, and return its files."""
    target = directory / f"bag-{sum(1 for _ in directory.iterdir())}"
    write_bag(
        target,
        [[line] for line in lines],
        facts=FACTS,
        documents={"export.schema.json": record_schema()},
        signer=signer,
        secret=SECRET,
    )
    return read_bag(target)


@pytest.fixture(scope="module")
def found(signer: Signer, tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Return the files of a signed bag. Never change them."""
    return make_found_bag(tmp_path_factory.mktemp("found"), to_lines(records()), signer)


def test_a_sound_bag_is_verified_and_says_what_it_is(found: Files, key: PublicKey) -> None:
    result = verify(found, key)
    assert result.verdict is Verdict.VERIFIED
    assert (result.run_id, result.record_count) == (None, 9)
    assert result.scope == (
        "states every record of the sqlite database 'x.db' as found at 2026-01-31T23:59:59.999999Z;"
        " says nothing about what the database should have held"
    )
    details = {each.step: (each.status, each.detail) for each in result.steps}
    assert details[Step.COUNTS] == (Status.PASSED, "9 records of 4 tables and views, 4 rows")
    for step in (Step.REFERENCES, Step.LIFECYCLES, Step.ACCOUNTING):
        assert details[step] == (Status.NOT_PART, "a database as found: nothing says what it should have held")


def change_first_row(some: list[Record], **changes: Json) -> None:
    some[2].update(changes)


BROKEN: dict[str, tuple[Callable[[list[Record]], object], str]] = {
    "no database": (
        lambda some: some.pop(0),
        "line 1: record_type: expected one record of type database, the first, got one of type table",
    ),
    "two databases": (lambda some: some.append(some[0]), "line 10: record_type: expected one record of type database"),
    "an unknown type": (
        lambda some: change_first_row(some, record_type="cell"),
        "record_type: expected database, table, row",
    ),
    "a table twice": (lambda some: some.insert(2, some[1]), "line 3: table: expected a table after ('main', 'a'), got"),
    "tables out of order": (lambda some: some.insert(1, some.pop(5)), "table: expected a table after ('main', 'b')"),
    "a table that is missing": (
        lambda some: some.pop(6),
        "table: expected a row of ('main', 'b'), got one of ('main', 'c')",
    ),
    "a first row that is missing": (lambda some: some.pop(2), "line 3: number: expected 1, got 2: rows are missing"),
    "a row in the midst that is missing": (lambda some: some.pop(3), "line 4: number: expected 2, got 3"),
    "a row twice": (lambda some: some.insert(2, some[2]), "line 4: number: expected 2, got 1"),
    "rows out of order": (lambda some: some.insert(2, some.pop(3)), "line 3: number: expected 1, got 2"),
    "a row of another table": (
        lambda some: change_first_row(some, table="b"),
        "table: expected a row of ('main', 'a')",
    ),
    "a row of a view": (
        lambda some: some.append(row_record("v", 1)),
        "table: expected a row of no table before the next",
    ),
    "another column": (lambda some: change_first_row(some, values={"id": 1, "y": 0.5}), "values: expected the columns"),
    "a column less": (
        lambda some: change_first_row(some, values={"id": 1}),
        "values: expected the columns ['id', 'x']",
    ),
    "a column more": (
        lambda some: change_first_row(some, values={"id": 1, "x": 1, "y": 1}),
        "values: expected the columns",
    ),
    "no values": (lambda some: change_first_row(some, values=None), "values: expected the columns"),
    "a value of another form": (
        lambda some: change_first_row(some, values={"id": 1.5, "x": 1}),
        "line 3: values: id: expected a value of the form any",
    ),
    "a value in another spelling": (
        lambda some: change_first_row(some, values={"id": {"integer": "1"}, "x": 1}),
        "line 3: values: id: expected a value of the form any",
    ),
    "another member": (lambda some: change_first_row(some, more=1), "expected no further member, got 'more'"),
    "another schema": (
        lambda some: some[1].update(row_schema=row_schema([])),
        "line 2: row_schema: expected the JSON Schema that the columns make, got another",
    ),
    "an unknown form": (lambda some: some[6]["columns"][0].update(form="odd"), "columns: expected a form of integer"),
    "a column twice": (
        lambda some: some[6]["columns"].append(some[6]["columns"][0]),
        "columns: expected each column once",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_signed_records_that_break_a_rule_are_found(case: str, signer: Signer, key: PublicKey, tmp_path: Path) -> None:
    change, message = BROKEN[case]
    some: list[Record] = json.loads(json.dumps(records()))
    change(some)
    result = verify(make_found_bag(tmp_path, to_lines(some), signer), key)
    assert result.verdict is Verdict.NOT_VERIFIED
    assert result.scope is None
    (fault,) = (each for each in result.faults if each.step is Step.LINES)
    assert message in fault.detail


@pytest.mark.parametrize("case", BROKEN)
def test_records_that_break_a_rule_are_found_in_lines(case: str) -> None:
    change, message = BROKEN[case]
    some: list[Record] = json.loads(json.dumps(records()))
    change(some)
    result = verify_lines(closed(some))
    assert result.verdict is Verdict.NOT_VERIFIED
    assert any(message.partition(": ")[2] in fault.detail for fault in result.faults)


MEMBERS = [(at, name) for at in range(3) for name in records()[at]]


@pytest.mark.parametrize(("at", "name"), MEMBERS)
def test_every_member_of_a_record_is_there_and_of_its_kind(at: int, name: str) -> None:
    right = records()[at]
    missing = {other: value for other, value in right.items() if other != name}
    wrong = [missing, {**right, name: {"odd": []}}, {**right, "more": 1}]
    if name not in {"definition", "order"}:
        wrong.append({**right, name: None})
    for each in wrong:
        checker = FoundChecker()
        checker.check(1, to_lines(records())[:at])
        with pytest.raises(StepError) as caught:
            checker.check(at + 1, [canonical(each)])
        assert caught.value.step is Step.LINES
        assert str(caught.value).startswith(f"data/records.jsonl, line {at + 1}")


def test_a_line_at_fault_has_its_number_in_the_whole_bag() -> None:
    checker = FoundChecker()
    checker.check(1, to_lines(records())[:2])
    with pytest.raises(StepError, match="line 3: number: expected 1, got 2"):
        checker.check(3, to_lines(records())[3:])


def test_lines_that_are_not_canonical_are_found(signer: Signer, key: PublicKey, tmp_path: Path) -> None:
    for before, after in ((b'"x":0.5', b'"x":0.50'), (b'"id":1', b'"id":1.0'), (b'"number":1', b'"number": 1')):
        lines = [line.replace(before, after) for line in to_lines(records())]
        result = verify(make_found_bag(tmp_path, lines, signer), key)
        assert "is not canonical JSON" in result.faults[0].detail


def bag_mutations(files: Files) -> Iterator[Files]:
    lines = files[bag.RECORDS].splitlines(keepends=True)
    for at, line in enumerate(lines):
        before, after = lines[:at], lines[at + 1 :]
        changed = [before + after, [*before, line, line, *after], before]
        if after:
            changed.append([*before, after[0], line, *after[1:]])
        changed += [[*before, line[:end] + b"x" + line[end + 1 :], *after] for end in range(0, len(line) - 1, 23)]
        yield from ({**files, bag.RECORDS: b"".join(each)} for each in changed if each != lines)
    for name, content in files.items():
        for position in range(0, len(content), 97):
            yield {**files, name: content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]}


def test_every_change_to_a_bag_is_found(found: Files, key: PublicKey) -> None:
    for files in bag_mutations(found):
        result = verify(files, key)
        assert result.verdict is Verdict.NOT_VERIFIED
        assert all(":" in fault.detail for fault in result.faults)


def test_every_change_to_the_records_is_found_when_the_manifests_fit(found: Files, key: PublicKey) -> None:
    for files in bag_mutations(found):
        if files[bag.RECORDS] != found[bag.RECORDS]:
            assert verify(rewrite_manifests(files), key).verdict is Verdict.NOT_VERIFIED


def test_another_schema_in_a_signed_bag_is_found(found: Files, signer: Signer, key: PublicKey) -> None:
    files = reseal({**found, bag.SCHEMA: b"{}"}, signer)
    (fault,) = verify(files, key).faults
    assert fault.detail == "data/export.schema.json: expected the schema of a database as found, got another"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"facts": DatabaseFacts(name="y.db", engine="sqlite", read_at=FACTS.read_at)},
            "data/records.jsonl: database:",
        ),
        ({"counts": {"database": 1, "row": 3, "table": 5}}, "data/records.jsonl: row records: expected 3"),
    ],
)
def test_a_statement_with_wrong_facts_is_found(
    found: Files, signer: Signer, key: PublicKey, changes: dict[str, object], message: str
) -> None:
    (fault,) = verify(reseal(found, signer, **changes), key).faults
    assert fault.step is Step.COUNTS
    assert fault.detail.startswith(message)


def test_a_statement_that_is_incomplete_is_refused(found: Files) -> None:
    statement = reseal(found)[bag.STATEMENT].replace(b'"complete":true', b'"complete":false')
    with pytest.raises(EvidenceError, match="complete: expected true, got false"):
        bag.Statement.from_bytes(statement, "statement")


def test_a_row_can_be_proved(found: Files, key: PublicKey, tmp_path: Path) -> None:
    for name, content in found.items():
        (tmp_path / "bag" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "bag" / name).write_bytes(content)
    proof = proofs.prove(tmp_path / "bag", "row", "main/a/2")
    assert json.loads(proof.line)["values"] == {"id": 2, "x": {"blob": "AAEC"}}
    proofs.write_proof(proof, tmp_path / "proof.json")
    result = proofs.verify_proof(tmp_path / "proof.json", key=key)
    assert result.verdict is Verdict.VERIFIED
    assert result.scope == "states one record of the sqlite database 'x.db' as found at 2026-01-31T23:59:59.999999Z"
    assert verify_bag(tmp_path / "bag", key=key).verdict is Verdict.VERIFIED


KEPT = Path(__file__).parents[2] / "data" / "found_v1"
"""A bag of the first version, with a proof and the public key."""


def test_a_kept_bag_and_its_proof_are_verified() -> None:
    kept_key = load_public_key(KEPT / "public.pem")
    result = verify_bag(KEPT / "sqlite.zip", key=kept_key)
    assert (result.verdict, result.faults) == (Verdict.VERIFIED, ())
    assert proofs.verify_proof(KEPT / "proof.json", key=kept_key).verdict is Verdict.VERIFIED


# -- exports that are not bags -----------------------------------------------------------------------------------------


def signed_line(record: Record, signing_key: bytes | None) -> bytes:
    line = canonical(record)
    if signing_key is None:
        return line
    return canonical({**record, "signature": hmac.digest(signing_key, line, "sha256").hex()})


def closed(some: list[Record], signing_key: bytes | None = None, **changes: Json) -> list[bytes]:
    """Return lines with the manifest that fits them."""
    lines = [signed_line(record, signing_key) for record in some]
    counts: dict[str, int] = {}
    for record in some:
        counts[str(record["record_type"])] = counts.get(str(record["record_type"]), 0) + 1
    manifest: Record = {
        "record_type": "manifest",
        "kind": PREDICATE_TYPE,
        **FACTS.to_json(),
        "record_count": len(some),
        "counts": counts,
        "hash_algorithm": "sha256",
        "final_hash": hashlib.sha256(b"".join(line + b"\n" for line in lines)).hexdigest(),
        "signature_algorithm": None if signing_key is None else "hmac-sha256",
        **changes,
    }
    return [*lines, signed_line(manifest, signing_key)]


def verify_lines(lines: list[bytes], signing_key: bytes | None = None) -> Verification:
    places = (f"line {number}" for number in range(1, len(lines) + 1))
    return verify_found_export(zip(places, lines, strict=True), signing_key=signing_key)


def test_sound_lines_are_consistent_or_verified() -> None:
    assert verify_lines(closed(records())).verdict is Verdict.UNSIGNED
    assert verify_lines(closed(records(), KEY)).verdict is Verdict.SIGNATURE_UNCHECKED
    result = verify_lines(closed(records(), KEY), KEY)
    assert result.verdict is Verdict.VERIFIED
    assert result.scope is not None
    assert "says nothing about what the database should have held" in result.scope
    assert verify_lines(closed(records(), b"x" * 32), KEY).verdict is Verdict.NOT_VERIFIED
    assert verify_lines(closed(records()), KEY).verdict is Verdict.NOT_VERIFIED


@pytest.mark.parametrize("at", [0, 1, 4, 8, 9])
@pytest.mark.parametrize("signing_key", [None, KEY])
def test_all_records_are_signed_or_none(at: int, signing_key: bytes | None) -> None:
    signed, bare = closed(records(), KEY), closed(records())
    whole = [*closed(records(), KEY)]
    # The manifest fits what comes before it, as whoever mixes them could make it.
    for lines, other, expected, got in ((signed, bare, "a signature", "none"), (bare, signed, "none", "a signature")):
        mixed = [other[number] if number == at else line for number, line in enumerate(lines[:-1])]
        digest = hashlib.sha256(b"".join(line + b"\n" for line in mixed)).hexdigest()
        last = json.loads(lines[-1]) | {"final_hash": digest}
        key = KEY if lines is signed else None
        last.pop("signature", None)
        if at == len(mixed):
            key = None if key else KEY
        result = verify_lines([*mixed, signed_line(last, key)], signing_key)
        assert result.verdict is Verdict.NOT_VERIFIED
        problem = f"signature: expected {expected} as in the records before, got {got}"
        if at and not (signing_key and lines is bare):
            assert (Step.SIGNATURE, f"line {at + 1}: {problem}") in [(each.step, each.detail) for each in result.faults]
    assert verify_lines(whole, signing_key).verdict in {Verdict.VERIFIED, Verdict.SIGNATURE_UNCHECKED}


def test_progress_is_reported_from_time_to_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(found_verifier, "_PROGRESS_EVERY", 4)
    seen: list[int] = []
    lines = closed(records())
    verify_found_export((("line", line) for line in lines), progress=seen.append)
    assert (seen, len(lines)) == ([4, 8], 10)


@pytest.mark.parametrize(
    "changes",
    [{"name": "y.db"}, {"read_at": "2027-01-31T23:59:59.999999Z"}, {"kind": "odd"}, {"record_count": 8}, {"epoch": 6}],
)
def test_a_manifest_with_wrong_facts_is_found(changes: Record) -> None:
    assert [fault.step for fault in verify_lines(closed(records(), **changes)).faults] == [Step.COUNTS]


@pytest.mark.parametrize("signing_key", [None, KEY])
def test_every_change_to_lines_is_found(signing_key: bytes | None) -> None:
    lines = closed(records(), signing_key)
    for at, line in enumerate(lines):
        before, after = lines[:at], lines[at + 1 :]
        changed = [before + after, [*before, line, line, *after], before]
        if after:
            changed.append([*before, after[0], line, *after[1:]])
        changed += [[*before, line[:end] + b"x" + line[end + 1 :], *after] for end in range(0, len(line), 7)]
        for each in changed:
            if each != lines:
                assert verify_lines(each, signing_key).verdict is Verdict.NOT_VERIFIED


@pytest.mark.parametrize("depth", [20, 500, 990, 1100, 100_000])
def test_json_that_is_nested_deeply_is_a_fault(depth: int) -> None:
    line = b'{"record_type":"database","x":' + b"[" * depth + b"]" * depth + b"}"
    assert verify_lines([line]).verdict is Verdict.NOT_VERIFIED


def test_an_empty_export_is_incomplete() -> None:
    assert verify_lines([]).verdict is Verdict.NOT_VERIFIED
    (fault,) = verify_lines(closed([])).faults
    assert fault.detail == "line 1: expected the database record first, got a manifest"

"""Proofs disclose one record, and none of it can change."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth.evidence.format import bag
from elspeth.evidence.format.canonical import canonical
from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.format.signatures import PublicKey
from elspeth.evidence.verifier import proof as proofs
from elspeth.evidence.verifier import reader
from elspeth.evidence.verifier.procedure import Status, Verdict
from elspeth.evidence.verifier.proof import Proof, proof_policy, prove, verify_proof, write_proof
from elspeth.outputs.policy import OutputRefusedError, Protected
from tests.evidence.bags import SECRET, faults, make_bag, read_bag, records, salts_of, statement_identity, to_lines

UUID = "0199c2e4a1b27c3d8e9f0a1b2c3d4e5f"
IDENTITIES = [
    ("run", "run-1"),
    ("thing", UUID),
    ("thing", 'r\u00e9 "1"'),
    *(("step", name) for name in "abcde"),
    ("link", "a/x"),
    ("link", "a/y"),
    ("link", "b/a"),
]


@pytest.fixture
def directory(signed: dict[str, bytes], tmp_path: Path) -> Path:
    for name, content in signed.items():
        path = tmp_path / "bag" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "bag"


def saved(proof: Proof, tmp_path: Path) -> Path:
    (tmp_path / "proof.json").write_bytes(proof.to_bytes())
    return tmp_path / "proof.json"


@pytest.mark.parametrize("number", range(len(IDENTITIES)))
def test_every_record_can_be_proved(directory: Path, tmp_path: Path, key: PublicKey, number: int) -> None:
    proof = prove(directory, *IDENTITIES[number])
    assert (proof.index, proof.line) == (number, to_lines(records())[number])
    result = verify_proof(saved(proof, tmp_path), key=key)
    assert (result.verdict, result.run_id, result.record_count) == (Verdict.VERIFIED, "run-1", 1)
    kind = IDENTITIES[number][0]
    not_part = (Status.NOT_PART, "needs the whole bag")
    assert [(step.status, step.detail) for step in result.steps] == [
        (Status.PASSED, f"a proof, {len(proof.to_bytes()):,} bytes"),
        (Status.PASSED, f"signed by the key {key.fingerprint}; {statement_identity(read_bag(directory))}"),
        not_part,
        (Status.PASSED, f"a record of type {kind} of run 'run-1'"),
        not_part,
        (Status.PASSED, f"line {number + 1} of 13"),
        not_part,
        not_part,
        not_part,
        not_part,
    ]


def test_a_record_of_a_later_block_is_proved(
    directory: Path, tmp_path: Path, key: PublicKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "_BLOCK", 100)  # neither whole lines nor whole hashes
    seen: list[int] = []
    proof = prove(directory, "link", "b/a", progress=seen.append)
    assert (proof.index, seen) == (10, sorted(set(seen)))
    assert 5 < len(seen) <= max(seen) <= 10
    assert verify_proof(saved(proof, tmp_path), key=key).verdict is Verdict.VERIFIED


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (canonical, "expected one proof on one line, with an envelope or a statement"),
        (lambda members: canonical(members | {"envelope": None}) + b"\n", "expected one proof on one line, with an"),
        (lambda members: canonical(members | {"statement": {}}) + b"\n", "expected one proof on one line, with an"),
        (
            lambda members: canonical(members | {"hashes": ["0" * 64] * 65}) + b"\n",
            "expected one proof on one line, with an",
        ),
        (
            lambda members: (
                canonical(members | {"envelope": members["envelope"] | {"payloadType": "text/plain"}}) + b"\n"
            ),
            "envelope: expected a payload of type application/vnd.in-toto+json, got 'text/plain'",
        ),
    ],
    ids=["no line feed", "neither", "both", "hashes", "another payload"],
)
def test_text_that_is_not_a_single_proof_is_refused(
    directory: Path, change: Callable[[dict[str, Any]], bytes], problem: str
) -> None:
    data = prove(directory, "step", "b").to_bytes()
    with pytest.raises(EvidenceError, match=re.escape(f"proof: {problem}")):
        Proof.from_bytes(change(json.loads(data)), "proof")


def test_a_proof_is_written_up_to_the_size_limit(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proof, path = prove(directory, "step", "b"), tmp_path / "written.json"
    size = len(proof.to_bytes())
    monkeypatch.setattr(proofs, "MAX_PROOF", size - 1)
    with pytest.raises(EvidenceError, match=f"expected a proof of at most {size - 1:,} bytes, got {size:,}$"):
        write_proof(proof, path)
    monkeypatch.setattr(proofs, "MAX_PROOF", size)
    assert write_proof(proof, path) == write_proof(proof, path) == path.stat().st_size == size
    path.write_text("precious")
    with pytest.raises(OutputRefusedError):
        write_proof(proof, path)
    assert path.read_text() == "precious"


def test_a_proof_discloses_nothing_of_other_records(directory: Path) -> None:
    data = prove(directory, "thing", UUID).to_bytes()
    others = [line for line in to_lines(records()) if UUID.encode() not in line]
    own = next(number for number, line in enumerate(to_lines(records())) if UUID.encode() in line)
    salts = salts_of(len(records()))
    assert SECRET.encode() not in data
    assert not any(line in data for line in others)
    assert [salt.hex().encode() in data for salt in salts] == [number == own for number in range(len(salts))]
    assert len(data) < 4096


def test_a_missing_record_cannot_be_proved(directory: Path) -> None:
    with pytest.raises(EvidenceError) as caught:
        prove(directory, "link", "a/z")
    assert str(caught.value) == f"{directory}: expected a record of type link with step_id/other_id 'a/z', got none"


def test_an_unknown_record_type_is_refused(directory: Path) -> None:
    with pytest.raises(EvidenceError) as caught:
        prove(directory, "item", "1")
    problem = "expected a record type of the bag (link, node, operation, run, step, thing), got 'item'"
    assert str(caught.value) == f"{directory}: {problem}"


def test_a_bag_that_was_altered_proves_nothing(directory: Path) -> None:
    records_file = directory / bag.RECORDS
    records_file.write_bytes(records_file.read_bytes().replace(b'"seconds":7', b'"seconds":8'))
    with pytest.raises(EvidenceError, match=r"the bag is not sound, verify it: .*the record is not in the tree"):
        prove(directory, "step", "b")


def test_an_unsigned_proof_is_reported_as_unsigned(tmp_path: Path, key: PublicKey) -> None:
    make_bag(tmp_path, to_lines(records()))
    path = saved(prove(tmp_path / "bag-0", "step", "b"), tmp_path)
    assert verify_proof(path).verdict is Verdict.UNSIGNED
    assert verify_proof(path, key=key).verdict is Verdict.NOT_VERIFIED


def test_without_a_key_the_signature_is_not_checked(directory: Path, tmp_path: Path) -> None:
    path = saved(prove(directory, "step", "b"), tmp_path)
    assert verify_proof(path).verdict is Verdict.SIGNATURE_UNCHECKED


def test_no_byte_of_a_proof_can_change(directory: Path, tmp_path: Path, key: PublicKey) -> None:
    path = saved(prove(directory, "step", "b"), tmp_path)
    data = path.read_bytes()
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1 << at % 8
        path.write_bytes(bytes(changed))
        try:
            verdict = verify_proof(path, key=key).verdict
        except EvidenceError:
            continue
        assert verdict is Verdict.NOT_VERIFIED
    print(f"proof: {len(data):,} mutations, all found")  # noqa: T201 - the count is asked for


def test_a_record_under_another_statement_is_refused(directory: Path, tmp_path: Path, key: PublicKey) -> None:
    members = json.loads(prove(directory, "step", "b").to_bytes())
    members["record"] = to_lines(records("run-2"))[4].decode()
    (tmp_path / "proof.json").write_bytes(canonical(members) + b"\n")
    found = faults(verify_proof(tmp_path / "proof.json", key=key))
    assert found[0] == (4, "record: run_id: expected 'run-1' as in the statement, got 'run-2'")
    assert found[1][1].startswith("hashes: the record is not in the tree of the statement: expected the root ")


@pytest.mark.parametrize("kind", ["checkpoint", 7, None])
def test_a_record_of_a_type_that_the_bag_does_not_have_is_refused(
    directory: Path, tmp_path: Path, key: PublicKey, kind: object
) -> None:
    proof = json.loads(prove(directory, "step", "b").to_bytes())
    record = json.loads(proof["record"]) | {"record_type": kind}
    (tmp_path / "proof.json").write_bytes(canonical(proof | {"record": canonical(record).decode()}) + b"\n")
    found = faults(verify_proof(tmp_path / "proof.json", key=key))
    assert found[0] == (4, f"record: record_type: expected a type that the statement counts, got {kind!r}")


@pytest.mark.parametrize(("secret", "expected"), [(SECRET, "a salt"), (None, "no salt")])
def test_a_salt_is_beside_the_record_if_the_statement_says_so(
    tmp_path: Path, secret: str | None, expected: str
) -> None:
    """Otherwise a line's beginning could be taken for a salt."""
    make_bag(tmp_path, to_lines(records()), secret=secret)
    proof = prove(tmp_path / "bag-0", "step", "b")
    changed = replace(proof, salt=None if proof.salt else bytes(32))
    problem = f"hashes: expected {expected} beside the record, as the statement says"
    assert faults(verify_proof(saved(changed, tmp_path))) == [(6, problem)]
    if proof.salt is None:
        split = replace(proof, salt=proof.line[:32], line=proof.line[32:])
        assert (6, problem) in faults(verify_proof(saved(split, tmp_path)))


@pytest.mark.parametrize(
    "content", [b'{"format":"other"}\n', b'{"format":null}\n', b'{"format":true}', b"{}", b"[]", b"\xff"]
)
def test_only_a_proof_is_replaced(directory: Path, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "written.json"
    path.write_bytes(content)
    with pytest.raises(OutputRefusedError):
        write_proof(prove(directory, "step", "b"), path)
    assert path.read_bytes() == content
    for version in (1, 2, 3):
        path.write_bytes(b'{"format":"urn:elspeth:record-proof:v%d"}\n' % version)
        assert write_proof(prove(directory, "step", "b"), path) == path.stat().st_size


def test_a_proof_does_not_replace_what_is_protected(directory: Path, tmp_path: Path) -> None:
    path = tmp_path / "precious.json"
    path.write_text("precious")
    proof = prove(directory, "step", "b")
    write_proof(proof, tmp_path / "other.json", proof_policy([Protected(path=path, what="the key")], force=True))
    with pytest.raises(OutputRefusedError):
        write_proof(proof, path, proof_policy([Protected(path=path, what="the key")], force=True))
    assert path.read_text() == "precious"
    assert write_proof(proof, path, proof_policy(force=True)) == path.stat().st_size


@given(st.binary() | st.text().map(str.encode))
def test_arbitrary_bytes_are_not_a_proof(data: bytes) -> None:
    with pytest.raises(EvidenceError):
        Proof.from_bytes(data, "proof")


def test_a_missing_proof_is_named(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError) as caught:
        verify_proof(tmp_path / "gone")
    assert str(caught.value) == f"{tmp_path / 'gone'}: cannot be read: No such file or directory"


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"id,name\n1,x\n", "expected a bag (a directory or .zip file), a proof or an export, got b'id,name"),
        (b"", "expected a bag (a directory or .zip file), a proof or an export, got b''"),
        (b"c2sp.org/tlog-proof@v1\n", "is a proof by a log of runs: verify it with --policy"),
    ],
)
def test_a_file_that_is_not_a_proof_is_reported_as_such(data: bytes, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(EvidenceError) as found:
        verify_proof(path)
    assert str(found.value).startswith(f"{path}: {problem}")

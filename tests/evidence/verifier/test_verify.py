"""The numbered procedure: the findings and messages of each step."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from elspeth.evidence.format import bag
from elspeth.evidence.format.bag import RunFacts
from elspeth.evidence.format.envelopes import Envelope
from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.format.signatures import PublicKey, Signer
from elspeth.evidence.verifier import verify as verify_module
from elspeth.evidence.verifier._log import NO_LOG
from elspeth.evidence.verifier.procedure import Status, Step, Verdict
from elspeth.evidence.verifier.verify import verify_bag
from tests.evidence.bags import (
    DOCUMENTS,
    REFERENCES,
    SECRET,
    Record,
    add_salt,
    faults,
    make_bag,
    make_older_bag,
    records,
    reseal,
    rewrite_manifests,
    run_facts,
    salts_of,
    statement_identity,
    to_lines,
    verify,
)
from tests.evidence.format.test_envelopes import other_form

Files = dict[str, bytes]


def changed(number: int, **values: object) -> list[Record]:
    """Return the records, with one of them changed."""
    return [{**record, **values} if at == number else record for at, record in enumerate(records())]


def test_a_signed_bag_is_verified(signed: Files, key: PublicKey) -> None:
    result = verify(signed, key)
    assert (result.verdict, result.run_id, result.record_count) == (Verdict.VERIFIED, "run-1", 13)
    assert statement_identity(signed) == f"the statement has the SHA-256 {result.statement}"
    schema = hashlib.sha256(signed[bag.SCHEMA]).hexdigest()
    size = sum(map(len, signed.values()))
    assert [(step.step.value, step.status, step.detail) for step in result.steps] == [
        (1, Status.PASSED, f"12 files, {size:,} bytes"),
        (2, Status.PASSED, f"signed by the key {key.fingerprint}; {statement_identity(signed)}"),
        (3, Status.PASSED, f"8 files; epoch 5, whose schema has the SHA-256 {schema}"),
        (4, Status.PASSED, "13 records, salts derived"),
        (5, Status.PASSED, "13 records of 6 types"),
        (6, Status.PASSED, result.steps[5].detail),
        (7, Status.PASSED, "all lead to records in the bag"),
        (8, Status.PASSED, "all complete"),
        (9, Status.PASSED, "all 13 laws hold"),
        (10, Status.NOT_PART, NO_LOG),
    ]


def test_a_bag_of_either_algorithm_is_verified(any_signer: Signer, tmp_path: Path) -> None:
    files = make_bag(tmp_path, to_lines(records()), any_signer)
    assert verify(files, any_signer.public_key).verdict is Verdict.VERIFIED


def test_a_bag_without_salts_is_verified(signer: Signer, key: PublicKey, tmp_path: Path) -> None:
    files = make_bag(tmp_path, to_lines(records()), signer, secret=None)
    result = verify(files, key)
    assert (result.verdict, result.steps[3].detail) == (Verdict.VERIFIED, "13 records, no salts")


def test_step_1_refuses_a_file_that_the_manifests_do_not_list(signed: Files, key: PublicKey) -> None:
    result = verify({**signed, "data/more.txt": b""}, key)
    assert faults(result) == [
        (1, "data/more.txt: expected no such file, as manifest-sha256.txt does not list it, got one"),
        (3, "data/more.txt: expected no such file, as statement.dsse.json does not list it, got one"),
    ]


@pytest.mark.parametrize("missing", ["data/data-dictionary.md", bag.RECORDS, bag.LEAVES])
def test_step_1_refuses_a_missing_file(missing: str, signed: Files, key: PublicKey) -> None:
    result = verify({name: content for name, content in signed.items() if name != missing}, key)
    assert faults(result) == [
        (1, f"{missing}: expected this file, which manifest-sha256.txt lists, got none"),
        (3, f"{missing}: expected this file, which statement.dsse.json lists, got none"),
    ]
    assert {step.status for step in result.steps[3:]} == {Status.NOT_REACHED}


def test_steps_1_and_3_refuse_an_altered_file(signed: Files, key: PublicKey) -> None:
    result = verify({**signed, bag.INSTRUCTIONS: b"Believe me."}, key)
    right, wrong = (hashlib.sha256(text).hexdigest() for text in (signed[bag.INSTRUCTIONS], b"Believe me."))
    assert faults(result) == [
        (1, f"VERIFY.txt: expected the SHA-256 {right} as in tagmanifest-sha256.txt, got {wrong}"),
        (3, f"VERIFY.txt: expected the SHA-256 {right} as in statement.dsse.json, got {wrong}"),
    ]


def test_step_1_an_unsigned_statement_beside_the_signed_one(signed: Files, key: PublicKey) -> None:
    found = faults(verify(rewrite_manifests({**signed, bag.STATEMENT: b"{}"}), key))
    assert found == [(1, "statement.json: expected no unsigned statement beside statement.dsse.json, got one")]


def test_step_2_says_that_no_key_was_given(signed: Files, key: PublicKey) -> None:
    result = verify(signed)
    assert (result.verdict, result.steps[1].status) == (Verdict.SIGNATURE_UNCHECKED, Status.OPEN)
    claim = f"NOT CHECKED: no key was given; it claims to be signed by the key '{key.fingerprint}'"
    assert result.steps[1].detail == f"{claim}; {statement_identity(signed)}"


def test_step_2_says_that_a_bag_is_unsigned(tmp_path: Path) -> None:
    files = make_bag(tmp_path, to_lines(records()))
    result = verify(files)
    assert (result.verdict, result.steps[1].status) == (Verdict.UNSIGNED, Status.OPEN)
    expected = "UNSIGNED: anybody could have made this; without an envelope it is incomplete"
    assert result.steps[1].detail == f"{expected}; {statement_identity(files)}"


def test_step_2_refuses_an_unsigned_bag_if_a_key_was_given(key: PublicKey, tmp_path: Path) -> None:
    result = verify(make_bag(tmp_path, to_lines(records())), key)
    expected = f"expected a signature by the key {key.fingerprint}"
    assert faults(result) == [
        (2, f"statement.dsse.json: {expected}, got none: it is unsigned, or the envelope was removed")
    ]
    assert result.verdict is Verdict.NOT_VERIFIED


def test_step_2_refuses_a_signature_by_another_key(signed: Files, key: PublicKey, any_signer: Signer) -> None:
    other = any_signer.public_key
    expected = f"expected a signature by the key {other.fingerprint}, got one by '{key.fingerprint}'"
    assert faults(verify(signed, other)) == [(2, f"statement.dsse.json: {expected}")]


def test_step_2_refuses_the_other_form_of_a_signature(signed: Files, key: PublicKey) -> None:
    envelope = Envelope.from_bytes(signed[bag.ENVELOPE], "envelope")
    rewritten = replace(envelope, signature=other_form(envelope.signature)).to_bytes()
    found = faults(verify(rewrite_manifests({**signed, bag.ENVELOPE: rewritten}), key))
    problem = "expected the form of the signature with a low S: it was rewritten"
    assert found == [(2, f"statement.dsse.json: {problem}")]


def test_step_2_refuses_an_envelope_of_something_else(signed: Files, signer: Signer, key: PublicKey) -> None:
    statement = Envelope.from_bytes(signed[bag.ENVELOPE], "envelope").payload
    other = Envelope.sign(statement, "text/plain", signer).to_bytes()
    problem = "expected a payload of type application/vnd.in-toto+json, got 'text/plain'"
    found = faults(verify(rewrite_manifests({**signed, bag.ENVELOPE: other}), key))
    assert found == [(2, f"statement.dsse.json: {problem}")]


def test_step_3_refuses_an_export_that_says_it_is_incomplete(signer: Signer, key: PublicKey, tmp_path: Path) -> None:
    files = make_bag(tmp_path, to_lines(records()), signer, run=run_facts(complete=False))
    problem = "expected true, got false: the export says that it is incomplete"
    assert faults(verify(files, key)) == [(3, f"statement.dsse.json: complete: {problem}")]


@pytest.mark.parametrize("secret", [SECRET, None])
def test_step_3_refuses_a_statement_that_is_wrong_about_salts(
    signer: Signer, key: PublicKey, tmp_path: Path, secret: str | None
) -> None:
    files = make_bag(tmp_path, to_lines(records()), signer, secret=secret)
    result = verify(reseal(files, signer, salted=secret is None), key)
    problem = (
        "expected true, as data/salts.json is there" if secret else "expected false, as data/salts.json is not there"
    )
    assert faults(result) == [(3, f"statement.dsse.json: salted: {problem}")]


EPOCHS: dict[str, tuple[RunFacts, str]] = {
    "another epoch than the schema's": (
        run_facts(epoch=6),
        "epoch: expected 5, as data/export.schema.json says, got 6",
    ),
    "an older one": (
        run_facts(epoch=1, recorded_epoch=1),
        "epoch: expected 5, as data/export.schema.json says, got 1",
    ),
    "no epoch at all": (run_facts(epoch=-1), "epoch: expected 5, as data/export.schema.json says, got -1"),
    "sealed later than the schema": (
        run_facts(recorded_epoch=9),
        "recorded_epoch: expected an epoch from 5 to 5, got 9",
    ),
    "sealed before there were seals": (
        run_facts(recorded_epoch=4),
        "recorded_epoch: expected an epoch from 5 to 5, got 4",
    ),
    "never sealed, with salts": (
        run_facts(recorded_epoch=None),
        "recorded_epoch: expected an epoch from 5 to 5, as the records have salts, got None",
    ),
}


@pytest.mark.parametrize("case", EPOCHS)
def test_step_3_refuses_impossible_epochs(case: str, signer: Signer, key: PublicKey, tmp_path: Path) -> None:
    facts, problem = EPOCHS[case]
    result = verify(make_bag(tmp_path, to_lines(records()), signer, run=facts), key)
    assert (result.verdict, faults(result)) == (Verdict.NOT_VERIFIED, [(3, f"statement.dsse.json: {problem}")])


@pytest.mark.parametrize("title", ["Records", "Records, epoch 05", "Records, epoch 5 or 6"])
def test_step_3_refuses_a_schema_without_an_epoch(title: str, signer: Signer, key: PublicKey, tmp_path: Path) -> None:
    schema = DOCUMENTS["export.schema.json"].replace(b'"Records, epoch 5"', f'"{title}"'.encode())
    documents = {**DOCUMENTS, "export.schema.json": schema}
    found = faults(verify(make_bag(tmp_path, to_lines(records()), signer, documents=documents), key))
    assert found == [(3, f"data/export.schema.json: title: expected one that ends with the epoch, got '{title}'")]


TYPES = ", ".join(REFERENCES["order"])

UUID = "0199c2e4a1b27c3d8e9f0a1b2c3d4e5f"

STEP_4: dict[str, tuple[list[Record], str]] = {
    "type": (changed(2, row_index="2"), "line 3: row_index: expected integer, got '2'"),
    "bound": (changed(3, seconds=-1), "line 4: seconds: expected at least 0, got -1"),
    "pattern": (
        changed(2, digest="G" * 64),
        f"line 3: digest: expected text that matches '[0-9a-f]{{64}}', got '{'G' * 64}'",
    ),
    "length": (changed(3, step_id="x" * 65), "line 4: step_id: expected at most 64 characters, got 65"),
    "enum": (changed(0, status="lost"), "line 1: status: expected 'running' or 'completed' or 'failed', got 'lost'"),
    "constant": (changed(4, status="lost"), "line 5: status: expected 'done' or 'open', got 'lost'"),
    "null": (changed(1, digest=None), "line 2: digest: expected string, got None"),
    "boolean": (changed(8, good=1), "line 9: good: expected boolean, got 1"),
    "truth for a number": (changed(2, row_index=True), "line 3: row_index: expected integer, got True"),
    "further field": (changed(8, more=1), "line 9: more: expected no field of this name, got one"),
    "exactly one": (changed(8, row=UUID), "line 9: file, row: expected exactly one that is not null, got 2"),
    "unknown type": (
        [*records(), {**records()[0], "record_type": "x"}],
        f"line 14: record_type: expected one of {TYPES}, got 'x'",
    ),
    "run": (
        changed(4, run_id="run-2"),
        "line 5: run_id: expected 'run-1' as in the records before, got 'run-2'",
    ),
    "repeated key": (
        changed(2, row_id=UUID),
        f"line 3: row_id: expected each key once, got '{UUID}' again",
    ),
    "order of integers": (
        [records()[at] for at in (0, 2, 1, *range(3, 13))],
        "line 3: row_index: expected a value after '10', got '2': repeated, or out of order",
    ),
    "order of texts": (
        [records()[at] for at in (0, 1, 2, 4, 3, *range(5, 13))],
        "line 5: step_id: expected a value after 'b', got 'a': repeated, or out of order",
    ),
    "order of types": (
        [records()[at] for at in (0, 1, 3, 2, *range(4, 13))],
        "line 4: expected a record of type step or a later one, got one of type thing: out of order",
    ),
    "run first": (records()[1:], "line 1: expected the run record first, got one of type thing"),
    "two runs": (
        [records()[0], *records()],
        "line 2: run_id: expected a value after 'run-1', got 'run-1': repeated, or out of order",
    ),
}


@pytest.mark.parametrize("case", STEP_4)
def test_step_4_refuses_a_line_that_breaks_a_rule(case: str, tmp_path: Path, signer: Signer, key: PublicKey) -> None:
    some, problem = STEP_4[case]
    result = verify(make_bag(tmp_path, to_lines(some), signer), key)
    assert faults(result) == [(4, f"data/records.jsonl, {problem}")]
    assert [step.status for step in result.steps[4:9]] == [Status.NOT_REACHED] * 5
    assert result.verdict is Verdict.NOT_VERIFIED


def line_3(change: Callable[[bytes], bytes]) -> list[bytes]:
    return [change(line) if at == 2 else line for at, line in enumerate(to_lines(records()))]


STEP_4_BYTES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "spaces": (
        lambda line: line.replace(b":10", b": 10"),
        'is not canonical JSON: expected \'10,"run_id":"run-1"}\' at byte 162, got \' 10,"run_id":"run-1"}\'',
    ),
    "number": (
        lambda line: line.replace(b":10", b":10.0"),
        'is not canonical JSON: expected \',"run_id":"run-1"}\' at byte 164, got \'.0,"run_id":"run-1"}\'',
    ),
    "not UTF-8": (
        lambda line: line.replace("\u20ac".encode(), b"\xff"),
        "expected UTF-8, got other bytes",
    ),
    "number too large": (
        lambda line: line.replace(b":10", b":9007199254740993"),
        "has no canonical JSON: 9007199254740993 exceeds safe integer domain for JSON floats",
    ),
    "no JSON": (
        lambda line: line[1:],
        (
            'expected JSON, got \'"digest":"0123456789abcdef0123\'...: unexpected content after document: line 1 '
            "column 9 (char 8)"
        ),
    ),
    "an array": (
        lambda line: b"[" + line + b"]",
        'expected a JSON object, got \'[{"digest":"0123456789abcdef01\'...',
    ),
}


@pytest.mark.parametrize("case", STEP_4_BYTES)
def test_step_4_refuses_a_line_that_is_not_canonical(case: str, tmp_path: Path, signer: Signer, key: PublicKey) -> None:
    change, problem = STEP_4_BYTES[case]
    found = faults(verify(make_bag(tmp_path, line_3(change), signer), key))
    assert found == [(4, f"data/records.jsonl, line 3: {problem}")]


def test_step_4_refuses_a_salt_that_the_secret_does_not_give(tmp_path: Path, signer: Signer, key: PublicKey) -> None:
    right = add_salt(records()[1])["salt"]
    lines = to_lines(records(), salts=True)
    lines[1] = lines[1].replace(str(right).encode(), b"0" * 64)
    problem = f"salt: expected {right}, derived from the key, got '{'0' * 64}'"
    assert faults(verify(make_older_bag(tmp_path, lines, signer), key)) == [
        (4, f"data/records.jsonl, line 2: {problem}")
    ]


@pytest.mark.parametrize("secret", [SECRET, None])
def test_step_4_refuses_a_salt_where_there_should_be_none(
    tmp_path: Path, signer: Signer, key: PublicKey, secret: str | None
) -> None:
    files = make_bag(tmp_path, to_lines(records(), salts=True), signer, secret=secret)
    found = add_salt(records()[0])["salt"]
    problem = f"salt: expected none, as the records of this bag have no salts, got '{found}'"
    assert faults(verify(files, key)) == [(4, f"data/records.jsonl, line 1: {problem}")]


@pytest.mark.parametrize(
    ("facts", "problem"),
    [
        (run_facts(run_status="running"), "status of the run: expected 'running' as in the statement, got 'completed'"),
        (run_facts("run-2"), "run_id: expected 'run-2' as in the statement, got 'run-1'"),
    ],
)
def test_step_5_refuses_wrong_counts(
    facts: RunFacts, problem: str, signer: Signer, key: PublicKey, tmp_path: Path
) -> None:
    files = make_bag(tmp_path, to_lines(records()), signer, run=facts)
    assert faults(verify(files, key)) == [(5, f"data/records.jsonl: {problem}")]


def test_steps_5_and_6_refuse_missing_lines(signed: Files, key: PublicKey) -> None:
    lines = signed[bag.RECORDS].splitlines(keepends=True)
    found = faults(verify({**signed, bag.RECORDS: b"".join(lines[:-1])}, key))
    assert [step for step, _ in found] == [1, 3, 6]
    problem = "expected 13 lines, as the statement counts, got the end"
    assert found[2] == (6, f"data/records.jsonl, line 13: {problem}")


def test_step_6_names_the_line_that_was_altered(signed: Files, key: PublicKey) -> None:
    altered = signed[bag.RECORDS].replace(b'"seconds":7,', b'"seconds":8,')
    found = faults(verify({**signed, bag.RECORDS: altered}, key))
    assert [step for step, _ in found] == [1, 3, 6]
    salt = salts_of(5)[4]
    right, wrong = (
        hashlib.sha256(b"\x00" + salt + text.splitlines()[4]).hexdigest() for text in (signed[bag.RECORDS], altered)
    )
    expected = f"expected the line that was sealed, with the leaf hash {right} as in data/leaf-hashes.bin"
    assert found[2] == (6, f"data/records.jsonl, line 5: {expected}, got one with {wrong}")


def test_step_6_refuses_leaf_hashes_of_another_tree(signed: Files, signer: Signer, key: PublicKey) -> None:
    found = faults(verify(reseal({**signed, bag.LEAVES: bytes(32 * 13)}, signer), key))
    assert [step for step, _ in found] == [6]
    assert found[0][1].startswith("data/leaf-hashes.bin: expected the root ")


def test_the_other_steps_are_taken_though_the_leaf_hashes_are_those_of_another_tree(
    signed: Files, signer: Signer, key: PublicKey
) -> None:
    """Without their root, leaf hashes say nothing about lines."""
    result = verify(reseal({**signed, bag.LEAVES: bytes(32 * 13)}, signer), key)
    statuses = {step.step: step.status for step in result.steps if step.status is not Status.PASSED}
    assert statuses == {Step.ROOT: Status.FAILED, Step.LOG: Status.NOT_PART}


@pytest.mark.parametrize("size", [0, 31, 32 * 12, 32 * 13 - 1, 32 * 13 + 1, 32 * 14])
def test_step_6_refuses_another_number_of_leaf_hashes(size: int, signed: Files, signer: Signer, key: PublicKey) -> None:
    leaves = (signed[bag.LEAVES] + bytes(32))[:size]
    found = faults(verify(reseal({**signed, bag.LEAVES: leaves}, signer), key))
    problem = f"expected 32 bytes for each of 13 records, got {size:,} bytes"
    assert found == [(6, f"data/leaf-hashes.bin: {problem}")]


@pytest.mark.parametrize("lines", [12, 14])
def test_step_6_refuses_a_statement_of_another_number_of_lines(
    lines: int, signed: Files, signer: Signer, key: PublicKey
) -> None:
    some = to_lines(records())
    some = some[:12] if lines == 12 else [*some, b"{}"]
    content = b"".join(line + b"\n" for line in some)
    found = dict(faults(verify(reseal({**signed, bag.RECORDS: content}, signer), key)))
    if lines == 12:
        assert found == {6: "data/records.jsonl, line 13: expected 13 lines, as the statement counts, got the end"}
    else:
        expected = "data/records.jsonl, line 14: record_type: expected one of "
        assert found[4].startswith(expected)
    repeated = b"".join(line + b"\n" for line in [*to_lines(records()), to_lines(records())[-1]])
    result = verify(reseal({**signed, bag.RECORDS: repeated}, signer), key)
    assert result.verdict is Verdict.NOT_VERIFIED
    assert [step for step, _ in faults(result)] == [4]


@pytest.mark.parametrize("facts", [run_facts(), run_facts(recorded_epoch=None)])
@pytest.mark.parametrize(("salts", "said"), [(True, "all 13 laws hold"), (False, "3 of 13 laws hold; 10 not asked")])
def test_a_bag_of_the_first_release_with_salts_was_recorded_in_its_epoch(
    facts: RunFacts, said: str, tmp_path: Path, *, salts: bool
) -> None:
    if salts:
        files = make_older_bag(tmp_path, to_lines(records(), salts=True))
    else:
        files = make_bag(tmp_path, to_lines(records()), secret=None)
    result = verify(reseal(files, version=1, facts=facts))
    assert faults(result) == []
    assert result.steps[8].detail.startswith(said)


def test_each_option_reaches_the_procedure(signed: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, content in signed.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    given: dict[str, object] = {}
    monkeypatch.setattr(verify_module, "verify_files", lambda _, **options: given.update(options))
    options = {name: object() for name in ("key", "authorities", "certified_by", "policy", "progress", "executor")}
    verify_bag(tmp_path, **options)  # type: ignore[arg-type]
    assert given == options


def test_step_7_refuses_a_dangling_reference(signer: Signer, key: PublicKey, tmp_path: Path) -> None:
    files = make_bag(tmp_path, to_lines(changed(5, row_id="gone")), signer)
    problem = "row_id: expected the key of an earlier thing record, got 'gone'"
    assert faults(verify(files, key)) == [(7, f"data/records.jsonl, line 6: {problem}")]


def test_step_8_refuses_a_record_that_is_not_final(signer: Signer, key: PublicKey, tmp_path: Path) -> None:
    files = make_bag(tmp_path, to_lines(changed(7, status="open")), signer)
    problem = "status: expected done, as the run is completed, got 'open'"
    assert faults(verify(files, key)) == [(8, f"data/records.jsonl, line 8: {problem}")]


def test_step_8_refuses_a_run_that_has_not_ended(signer: Signer, key: PublicKey, tmp_path: Path) -> None:
    some = changed(7, status="open")
    some[0]["status"] = "running"
    result = verify(make_bag(tmp_path, to_lines(some), signer, run=run_facts(run_status="running")), key)
    problem = "expected completed or failed, got 'running': the run has not ended, its trail is incomplete"
    found = f"data/records.jsonl, line 1: status: {problem}; 2 of 13 records are not final"
    assert (result.verdict, faults(result)) == (Verdict.NOT_VERIFIED, [(8, found)])


def test_step_8_counts_what_a_failed_run_left_open(signer: Signer, key: PublicKey, tmp_path: Path) -> None:
    some = changed(7, status="open")
    some[0]["status"] = "failed"
    result = verify(make_bag(tmp_path, to_lines(some), signer, run=run_facts(run_status="failed")), key)
    assert (result.verdict, faults(result)) == (Verdict.VERIFIED, [])
    assert result.steps[7].detail == "1 of 13 records are not final, as a failed run may leave them"


OLDER = (
    "3 of 13 laws hold; 10 not asked of a run that was imported, or recorded before runs were sealed: readings, visits,"
    " routes, origins, groups, batches, ends, outcomes, outputs, times"
)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (run_facts(), "all 13 laws hold"),
        (run_facts(run_status="failed"), "11 of 13 laws hold; 2 not asked of a failed run: ends, outputs"),
        (run_facts(recorded_epoch=None), OLDER),
        (run_facts(run_status="failed", recorded_epoch=None), OLDER),
    ],
)
def test_step_9_says_which_laws_were_not_checked_and_why(
    facts: RunFacts, said: str, signer: Signer, key: PublicKey, tmp_path: Path
) -> None:
    secret = None if facts.recorded_epoch is None else SECRET
    lines = to_lines(changed(0, status=facts.run_status))
    result = verify(make_bag(tmp_path, lines, signer, run=facts, secret=secret), key)
    assert (result.verdict, result.steps[8].detail) == (Verdict.VERIFIED, said)


def test_step_9_names_a_broken_law(signer: Signer, key: PublicKey, tmp_path: Path) -> None:
    files = make_bag(tmp_path, to_lines(changed(0, config_hash="0" * 64)), signer)
    problem = "hashes: expected in config_hash the SHA-256 of settings_json, got another"
    assert faults(verify(files, key)) == [(9, f"data/records.jsonl, line 1: {problem}")]
    *some, operation = records()
    second = {**some[-1], "node_id": "transform", "node_type": "transform", "config_hash": "0" * 64}
    files = make_bag(tmp_path, to_lines([*some, second, operation]), signer)
    problem = "hashes: expected in config_hash the SHA-256 of config_json, got another"
    assert faults(verify(files, key)) == [(9, f"data/records.jsonl, line 13: {problem}")]


def test_a_path_that_is_not_a_bag_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"no bag")
    expected = "expected a bag, a directory or zip archive, got another file"
    with pytest.raises(EvidenceError, match=expected):
        verify_bag(tmp_path / "file")


def test_an_empty_directory_fails_the_first_step(tmp_path: Path) -> None:
    result = verify_bag(tmp_path)
    assert result.steps[0].status is Status.FAILED
    assert result.steps[0].detail == "bagit.txt: expected this file, got none"
    assert result.verdict is Verdict.NOT_VERIFIED


def test_progress_is_reported_as_values(signed: Files, key: PublicKey, tmp_path: Path) -> None:
    seen: list[int] = []
    for name, content in signed.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert verify_bag(tmp_path, key=key, progress=seen.append).verdict is Verdict.VERIFIED
    assert seen == [13]


def test_every_step_has_a_number_in_the_documentation() -> None:
    text = (Path(__file__).parents[3] / "docs" / "evidence.md").read_text()
    assert all(f"{step.value}. **{step.title[0].upper()}{step.title[1:]}**" in text for step in Step)


@pytest.mark.parametrize("names", [(bag.LOG,), (bag.LOG_LEAVES,), (bag.LOG_PROOF,), (bag.LOG, bag.LOG_PROOF)])
def test_step_10_refuses_a_part_of_a_place_in_the_log(
    names: tuple[str, ...], signed: Files, signer: Signer, key: PublicKey
) -> None:
    result = verify(reseal({**signed, **dict.fromkeys(names, b"{}")}, signer), key)
    missing = next(name for name in (bag.LOG, bag.LOG_LEAVES) if name not in names)
    assert faults(result) == [(10, f"{missing}: expected this file, got none")]
    assert result.verdict is Verdict.NOT_VERIFIED


def test_several_faults_of_one_reading_are_all_reported(signed: Files, key: PublicKey) -> None:
    """The file is read to its end despite a fault."""
    altered = signed[bag.RECORDS].replace(b'"status":"completed"', b'"status":"complete!"', 1)
    found = dict(faults(verify({**signed, bag.RECORDS: altered}, key)))
    digest = hashlib.sha256(altered).hexdigest()
    right = hashlib.sha256(signed[bag.RECORDS]).hexdigest()
    assert found.keys() == {1, 3, 4}
    for step, place in ((1, "manifest-sha256.txt"), (3, "statement.dsse.json")):
        assert found[step] == f"data/records.jsonl: expected the SHA-256 {right} as in {place}, got {digest}"

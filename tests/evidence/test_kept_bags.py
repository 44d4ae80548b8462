"""Bags and proofs of earlier versions are verified for ever.

The first release wrote version 1. Version 2 was the last whose records have salts.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from elspeth.evidence.format import bag
from elspeth.evidence.format.envelopes import Envelope
from elspeth.evidence.format.signatures import load_public_key
from elspeth.evidence.verifier.procedure import Verdict
from elspeth.evidence.verifier.proof import prove, verify_proof, write_proof
from elspeth.evidence.verifier.reader import open_bag
from elspeth.evidence.verifier.statements import read_statement
from elspeth.evidence.verifier.verify import verify_bag
from tests.evidence.bags import rewrite_manifests, verify
from tests.evidence.format.test_envelopes import other_form

DATA = Path(__file__).parents[1] / "data"

VERSIONS = {"first_release": 1, "statement_v2": 2}

SIGNED = [
    "first_release/completed-high-s",
    "first_release/failed",
    "first_release/recorded-in-epoch1",
    "first_release/recorded-in-epoch3",
    "statement_v2/completed",
    "statement_v2/failed",
    "statement_v2/imported",
]
UNSIGNED = "statement_v2/unsigned"


def key_of(name: str) -> Path:
    return (DATA / name).parent / "public.pem"


@pytest.mark.parametrize("name", SIGNED)
def test_a_kept_bag_is_verified(name: str) -> None:
    result = verify_bag(DATA / f"{name}.zip", key=load_public_key(key_of(name)))
    assert (result.verdict, result.faults) == (Verdict.VERIFIED, ())


def test_a_kept_bag_without_a_signature_is_consistent() -> None:
    result = verify_bag(DATA / f"{UNSIGNED}.zip")
    assert (result.verdict, result.faults) == (Verdict.UNSIGNED, ())


@pytest.mark.parametrize("name", [*SIGNED, UNSIGNED])
def test_a_kept_bag_has_its_version(name: str) -> None:
    with open_bag(DATA / f"{name}.zip") as files:
        statement, _ = read_statement(files)
    assert statement.version == VERSIONS[name.split("/", maxsplit=1)[0]]


@pytest.mark.parametrize(("name", "verdict"), [(SIGNED[1], Verdict.VERIFIED), (SIGNED[4], Verdict.NOT_VERIFIED)])
def test_since_version_2_a_signature_has_one_form(name: str, verdict: Verdict) -> None:
    with zipfile.ZipFile(DATA / f"{name}.zip") as archive:
        files = {each.removeprefix("bag/"): archive.read(each) for each in archive.namelist()}
    envelope = Envelope.from_bytes(files[bag.ENVELOPE], "envelope")
    files[bag.ENVELOPE] = replace(envelope, signature=other_form(envelope.signature)).to_bytes()
    assert verify(rewrite_manifests(files), load_public_key(key_of(name))).verdict is verdict


@pytest.mark.parametrize("directory", VERSIONS)
def test_a_kept_proof_is_verified(directory: str) -> None:
    result = verify_proof(DATA / directory / "proof.json", key=load_public_key(key_of(f"{directory}/proof")))
    assert (result.verdict, result.faults) == (Verdict.VERIFIED, ())


@pytest.mark.parametrize("directory", VERSIONS)
def test_a_kept_proof_that_was_altered_is_not_verified(directory: str, tmp_path: Path) -> None:
    data = (DATA / directory / "proof.json").read_bytes()
    (tmp_path / "proof.json").write_bytes(data.replace(b'\\"salt\\":\\"', b'\\"salt\\":\\"0', 1))
    assert (tmp_path / "proof.json").read_bytes() != data
    result = verify_proof(tmp_path / "proof.json", key=load_public_key(key_of(f"{directory}/proof")))
    assert result.verdict is Verdict.NOT_VERIFIED


@pytest.mark.parametrize("name", SIGNED)
def test_a_record_of_a_kept_bag_can_be_proved(name: str, tmp_path: Path) -> None:
    with open_bag(DATA / f"{name}.zip") as files:
        lines = files.read("data/records.jsonl").splitlines()
    record = next(record for record in map(json.loads, lines) if record["record_type"] == "row")
    write_proof(prove(DATA / f"{name}.zip", "row", record["row_id"]), tmp_path / "proof.json")
    result = verify_proof(tmp_path / "proof.json", key=load_public_key(key_of(name)))
    assert (result.verdict, result.faults) == (Verdict.VERIFIED, ())


def test_every_kept_bag_is_tested() -> None:
    found = [f"{path.parent.name}/{path.stem}" for directory in VERSIONS for path in (DATA / directory).glob("*.zip")]
    assert sorted(found) == sorted([*SIGNED, UNSIGNED])

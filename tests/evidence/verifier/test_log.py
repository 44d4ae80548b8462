"""A run's place in the log, and its checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from elspeth.evidence.format import bag, log_place
from elspeth.evidence.format.bag import RunFacts
from elspeth.evidence.format.checkpoints import Checkpoint, LogProof
from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.format.log_place import LogPlace
from elspeth.evidence.format.merkle import inclusion_proof, leaf_hashes, tree_root
from elspeth.evidence.format.notes import Note, NoteSignature
from elspeth.evidence.format.policy import Policy
from elspeth.evidence.verifier._log import NO_LOG, check_log_place
from tests.evidence.bags import MemoryFiles, run_facts

ENTRIES = [b'{"run_id":"run-%d","status":"completed"}' % number for number in range(12)]
SIGNATURE = NoteSignature(name="log", key_id=b"1234", value=bytes(64))


def place_of(index: int = 9) -> LogPlace:
    return LogPlace.of("log", ENTRIES, index)


def proof_of(size: int = 11, index: int = 9, origin: str = "log", entries: list[bytes] = ENTRIES) -> LogProof:
    """Return the proof of an entry at a size."""
    leaves = leaf_hashes(entries[:size])
    text = Checkpoint(origin=origin, size=size, root=tree_root(leaves)).text
    hashes = tuple(inclusion_proof(leaves, index, size))
    return LogProof(entry=entries[index], index=index, hashes=hashes, note=Note(text=text, signatures=(SIGNATURE,)))


def files_of(place: LogPlace, proof: LogProof | None = None) -> dict[str, bytes]:
    files = {bag.LOG: place.to_bytes(), bag.LOG_LEAVES: b"".join(place.leaves)}
    return files if proof is None else {**files, bag.LOG_PROOF: proof.to_bytes()}


def said(files: Mapping[str, bytes], run: RunFacts | None = None, policy: Policy | None = None) -> str:
    return check_log_place(MemoryFiles(files), run or run_facts("run-9"), policy)[1]


def refusal(files: Mapping[str, bytes], run: RunFacts | None = None, policy: Policy | None = None) -> str:
    with pytest.raises(EvidenceError) as caught:
        said(files, run, policy)
    return str(caught.value)


def test_a_place_is_described_with_its_checkpoint() -> None:
    assert check_log_place(MemoryFiles({}), run_facts(), None) == (None, NO_LOG)
    entry = "entry 9 of 12 in log"
    assert said(files_of(place_of())) == f"{entry}; no checkpoint that covers it had been left with others"
    for size in (10, 11, 12):
        signed = f"in a checkpoint of {size} entries, whose signatures were not checked: give --policy"
        assert said(files_of(place_of(), proof_of(size))) == f"{entry}; {signed}"


@pytest.mark.parametrize(
    ("run", "problem"),
    [
        (run_facts("run-8"), "run_id: expected 'run-8', got 'run-9'"),
        (run_facts("run-9", run_status="failed"), "status: expected 'failed', got 'completed'"),
    ],
)
def test_the_entry_is_about_the_run_of_the_statement(run: RunFacts, problem: str) -> None:
    assert refusal(files_of(place_of()), run).endswith(problem)


def test_the_status_of_a_run_is_not_that_of_an_incomplete_export() -> None:
    run = run_facts("run-9", run_status="running", complete=False)
    assert said(files_of(place_of()), run).startswith("entry 9 of 12 in log; ")


OTHERS = [*ENTRIES[:3], b'{"run_id":"other"}', *ENTRIES[4:]]
ENTRY_OR_LOG = "data/run-log.tlog-proof: expected the entry and log of data/run-log.json, got others"


@pytest.mark.parametrize(
    "proof",
    [
        proof_of(origin="other"),
        proof_of(index=8),
        proof_of(size=14, entries=[*ENTRIES, b"13", b"14"]),
        proof_of(size=13, entries=[*ENTRIES, b"13"]),
        proof_of(entries=[*ENTRIES[:9], b'{"run_id":"run-9"}', *ENTRIES[10:]]),
    ],
    ids=["origin", "index", "size", "one more", "entry"],
)
def test_the_checkpoint_is_of_the_same_entry_and_log(proof: LogProof) -> None:
    assert refusal(files_of(place_of(), proof)) == ENTRY_OR_LOG


def test_the_checkpoint_is_of_the_same_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = "its log is not the one of data/run-log.json: they differ in the first entries"
    assert refusal(files_of(place_of(), proof_of(entries=OTHERS))) == f"data/run-log.tlog-proof: {problem}"
    monkeypatch.setattr(log_place, "_KEPT", 4)
    place = place_of(1)
    assert place.start == 8
    for size in (8, 9, 12):
        found = refusal(files_of(place, proof_of(size, 1, entries=OTHERS)), run_facts("run-1"))
        assert found == f"data/run-log.tlog-proof: {problem}"
    # Of a smaller log only the roots of subtrees are in the bag.
    assert said(files_of(place, proof_of(7, 1, entries=OTHERS)), run_facts("run-1")).startswith("entry 1 of 12")


def test_the_proof_of_the_checkpoint_must_hold() -> None:
    proof = replace(proof_of(), hashes=(*proof_of().hashes[:-1], bytes(32)))
    assert refusal(files_of(place_of(), proof)).startswith(
        "data/run-log.tlog-proof: inclusion proof: expected the root"
    )


@pytest.mark.parametrize("change", ["entry", "root", "index", "leaves"])
def test_a_place_that_does_not_hold_is_refused(change: str) -> None:
    place = place_of()
    files = files_of(place)
    if change == "leaves":
        files[bag.LOG_LEAVES] = bytes(32) + files[bag.LOG_LEAVES][32:]
    elif change == "root":
        files[bag.LOG] = replace(place, checkpoint=replace(place.checkpoint, root=bytes(32))).to_bytes()
    elif change == "index":
        files[bag.LOG] = replace(place, index=8).to_bytes()
    else:
        files[bag.LOG] = replace(place, entry=ENTRIES[8]).to_bytes()
    assert refusal(files).startswith("data/run-log.json: ")


def test_a_policy_asks_for_a_checkpoint() -> None:
    policy = Policy(logs=(), witnesses={}, groups={}, quorum=None, urls={})
    wanted = "data/run-log.tlog-proof: expected a checkpoint that the policy accepts, got none"
    assert refusal({}, policy=policy) == f"{wanted}: {NO_LOG}"
    assert refusal(files_of(place_of()), policy=policy) == wanted
    found = refusal(files_of(place_of(), proof_of()), policy=policy)
    assert found == "data/run-log.tlog-proof: the policy does not name the log 'log'"

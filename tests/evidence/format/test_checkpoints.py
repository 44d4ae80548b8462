"""Checkpoints and proofs, as the specifications write them, and refusals."""

from __future__ import annotations

import base64
from hashlib import sha256

import pytest

from elspeth.evidence.format import checkpoints
from elspeth.evidence.format.checkpoints import Checkpoint, LogProof, looks_like_log_proof
from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.format.merkle import inclusion_proof, leaf_hash, tree_root
from elspeth.evidence.format.notes import Note
from tests.evidence.format.test_notes import PETER_SIGNS

SOFA = b"example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
"""The example of the specification of checkpoints."""

ROOT = base64.b64encode(bytes(32)).decode()


def test_the_example_of_the_specification_is_read_and_written() -> None:
    found = Checkpoint.parse(SOFA, "checkpoint")
    assert (found.origin, found.size) == ("example.com/behind-the-sofa", 20852163)
    assert found.root.hex().startswith("0ac5186a91863e8e")
    assert found.text == SOFA


def test_extension_lines_are_kept() -> None:
    found = Checkpoint.parse(SOFA + b"one\ntwo\n", "checkpoint")
    assert found.extensions == ("one", "two")
    assert found.text == SOFA + b"one\ntwo\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("log\n1\n", "checkpoint: expected a checkpoint: the lines origin, size and root"),
        (f"\n1\n{ROOT}\n", "checkpoint: expected a checkpoint"),
        (f"log\n1\n{ROOT}\n\n", "checkpoint: expected a checkpoint"),
        (f"log\n01\n{ROOT}\n", "checkpoint: size: expected a number from 0 to 2.63-1, without leading zeros, got '01'"),
        (f"log\n-1\n{ROOT}\n", "checkpoint: size: expected a number"),
        (f"log\n\u0661\n{ROOT}\n", "checkpoint: size: expected a number"),
        (f"log\n{2**63}\n{ROOT}\n", "checkpoint: size: expected a number"),
        ("log\n1\nAAAA\n", "checkpoint: root: expected a hash of 32 bytes, got 3"),
        (f"log\n1\n{ROOT[:-2]}B=\n", "checkpoint: root: expected base64"),
        (f"log\n0\n{ROOT}\n", "checkpoint: root: expected the root of an empty tree"),
    ],
)
def test_text_that_is_not_a_checkpoint_is_refused(text: str, problem: str) -> None:
    with pytest.raises(EvidenceError, match=f"^{problem}"):
        Checkpoint.parse(text.encode(), "checkpoint")


def test_checkpoints_and_proofs_may_reach_their_size_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Checkpoint.parse(f"log\n{2**63 - 1}\n{ROOT}\n".encode(), "checkpoint").size == 2**63 - 1
    proof = f"c2sp.org/tlog-proof@v1\nextra dHdv\nindex 1\n{63 * (ROOT + chr(10))}\n{NOTE}".encode()
    monkeypatch.setattr(checkpoints, "MAX_PROOF", len(proof))
    assert len(LogProof.parse(proof, "proof").hashes) == 63
    monkeypatch.setattr(checkpoints, "MAX_PROOF", len(proof) - 1)
    with pytest.raises(EvidenceError, match=f"^proof: expected a proof of at most {len(proof) - 1:,} bytes, got"):
        LogProof.parse(proof, "proof")


def test_an_empty_log_has_a_checkpoint() -> None:
    root = base64.b64encode(sha256().digest()).decode()
    assert Checkpoint.parse(f"log\n0\n{root}\n".encode(), "checkpoint").size == 0


ENTRIES = [b"one", b"two", b"three"]
LEAVES = [leaf_hash(entry) for entry in ENTRIES]
CHECKPOINT = Checkpoint(origin="PeterNeumann", size=3, root=tree_root(LEAVES))
PROOF = LogProof(
    entry=b"two",
    index=1,
    hashes=tuple(inclusion_proof(LEAVES, 1, 3)),
    note=PETER_SIGNS.sign(CHECKPOINT.text),
)


def test_a_proof_is_written_in_the_specified_form() -> None:
    head, _, note = PROOF.to_bytes().partition(b"\n\n")
    assert head.decode().split("\n") == [
        "c2sp.org/tlog-proof@v1",
        "extra dHdv",
        "index 1",
        *(base64.b64encode(each).decode() for each in inclusion_proof(LEAVES, 1, 3)),
    ]
    assert note == PROOF.note.to_bytes()
    assert looks_like_log_proof(PROOF.to_bytes())
    assert LogProof.parse(PROOF.to_bytes(), "proof") == PROOF


def test_a_proof_holds_only_for_its_position() -> None:
    PROOF.verify_inclusion(CHECKPOINT, "proof")
    for altered in (
        LogProof(entry=b"2", index=1, hashes=PROOF.hashes, note=PROOF.note),
        LogProof(entry=b"two", index=0, hashes=PROOF.hashes, note=PROOF.note),
        LogProof(entry=b"two", index=3, hashes=PROOF.hashes, note=PROOF.note),
        LogProof(entry=b"two", index=1, hashes=PROOF.hashes[:-1], note=PROOF.note),
    ):
        with pytest.raises(EvidenceError, match=r"^proof: inclusion proof: expected"):
            altered.verify_inclusion(CHECKPOINT, "proof")


NOTE = PROOF.note.to_bytes().decode()


@pytest.mark.parametrize(
    ("proof", "problem"),
    [
        ("c2sp.org/tlog-proof@v2\nextra dHdv\nindex 1\n\n" + NOTE, "proof: expected c2sp.org/tlog-proof@v1, hashes"),
        ("c2sp.org/tlog-proof@v1\nextra dHdv\nindex 1\n", "proof: expected c2sp.org/tlog-proof@v1, hashes"),
        ("c2sp.org/tlog-proof@v1\nindex 1\n\n" + NOTE, "proof: expected the entry, 'extra BASE64', in its second line"),
        ("c2sp.org/tlog-proof@v1\nextra dHd\nindex 1\n\n" + NOTE, "proof: extra: expected base64"),
        ("c2sp.org/tlog-proof@v1\nextra dHdv\n\n" + NOTE, "proof: expected 'index NUMBER', got None"),
        ("c2sp.org/tlog-proof@v1\nextra dHdv\nindex 01\n\n" + NOTE, "proof: index: expected a number"),
        ("c2sp.org/tlog-proof@v1\nextra dHdv\nindex 1\nAAAA\n\n" + NOTE, "proof: hash 1: expected a hash of 32 bytes"),
        (
            "c2sp.org/tlog-proof@v1\nextra dHdv\nindex 1\n" + f"{ROOT}\n" * 64 + "\n" + NOTE,
            "proof: expected at most 63",
        ),
        ("c2sp.org/tlog-proof@v1\nextra dHdv\nindex 1\n\nlog\n", "proof: checkpoint: expected a signed note"),
    ],
)
def test_text_that_is_not_a_proof_is_refused(proof: str, problem: str) -> None:
    with pytest.raises(EvidenceError, match=f"^{problem}"):
        LogProof.parse(proof.encode(), "proof")


def test_a_note_without_the_form_of_a_checkpoint_is_refused() -> None:
    note = Note.parse(PETER_SIGNS.sign(b"hello\n").to_bytes(), "note")
    with pytest.raises(EvidenceError, match=r"^note: expected a checkpoint"):
        Checkpoint.parse(note.text, "note")

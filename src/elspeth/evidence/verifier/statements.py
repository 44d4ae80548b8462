"""The statement and leaf hashes that a bag claims."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from elspeth.evidence.format import bag
from elspeth.evidence.format.bag import PAYLOAD_TYPE, Statement
from elspeth.evidence.format.envelopes import Envelope
from elspeth.evidence.format.errors import EvidenceError, shown
from elspeth.evidence.format.merkle import HASH_SIZE, split_hashes
from elspeth.evidence.format.signatures import PublicKey
from elspeth.evidence.verifier.procedure import Step, Steps, Verdict
from elspeth.evidence.verifier.reader import BagFiles

__all__ = ["check_signature", "leaf_hashes", "read_statement"]


def read_statement(files: BagFiles) -> tuple[Statement, Envelope | None]:
    """Read the statement of a bag, with its envelope.

    Does not check the signature. Raises EvidenceError if either cannot be read.
    """
    if bag.ENVELOPE not in files.sizes:
        return Statement.from_bytes(files.read(bag.STATEMENT), bag.STATEMENT), None
    envelope = Envelope.from_bytes(files.read(bag.ENVELOPE), bag.ENVELOPE)
    if envelope.payload_type != PAYLOAD_TYPE:
        problem = f"expected a payload of type {PAYLOAD_TYPE}, got {shown(envelope.payload_type)}"
        raise EvidenceError(bag.ENVELOPE, problem)
    return Statement.from_bytes(envelope.payload, bag.ENVELOPE), envelope


def leaf_hashes(files: BagFiles) -> Iterator[bytes]:
    """Yield the leaf hashes that a bag claims.

    Raises EvidenceError if they cannot be read.
    """
    return chain.from_iterable(map(split_hashes, _hash_blocks(files)))


def _hash_blocks(files: BagFiles) -> Iterator[bytes]:
    """Yield whole leaf hashes in blocks."""
    rest = b""
    for block in files.blocks(bag.LEAVES):
        hashes = rest + block
        end = len(hashes) - len(hashes) % HASH_SIZE
        yield hashes[:end]
        rest = hashes[end:]


def check_signature(
    envelope: Envelope | None, statement: Statement, key: PublicKey | None, steps: Steps, place: str
) -> Verdict:
    """Take step 2.

    Returns the verdict that holds if all other steps pass.
    """
    identity = f"the statement has the SHA-256 {statement.sha256}"
    with steps.of(Step.SIGNATURE):
        if envelope is None and key is not None:
            expected = f"expected a signature by the key {key.fingerprint}"
            raise EvidenceError(place, f"{expected}, got none: it is unsigned, or the envelope was removed")
        if envelope is None:
            found = "UNSIGNED: anybody could have made this; without an envelope it is incomplete"
            steps.open(Step.SIGNATURE, f"{found}; {identity}")
            return Verdict.UNSIGNED
        if key is None:
            claim = f"it claims to be signed by the key {shown(envelope.keyid)}"
            steps.open(Step.SIGNATURE, f"NOT CHECKED: no key was given; {claim}; {identity}")
            return Verdict.SIGNATURE_UNCHECKED
        envelope.verify(key, place, low_s=statement.version > 1)
        steps.passed(Step.SIGNATURE, f"signed by the key {envelope.keyid}; {identity}")
        return Verdict.VERIFIED
    return Verdict.NOT_VERIFIED

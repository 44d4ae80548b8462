"""Step 10: check the run's place in the log."""

from __future__ import annotations

from elspeth.evidence.format import bag
from elspeth.evidence.format.bag import RunFacts
from elspeth.evidence.format.canonical import Members, parse_canonical
from elspeth.evidence.format.checkpoints import Checkpoint, LogProof
from elspeth.evidence.format.errors import EvidenceError, shown
from elspeth.evidence.format.log_place import LogPlace
from elspeth.evidence.format.policy import Policy
from elspeth.evidence.verifier.reader import BagFiles

__all__ = ["NO_LOG", "check_log_place"]

NO_LOG = "not in the bag: it was made by an earlier release, or from a database of an earlier epoch"
"""Why a bag does not state a place in a log."""


def check_log_place(files: BagFiles, run: RunFacts, policy: Policy | None) -> tuple[LogPlace | None, str]:
    """Check the run's place in the log, and describe it.

    The place is None for a bag without one. Raises EvidenceError for a place that does not hold, or if there is a
    policy but no place that it could accept.
    """
    names = {bag.LOG, bag.LOG_LEAVES, bag.LOG_PROOF} & files.sizes.keys()
    if not names:
        if policy is not None:
            raise EvidenceError(bag.LOG_PROOF, f"expected a checkpoint that the policy accepts, got none: {NO_LOG}")
        return None, NO_LOG
    place = LogPlace.parse(files.read(bag.LOG), files.read(bag.LOG_LEAVES), bag.LOG)
    place.verify(bag.LOG)
    _check_entry(place.entry, run)
    size = place.checkpoint.size
    said = f"entry {place.index:,} of {size:,} in {place.checkpoint.origin}"
    return place, f"{said}; {_check_signed(files, place, policy)}"


def _check_entry(data: bytes, run: RunFacts) -> None:
    """Check that the log's entry and the statement agree."""
    where = f"{bag.LOG}: entry"
    entry = Members(parse_canonical(data, where), where)
    entry.expect("run_id", run.run_id)
    if run.complete:
        entry.expect("status", run.run_status)


def _check_signed(files: BagFiles, place: LogPlace, policy: Policy | None) -> str:
    """Check the signed checkpoint, and describe what it shows."""
    if bag.LOG_PROOF not in files.sizes:
        if policy is not None:
            raise EvidenceError(bag.LOG_PROOF, "expected a checkpoint that the policy accepts, got none")
        return "no checkpoint that covers it had been left with others"
    proof = LogProof.parse(files.read(bag.LOG_PROOF), bag.LOG_PROOF)
    signed = Checkpoint.parse(proof.note.text, bag.LOG_PROOF)
    proof.verify_inclusion(signed, bag.LOG_PROOF)
    own = place.checkpoint
    if (signed.origin, proof.entry, proof.index) != (own.origin, place.entry, place.index) or signed.size > own.size:
        raise EvidenceError(bag.LOG_PROOF, f"expected the entry and log of {bag.LOG}, got others")
    if signed.size >= place.start and place.root_at(signed.size) != signed.root:
        raise EvidenceError(bag.LOG_PROOF, f"its log is not the one of {bag.LOG}: they differ in the first entries")
    if policy is None:
        return f"in a checkpoint of {signed.size:,} entries, whose signatures were not checked: give --policy"
    cosigners = policy.accept(proof.note, bag.LOG_PROOF).cosignatures
    by = f", cosigned by {', '.join(map(shown, cosigners))}" if cosigners else ""
    return f"in a signed checkpoint of {signed.size:,} entries{by}"

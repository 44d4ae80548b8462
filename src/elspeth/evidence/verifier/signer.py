"""Step 2 for bags: check the signature, time-stamp and certificates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography.x509 import Certificate

from elspeth.evidence.format import bag
from elspeth.evidence.format.bag import Statement
from elspeth.evidence.format.certificates import CertificateFacts
from elspeth.evidence.format.envelopes import Envelope
from elspeth.evidence.format.errors import printable
from elspeth.evidence.format.policy import Policy
from elspeth.evidence.format.signatures import PublicKey
from elspeth.evidence.format.timestamp import verify_timestamp
from elspeth.evidence.verifier.certificates import CertifiedBy, check_chain, read_chain
from elspeth.evidence.verifier.procedure import Step, Steps, Verdict
from elspeth.evidence.verifier.reader import BagFiles
from elspeth.evidence.verifier.statements import check_signature

__all__ = ["Trusted", "check_signer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trusted:
    """The keys, authorities and policies that the verifier trusts."""

    key: PublicKey | None
    authorities: Sequence[Certificate]
    certified_by: CertifiedBy
    policy: Policy | None


def check_signer(
    files: BagFiles,
    statement: Statement,
    envelope: Envelope | None,
    trusted: Trusted,
    steps: Steps,
    *,
    place: str = bag.ENVELOPE,
) -> tuple[Verdict, CertificateFacts | None]:
    """Take step 2.

    `place` is the envelope's name in messages. Returns the verdict that holds if all other steps pass, and the facts of
    the key's certificate, if there is one. Raises EvidenceError for a time-stamp or certificates that do not hold.
    """
    chain = read_chain(files, statement, envelope)
    key = trusted.key
    if key is None and chain is not None and trusted.certified_by.roots:
        key = chain.key
    sound = check_signature(envelope, statement, key, steps, place)
    if statement.contact is not None:
        steps.remark(Step.SIGNATURE, f"made by {printable(str(statement.contact))}, it says")
    stamped = _check_timestamp(files, trusted.authorities, steps)
    if said := check_chain(files, statement, chain, trusted.certified_by, stamped):
        steps.remark(Step.SIGNATURE, said)
    return sound, None if chain is None else chain.facts


def _check_timestamp(files: BagFiles, authorities: Sequence[Certificate], steps: Steps) -> datetime | None:
    """Return the time of the verified time-stamp, or None."""
    if authorities:
        response, envelope = files.read(bag.TIMESTAMP), files.read(bag.ENVELOPE)
        moment = verify_timestamp(response, envelope, authorities, bag.TIMESTAMP)
        steps.remark(Step.SIGNATURE, f"time-stamped {moment.isoformat()}")
        return moment
    if bag.TIMESTAMP in files.sizes:
        steps.remark(Step.SIGNATURE, "the time-stamp was not checked, as no authority was given")
    return None

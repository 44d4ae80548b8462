"""Checks X.509 certificates, as part of step 2."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from hashlib import sha256

from cryptography.x509 import Certificate

from elspeth.evidence.format import bag
from elspeth.evidence.format.bag import Statement
from elspeth.evidence.format.certificates import CertificateChain
from elspeth.evidence.format.envelopes import Envelope
from elspeth.evidence.format.errors import EvidenceError, shown
from elspeth.evidence.verifier.reader import BagFiles

__all__ = ["ANYBODY", "CertifiedBy", "check_chain", "read_chain"]

_DAY = re.compile(rb"^Bagging-Date: ([0-9]{4}-[0-9]{2}-[0-9]{2})$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class CertifiedBy:
    """The roots and the subject that certificates must have.

    Without roots, chains are not checked. Without a subject, any subject that the roots certify is accepted.
    """

    roots: Sequence[Certificate] = ()
    subject: str | None = None


ANYBODY = CertifiedBy()
"""Certificates are not checked."""


def read_chain(files: BagFiles, statement: Statement, envelope: Envelope | None) -> CertificateChain | None:
    """Return the chain of the key that signed, if any.

    Raises EvidenceError for a chain that the statement does not name, or that belongs to another key.
    """
    if bag.CERTIFICATES not in files.sizes:
        return None
    if envelope is None:
        raise EvidenceError(bag.CERTIFICATES, "expected no certificates in an unsigned bag, got some")
    chain = CertificateChain.from_pem(_signed_file(files, statement, bag.CERTIFICATES), bag.CERTIFICATES)
    if chain.key.fingerprint != envelope.keyid:
        problem = f"expected first the certificate of the key {shown(envelope.keyid)}, which signed"
        raise EvidenceError(bag.CERTIFICATES, f"{problem}, got that of the key {chain.key.fingerprint}")
    return chain


def check_chain(
    files: BagFiles,
    statement: Statement,
    chain: CertificateChain | None,
    trusted: CertifiedBy,
    stamped: datetime | None,
) -> str | None:
    """Check a chain, and return the detail for the step.

    It is checked for the time of the verified time-stamp, or else for the day that the bag states. Raises EvidenceError
    if there are roots, and the chain does not lead to one of them.
    """
    if chain is None:
        if trusted.roots:
            problem = "expected the certificates of the signer, got none: it was signed with a plain key, or not at all"
            raise EvidenceError(bag.CERTIFICATES, problem)
        return None
    if not trusted.roots:
        return f"it has the certificate of {chain.facts}, which was not checked, as no root was given"
    said = f"by the certificate of {chain.facts}"
    if trusted.subject is not None and trusted.subject != chain.facts.subject:
        problem = f"expected the certificate of {shown(trusted.subject)}, got that of {shown(chain.facts.subject)}"
        raise EvidenceError(bag.CERTIFICATES, problem)
    if stamped is not None:
        chain.verify(trusted.roots, stamped, bag.CERTIFICATES)
        return f"{said}, which led to a root given when it was time-stamped"
    day = _day(_signed_file(files, statement, bag.BAG_INFO))
    # The end of the day, because a certificate may have been issued on that day.
    end = datetime.combine(day, time.max, UTC)
    expired_that_day = day == chain.facts.not_after.date()
    chain.verify(trusted.roots, chain.facts.not_after if expired_that_day else end, bag.CERTIFICATES)
    return f"{said}, which led to a root given on {day}, the day that the bag states"


def _signed_file(files: BagFiles, statement: Statement, name: str) -> bytes:
    """Return a small file that the statement names.

    Raises EvidenceError if the bag holds another file of that name.
    """
    content = files.read(name)
    expected = statement.subjects.get(name)
    if (got := sha256(content).hexdigest()) != expected:
        stated = "no such file" if expected is None else f"the SHA-256 {expected}"
        raise EvidenceError(name, f"expected {stated} as in the statement, got one with {got}")
    return content


def _day(info: bytes) -> date:
    try:
        (day,) = _DAY.findall(info)
        return date.fromisoformat(day.decode())
    except ValueError as error:
        problem = "expected a Bagging-Date, the day for which certificates are checked: check its time-stamp instead"
        raise EvidenceError(bag.BAG_INFO, problem) from error

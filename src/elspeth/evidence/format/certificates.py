"""X.509 certificates of keys that sign bags (RFC 5280).

A chain begins with the certificate of the signing key, called the leaf. The certificates of the intermediate
authorities follow. The root is not part of the chain: the person who verifies must have it from elsewhere. Nothing
here checks whether a certificate was revoked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import Criticality, ExtensionPolicy, Policy, PolicyBuilder, Store, VerificationError

from elspeth.evidence.format.canonical import Json
from elspeth.evidence.format.errors import EvidenceError, KeyFileError, printable, shown
from elspeth.evidence.format.files import read_small_file
from elspeth.evidence.format.signatures import PublicKey, Signer

__all__ = ["CertificateChain", "CertificateFacts", "certify", "load_certificates"]

_MAX_SIZE = 64 * 1024
"""The largest chain that is read, in bytes. One of three certificates takes about five kilobytes."""

_MAX_CERTIFICATES = 10

_DOCUMENT_SIGNING = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36")
"""RFC 9336."""

_PURPOSES = frozenset(
    {
        _DOCUMENT_SIGNING,
        ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
        ExtendedKeyUsageOID.CLIENT_AUTH,
        ExtendedKeyUsageOID.CODE_SIGNING,
        ExtendedKeyUsageOID.EMAIL_PROTECTION,
    }
)
"""The accepted purposes, which identify a person or a service. A certificate that lists purposes needs one of them."""

_MALFORMED = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""The errors that the library raises for malformed certificates, many of them only when a part is first accessed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFacts:
    """The facts of a certificate that are shown to people.

    Names are in the form of RFC 4514. `fingerprint` is the SHA-256 of the DER. It and `serial` are in hexadecimal, with
    an even number of digits.
    """

    subject: str
    issuer: str
    serial: str
    not_before: datetime
    not_after: datetime
    fingerprint: str

    def __str__(self) -> str:
        """Return the facts on one line, safe to print."""
        valid = f"valid from {self.not_before:%Y-%m-%d %H:%M:%S} to {self.not_after:%Y-%m-%d %H:%M:%S} UTC"
        names = f"{self.subject}, issued by {self.issuer}, serial number {self.serial}"
        return printable(f"{names}, {valid}, SHA-256 {self.fingerprint}")

    def to_json(self) -> dict[str, Json]:
        """Return the facts for programs."""
        return {
            "subject": self.subject,
            "issuer": self.issuer,
            "serial": self.serial,
            "not_before": self.not_before.isoformat(),
            "not_after": self.not_after.isoformat(),
            "sha256": self.fingerprint,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateChain:
    """The certificates of a key and of its authorities."""

    certificates: tuple[x509.Certificate, ...]
    facts: CertificateFacts
    """The facts of the leaf."""
    key: PublicKey
    """The key of the leaf."""

    @classmethod
    def from_pem(cls, pem: bytes, place: str) -> CertificateChain:
        """Read certificates in PEM, the leaf first.

        Raises EvidenceError for anything else, and for a key that cannot sign bags.
        """
        try:
            found = tuple(x509.load_pem_x509_certificates(pem)) if len(pem) <= _MAX_SIZE else ()
            if not 0 < len(found) <= _MAX_CERTIFICATES:
                expected = f"expected 1 to {_MAX_CERTIFICATES} certificates of at most {_MAX_SIZE:,} bytes"
                raise EvidenceError(place, f"{expected}, got {len(found) or f'{len(pem):,} bytes'}")
            return cls(certificates=found, facts=_facts(found[0]), key=PublicKey.from_certificate(found[0], place))
        except _MALFORMED as error:
            raise EvidenceError(place, "expected certificates in PEM, that of the signing key first") from error

    @property
    def pem(self) -> bytes:
        """The certificates in PEM, without other text."""
        return b"".join(each.public_bytes(Encoding.PEM) for each in self.certificates)

    def verify(self, roots: Sequence[x509.Certificate], moment: datetime, place: str) -> None:
        """Check that the leaf led to a root at `moment`.

        Checks signatures, validity, basicConstraints, path lengths, key usages and name constraints (RFC 5280, section
        6). Raises EvidenceError if one of them fails, or for a critical extension that is not supported.
        """
        if not self.facts.not_before <= moment <= self.facts.not_after:
            problem = f"expected a certificate valid at {moment:%Y-%m-%d %H:%M:%S} UTC, got that of {self.facts}"
            raise EvidenceError(place, problem)
        leaf, *others = self.certificates
        try:
            builder = PolicyBuilder().store(Store(list(roots))).time(moment).max_chain_depth(_MAX_CERTIFICATES)
            policies = builder.extension_policies(ca_policy=_authority_policy(), ee_policy=_leaf_policy())
            policies.build_client_verifier().verify(leaf, others)
        except (VerificationError, *_MALFORMED) as error:
            expected = f"expected the certificate of {self.facts.subject} to lead to one of those given"
            raise EvidenceError(place, printable(f"{expected}, but: {error}")) from error


def load_certificates(path: Path) -> CertificateChain:
    """Load the chain of a key from a PEM file.

    Raises KeyFileError if it cannot be read.
    """
    pem = read_small_file(path, "certificates", _MAX_SIZE, KeyFileError)
    try:
        return CertificateChain.from_pem(pem, str(path))
    except EvidenceError as error:
        raise KeyFileError(error.place, error.problem) from error


def certify(signer: Signer, path: Path) -> Signer:
    """Return the signer with the certificate chain of its key.

    Raises KeyFileError for a chain that no verifier would accept: one of another key, one that is not valid now, or one
    that does not lead from the leaf to its last certificate.
    """
    chain = load_certificates(path)
    if chain.key.fingerprint != signer.public_key.fingerprint:
        expected = f"expected first the certificate of the key {signer.public_key.fingerprint}, which signs"
        raise KeyFileError(str(path), f"{expected}, got that of the key {chain.key.fingerprint}")
    try:
        chain.verify(chain.certificates[-1:], datetime.now(UTC), str(path))
    except EvidenceError as error:
        raise KeyFileError(error.place, error.problem) from error
    return replace(signer, certificates=chain.pem)


def _facts(certificate: x509.Certificate) -> CertificateFacts:
    serial = f"{certificate.serial_number:x}"
    return CertificateFacts(
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        serial=serial if len(serial) % 2 == 0 else f"0{serial}",  # as OpenSSL shows it
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        fingerprint=sha256(certificate.public_bytes(Encoding.DER)).hexdigest(),
    )


def _authority_policy() -> ExtensionPolicy:
    """Return the rules for the certificate of an authority.

    The library checks path lengths and name constraints itself, and refuses critical extensions that it does not know.
    """
    return (
        ExtensionPolicy.permit_all()
        .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, _require_authority)
        .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _require_certificates_usage)
        .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _require_purpose)
    )


def _leaf_policy() -> ExtensionPolicy:
    """Return the rules for the certificate of a signing key."""
    return (
        ExtensionPolicy.permit_all()
        .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _require_signature_usage)
        .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _require_purpose)
    )


def _require_authority(_: Policy, certificate: x509.Certificate, constraints: x509.BasicConstraints) -> None:
    if not constraints.ca:
        raise ValueError(f"{_name(certificate)} is no certificate authority (basicConstraints)")


def _require_certificates_usage(_: Policy, certificate: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError(f"the key of {_name(certificate)} must not sign certificates (keyUsage)")


def _require_signature_usage(_: Policy, certificate: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    # People's certificates for electronic signatures often allow only contentCommitment (nonRepudiation).
    if usage is not None and not (usage.digital_signature or usage.content_commitment):
        raise ValueError(f"the key of {_name(certificate)} must not sign documents (keyUsage)")


def _require_purpose(_: Policy, certificate: x509.Certificate, usage: x509.ExtendedKeyUsage | None) -> None:
    if usage is not None and not _PURPOSES & {*usage}:
        got = ", ".join(sorted(each.dotted_string for each in usage))
        raise ValueError(f"the certificate of {_name(certificate)} is for other purposes: {got} (extendedKeyUsage)")


def _name(certificate: x509.Certificate) -> str:
    return shown(certificate.subject.rfc4514_string())

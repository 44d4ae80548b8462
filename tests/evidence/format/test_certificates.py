"""Chains of certificates: read, shown and refused in full words."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from elspeth.evidence.format.certificates import CertificateChain, CertificateFacts, certify, load_certificates
from elspeth.evidence.format.errors import EvidenceError, KeyFileError
from elspeth.evidence.format.signatures import load_signer
from tests.evidence.pki import CERTIFIES, DAY, NOW, SIGNS, Certified, authority, make_root, pem, usage, write

ROOT = make_root()
MIDDLE = ROOT.issue("Issuer", (authority(1), CERTIFIES))
BELOW = MIDDLE.issue("Below", (authority(0), CERTIFIES))
LEAF = BELOW.issue("Audit")

FACTS = CertificateFacts(
    subject="CN=A\u202eudit\x1b",
    issuer="CN=Root",
    serial="0abc",
    not_before=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    not_after=datetime(2027, 1, 2, 3, 4, 6, tzinfo=UTC),
    fingerprint="0f" * 32,
)


def test_the_facts_of_a_certificate_fit_a_line_that_is_safe_to_print() -> None:
    assert str(FACTS) == (
        "CN=A\\u202eudit\\x1b, issued by CN=Root, serial number 0abc, valid from 2026-01-02 03:04:05 to"
        f" 2027-01-02 03:04:06 UTC, SHA-256 {'0f' * 32}"
    )
    assert FACTS.to_json() == {
        "subject": "CN=A\u202eudit\x1b",
        "issuer": "CN=Root",
        "serial": "0abc",
        "not_before": "2026-01-02T03:04:05+00:00",
        "not_after": "2027-01-02T03:04:06+00:00",
        "sha256": "0f" * 32,
    }


def test_a_chain_of_any_length_is_written_as_it_was_read() -> None:
    chain = CertificateChain.from_pem(b"a comment\n" + pem(LEAF, BELOW, MIDDLE), "chain")
    assert chain.pem == pem(LEAF, BELOW, MIDDLE)
    assert chain.facts.subject == "CN=Audit,O=Example"
    chain.verify([ROOT.certificate], NOW, "chain")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "expected certificates in PEM, that of the signing key first"),
        (pem(LEAF)[:300], "expected certificates in PEM, that of the signing key first"),
        (pem(*[LEAF] * 11), "expected 1 to 10 certificates of at most 65,536 bytes, got 11"),
        (pem(LEAF) + b" " * 65_536, "expected 1 to 10 certificates of at most 65,536 bytes, got {size} bytes"),
    ],
    ids=["nothing", "damaged", "many", "large"],
)
def test_what_is_not_a_chain_is_refused(data: bytes, problem: str, tmp_path: Path) -> None:
    with pytest.raises(EvidenceError) as caught:
        CertificateChain.from_pem(data, "chain")
    assert str(caught.value) == f"chain: {problem.format(size=f'{len(data):,}')}"
    with pytest.raises(KeyFileError):
        load_certificates(write(tmp_path / "chain.pem", data))
    assert len(CertificateChain.from_pem(pem(*[LEAF] * 10), "chain").certificates) == 10


def refusal(chain: tuple[Certified, ...], moment: datetime = NOW) -> str:
    with pytest.raises(EvidenceError) as caught:
        CertificateChain.from_pem(pem(*chain), "chain").verify([ROOT.certificate], moment, "chain")
    return str(caught.value)


SERVER = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING, ExtendedKeyUsageOID.SERVER_AUTH]), False)
AUTHORITIES = {
    "no authority": (
        ((x509.BasicConstraints(ca=False, path_length=None), True), CERTIFIES),
        "basicConstraints",
    ),
    "no constraints": ((CERTIFIES,), "basicConstraints"),
    "signs documents only": (
        (authority(), SIGNS),
        "the key of 'CN=Issuer,O=Example' must not sign certificates (keyUsage)",
    ),
    "for servers": (
        (authority(), CERTIFIES, SERVER),
        (
            "the certificate of 'CN=Issuer,O=Example' is for other purposes: 1.3.6.1.5.5.7.3.1, 1.3.6.1.5.5.7.3.8"
            " (extendedKeyUsage)"
        ),
    ),
}
LEAVES = {
    "encrypts only": (
        ((usage(key_encipherment=True), True),),
        "the key of 'CN=Audit,O=Example' must not sign documents (keyUsage)",
    ),
    "for servers": (
        (SIGNS, SERVER),
        (
            "the certificate of 'CN=Audit,O=Example' is for other purposes: 1.3.6.1.5.5.7.3.1, 1.3.6.1.5.5.7.3.8"
            " (extendedKeyUsage)"
        ),
    ),
}


@pytest.mark.parametrize("case", AUTHORITIES)
def test_an_authority_that_may_not_certify_is_named(case: str) -> None:
    extensions, problem = AUTHORITIES[case]
    middle = ROOT.issue("Issuer", extensions)
    found = refusal((middle.issue("Audit"), middle))
    assert found.startswith(
        "chain: expected the certificate of CN=Audit,O=Example to lead to one of those given, but: "
    )
    assert problem in found


@pytest.mark.parametrize("case", LEAVES)
def test_a_key_that_may_not_sign_is_named(case: str) -> None:
    extensions, problem = LEAVES[case]
    found = refusal((MIDDLE.issue("Audit", extensions), MIDDLE))
    assert found.startswith(
        "chain: expected the certificate of CN=Audit,O=Example to lead to one of those given, but: "
    )
    assert problem in found


def test_an_authority_may_have_several_purposes_of_which_one_is_accepted() -> None:
    both = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), False
    middle = ROOT.issue("Issuer", (authority(), CERTIFIES, both))
    chain = CertificateChain.from_pem(pem(middle.issue("Audit"), middle), "chain")
    chain.verify([ROOT.certificate], NOW, "chain")


def test_a_chain_counts_at_the_moment_given_and_not_now() -> None:
    old = ROOT.issue("Old", (authority(), CERTIFIES), begins=NOW - 30 * DAY, ends=NOW - 20 * DAY)
    leaf = old.issue("Audit", begins=NOW - 30 * DAY, ends=NOW + 30 * DAY)
    chain = CertificateChain.from_pem(pem(leaf, old), "chain")
    chain.verify([ROOT.certificate], NOW - 25 * DAY, "chain")
    assert "cert is not valid at validation time" in refusal((leaf, old))
    for moment in (NOW - 31 * DAY, NOW + 31 * DAY):
        assert refusal((leaf, old), moment) == (
            f"chain: expected a certificate valid at {moment:%Y-%m-%d %H:%M:%S} UTC, got that of {chain.facts}"
        )
    edge = CertificateChain.from_pem(pem(BELOW.issue("Audit", ends=NOW), BELOW, MIDDLE), "chain")
    edge.verify([ROOT.certificate], NOW, "chain")


def test_a_name_in_a_problem_is_safe_to_print() -> None:
    middle = ROOT.issue("Iss\u202euer", (authority(), SIGNS))
    assert "the key of 'CN=Iss\\u202euer,O=Example' must not sign certificates" in refusal(
        (middle.issue("Au\u202edit"), middle)
    )
    assert "\u202e" not in refusal((middle.issue("Au\u202edit"), middle))


def test_a_chain_that_no_verifier_would_accept_is_a_problem_of_the_key(tmp_path: Path) -> None:
    """So the exit code says where the fault is."""
    signer = load_signer(str(write(tmp_path / "key.pem", LEAF.private_pem)))
    late = BELOW.issue("Audit", key=LEAF.key, ends=NOW - DAY / 2)
    other = make_root("Other")
    for chain in ((MIDDLE, ROOT), (late, BELOW), (LEAF, other), (LEAF, MIDDLE), (LEAF, BELOW, other)):
        with pytest.raises(KeyFileError):
            certify(signer, write(tmp_path / "chain.pem", pem(*chain)))
    with pytest.raises(KeyFileError) as caught:
        certify(signer, write(tmp_path / "chain.pem", pem(MIDDLE, ROOT)))
    middle = CertificateChain.from_pem(pem(MIDDLE), "chain")
    assert str(caught.value) == (
        f"{tmp_path / 'chain.pem'}: expected first the certificate of the key {signer.public_key.fingerprint}, which"
        f" signs, got that of the key {middle.key.fingerprint}"
    )
    whole = certify(signer, write(tmp_path / "chain.pem", pem(LEAF, BELOW, MIDDLE)))
    assert whole == replace(signer, certificates=pem(LEAF, BELOW, MIDDLE))

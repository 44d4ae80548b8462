"""Step 2 with X.509 certificates, and attacks on it."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from elspeth.evidence.format import bag
from elspeth.evidence.format.certificates import CertificateChain, CertificateFacts, certify
from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.format.signatures import Signer, load_signer
from elspeth.evidence.verifier.certificates import CertifiedBy
from elspeth.evidence.verifier.procedure import Step, Verdict, Verification
from elspeth.evidence.verifier.proof import Proof, prove, verify_proof
from elspeth.evidence.verifier.verify import verify_files
from elspeth.evidence.writer.bag import write_bag
from tests.evidence.bags import (
    DOCUMENTS,
    SECRET,
    MemoryFiles,
    faults,
    make_bag,
    read_bag,
    records,
    reseal,
    rewrite_manifests,
    run_facts,
    to_lines,
)
from tests.evidence.pki import (
    CERTIFIES,
    DAY,
    NOW,
    SIGNS,
    Certified,
    Extension,
    authority,
    make_root,
    new_key,
    pem,
    usage,
    write,
)

Files = dict[str, bytes]

ROOT = make_root()
MIDDLE = ROOT.issue("Issuer", (authority(0), CERTIFIES))
LEAF = MIDDLE.issue("Audit")
TODAY = NOW.date()


def signer_of(leaf: Certified, directory: Path) -> Signer:
    return load_signer(str(write(directory / "key.pem", leaf.private_pem)))


def bag_of(directory: Path, *chain: Certified, day: date | None = TODAY) -> Files:
    """Return a bag signed by the leaf, with any chain."""
    signer = replace(signer_of(chain[0], directory), certificates=pem(*chain))
    target = directory / f"bag-{sum(1 for _ in directory.iterdir())}"
    facts = run_facts()
    write_bag(target, [to_lines(records())], facts=facts, documents=DOCUMENTS, signer=signer, secret=SECRET, date=day)
    return read_bag(target)


def verify(files: Files, *roots: Certified, subject: str | None = None, **options: object) -> Verification:
    certified_by = CertifiedBy(roots=[each.certificate for each in roots], subject=subject)
    return verify_files(MemoryFiles(files), certified_by=certified_by, **options)  # type: ignore[arg-type]


def said(result: Verification) -> str:
    return next(each.detail for each in result.steps if each.step is Step.SIGNATURE)


def serial_of(certified: Certified) -> str:
    serial = certified.certificate.serial_number
    return serial.to_bytes((serial.bit_length() + 7) // 8).hex()


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Return a certified bag. Never change it."""
    return bag_of(tmp_path_factory.mktemp("certified"), LEAF, MIDDLE)


def test_a_chain_that_leads_to_the_root_is_verified(certified: Files) -> None:
    result = verify(certified, make_root("Another"), ROOT)
    assert (result.verdict, faults(result)) == (Verdict.VERIFIED, [])
    fingerprint = hashlib.sha256(LEAF.certificate.public_bytes(Encoding.DER)).hexdigest()
    assert (
        f"; by the certificate of CN=Audit,O=Example, issued by CN=Issuer,O=Example, serial number"
        f" {serial_of(LEAF)}, valid from {NOW - DAY:%Y-%m-%d %H:%M:%S} to"
        f" {NOW + 30 * DAY:%Y-%m-%d %H:%M:%S} UTC, SHA-256 {fingerprint},"
        f" which led to a root given on {TODAY}, the day that the bag states"
    ) in said(result)
    assert result.certificate is not None
    assert result.certificate.to_json() == {
        "subject": "CN=Audit,O=Example",
        "issuer": "CN=Issuer,O=Example",
        "serial": serial_of(LEAF),
        "not_before": (NOW - DAY).isoformat(),
        "not_after": (NOW + 30 * DAY).isoformat(),
        "sha256": fingerprint,
    }


@pytest.mark.parametrize(("serial", "shown"), [(0xABC, "0abc"), (0xABCD, "abcd")])
def test_a_serial_number_is_whole_bytes(serial: int, shown: str) -> None:
    chain = CertificateChain.from_pem(pem(MIDDLE.issue("Audit", serial=serial)), "chain")
    assert chain.facts.serial == shown


def test_no_byte_of_a_certified_bag_can_change(certified: Files) -> None:
    for name, content in certified.items():
        at = len(content) // 2
        changed = {**certified, name: content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]}
        for files in (changed, rewrite_manifests(changed)):
            if files != certified:  # a changed manifest is written again
                assert verify(files, ROOT).verdict is Verdict.NOT_VERIFIED, name


def test_without_a_root_the_chain_is_named_and_not_checked(certified: Files, tmp_path: Path) -> None:
    result = verify(certified, key=signer_of(LEAF, tmp_path).public_key)
    assert result.verdict is Verdict.VERIFIED
    assert f"; it has the certificate of {result.certificate}, which was not checked, as no root was" in said(result)
    assert verify(certified).verdict is Verdict.SIGNATURE_UNCHECKED


def test_the_subject_must_be_the_expected_one(certified: Files) -> None:
    assert verify(certified, ROOT, subject="CN=Audit,O=Example").verdict is Verdict.VERIFIED
    result = verify(certified, ROOT, subject="CN=Ann,O=Example")
    problem = "expected the certificate of 'CN=Ann,O=Example', got that of 'CN=Audit,O=Example'"
    assert (result.verdict, faults(result)) == (Verdict.NOT_VERIFIED, [(2, f"certificates.pem: {problem}")])


LATER = MIDDLE.issue("Late", begins=NOW - 20 * DAY, ends=NOW - 10 * DAY)
BELOW = MIDDLE.issue("Below", (authority(), CERTIFIES))
UNKNOWN: Extension = (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)


def names(constraint: x509.GeneralName) -> Extension:
    return x509.NameConstraints([constraint], None), True


def purposes(*oids: x509.ObjectIdentifier) -> Extension:
    return x509.ExtendedKeyUsage(oids), False


def under(middle: Certified) -> tuple[Certified, Certified]:
    """Return a leaf below an authority, and that authority."""
    return middle.issue("Audit"), middle


def below(*extensions: Extension, leaf: tuple[Extension, ...] = (SIGNS,)) -> tuple[Certified, Certified]:
    """Return a leaf, and an authority of these extensions."""
    middle = ROOT.issue("Issuer", extensions)
    return middle.issue("Audit", leaf), middle


WEAK = rsa.generate_private_key(65537, 1024)  # noqa: S505  to be refused

ALTERNATIVE: Extension = (x509.SubjectAlternativeName([x509.RFC822Name("a@other.example")]), False)

ATTACKS: dict[str, tuple[tuple[Certified, ...], str]] = {
    "a leaf that had expired": ((LATER, MIDDLE), "expected a certificate valid at "),
    "a leaf that is not valid yet": (
        (MIDDLE.issue("Soon", begins=NOW + 2 * DAY), MIDDLE),
        "expected a certificate valid",
    ),
    "an authority that is missing": ((LEAF,), "to lead to one of those given"),
    "an authority that had expired": (
        under(ROOT.issue("Issuer", (authority(), CERTIFIES), ends=NOW - DAY / 2)),
        "cert is not valid at validation time",
    ),
    "no authority in the middle": (below(SIGNS), "CA certificate has no basicConstraints"),
    "a leaf in the middle": (
        below((x509.BasicConstraints(ca=False, path_length=None), True)),
        "basicConstraints",
    ),
    "an authority that must not certify": (below(authority(), SIGNS), "must not sign certificates (keyUsage)"),
    "a path that is too long": ((BELOW.issue("Audit"), BELOW, MIDDLE), "path length constraint violated"),
    "an unknown critical extension of the leaf": (
        (MIDDLE.issue("Audit", (SIGNS, UNKNOWN)), MIDDLE),
        "unaccounted-for critical extensions",
    ),
    "an unknown critical extension of an authority": (
        below(authority(), CERTIFIES, UNKNOWN),
        "unaccounted-for critical extensions",
    ),
    "a name that is not permitted": (
        below(authority(), names(x509.RFC822Name("example.com")), leaf=(SIGNS, ALTERNATIVE)),
        "no permitted name constraints matched SAN",
    ),
    "constraints of names that nobody checks": (
        below(authority(), names(x509.DirectoryName(x509.Name([])))),
        "unsupported directoryName constraint",
    ),
    "a leaf that must not sign": (
        (MIDDLE.issue("Audit", [(usage(key_encipherment=True), True)]), MIDDLE),
        "must not sign documents (keyUsage)",
    ),
    "a leaf of a web server": (
        (MIDDLE.issue("Web", [SIGNS, purposes(ExtendedKeyUsageOID.SERVER_AUTH)]), MIDDLE),
        "is for other purposes: 1.3.6.1.5.5.7.3.1 (extendedKeyUsage)",
    ),
    "an authority for web servers": (
        below(authority(), CERTIFIES, purposes(ExtendedKeyUsageOID.SERVER_AUTH)),
        "is for other purposes",
    ),
    "a weak authority": (
        under(ROOT.issue("Issuer", (authority(), CERTIFIES), key=WEAK)),
        "RSA key is too weak",
    ),
    "another key under the name of the authority": (
        (replace(MIDDLE, key=new_key()).issue("Audit"), MIDDLE),
        "signature does not match",
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_invalid_chain_is_refused(attack: str, tmp_path: Path) -> None:
    chain, problem = ATTACKS[attack]
    result = verify(bag_of(tmp_path, *chain), ROOT)
    assert result.verdict is Verdict.NOT_VERIFIED
    ((step, detail),) = faults(result)
    assert step == 2
    assert detail.startswith("certificates.pem: expected")
    assert problem in detail


def test_another_root_of_the_same_name_is_refused(certified: Files) -> None:
    result = verify(certified, make_root())
    ((step, detail),) = faults(result)
    assert (result.verdict, step) == (Verdict.NOT_VERIFIED, 2)
    assert "signature does not match" in detail


def test_a_certificate_of_another_key_is_refused(tmp_path: Path) -> None:
    other = MIDDLE.issue("Boss")
    forged = replace(signer_of(LEAF, tmp_path), certificates=pem(other, MIDDLE))
    (tmp_path / "made").mkdir()
    files = make_bag(tmp_path / "made", to_lines(records()), forged)
    for result in (verify(files, ROOT), verify(files, key=forged.public_key), verify(files)):
        ((step, detail),) = faults(result)
        assert (result.verdict, step) == (Verdict.NOT_VERIFIED, 2)
        assert "certificates.pem: expected first the certificate of the key" in detail


def test_a_replaced_chain_is_refused(certified: Files) -> None:
    again = MIDDLE.issue("Boss", key=LEAF.key)
    replaced = {**certified, bag.CERTIFICATES: pem(again, MIDDLE)}
    for files in (replaced, rewrite_manifests({name: replaced[name] for name in replaced})):
        result = verify(files, ROOT)
        assert result.verdict is Verdict.NOT_VERIFIED
        assert "certificates.pem: expected the SHA-256" in dict(faults(result))[2]


def test_a_certificate_added_to_a_bag_of_a_plain_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    signer = signer_of(LEAF, tmp_path)
    files = make_bag(tmp_path / "made", to_lines(records()), signer)
    plain = verify(files, ROOT)
    problem = "expected the certificates of the signer, got none: it was signed with a plain key, or not at all"
    assert (plain.verdict, faults(plain)) == (Verdict.NOT_VERIFIED, [(2, f"certificates.pem: {problem}")])
    added = rewrite_manifests({**files, bag.CERTIFICATES: pem(LEAF, MIDDLE)})
    for result in (verify(added, ROOT), verify(added, key=signer.public_key)):
        assert result.verdict is Verdict.NOT_VERIFIED
        assert "certificates.pem: expected no such file as in the statement" in dict(faults(result))[2]


def test_certificates_in_an_unsigned_bag_are_refused(certified: Files) -> None:
    result = verify(reseal(certified), ROOT)
    assert (2, "certificates.pem: expected no certificates in an unsigned bag, got some") in faults(result)


def test_the_key_and_the_root_must_both_be_right(certified: Files, tmp_path: Path) -> None:
    key, other = signer_of(LEAF, tmp_path).public_key, signer_of(MIDDLE, tmp_path).public_key
    assert verify(certified, ROOT, key=key).verdict is Verdict.VERIFIED
    assert verify(certified, ROOT, key=other).verdict is Verdict.NOT_VERIFIED


def test_an_expired_chain_is_valid_for_the_day_of_the_bag(tmp_path: Path) -> None:
    old = make_root(ends=NOW - 9 * DAY)
    middle = old.issue("Issuer", (authority(), CERTIFIES), begins=NOW - 30 * DAY, ends=NOW - 9 * DAY)
    leaf = middle.issue("Audit", begins=NOW - 20 * DAY, ends=NOW - 10 * DAY)
    for days, verdict in ((15, Verdict.VERIFIED), (10, Verdict.VERIFIED), (20, Verdict.VERIFIED)):
        assert verify(bag_of(tmp_path, leaf, middle, day=TODAY - timedelta(days)), old).verdict is verdict
    for days in (9, 21):
        result = verify(bag_of(tmp_path, leaf, middle, day=TODAY - timedelta(days)), old)
        assert "expected a certificate valid at" in faults(result)[0][1]


def test_a_bag_without_a_day_needs_a_time_stamp(tmp_path: Path) -> None:
    result = verify(bag_of(tmp_path, LEAF, MIDDLE, day=None), ROOT)
    assert faults(result)[0][1].startswith("bag-info.txt: expected a Bagging-Date")


def test_a_verified_time_stamp_is_the_time_of_signing(certified: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {**certified, bag.TIMESTAMP: b"response"}
    moments = iter([NOW, NOW + 31 * DAY])
    monkeypatch.setattr("elspeth.evidence.verifier.signer.verify_timestamp", lambda *_: next(moments))
    authorities = [make_root("Stamps").certificate]
    result = verify(files, ROOT, authorities=authorities)
    assert result.verdict is Verdict.VERIFIED
    assert said(result).endswith(", which led to a root given when it was time-stamped")
    result = verify(files, ROOT, authorities=authorities)
    assert "expected a certificate valid at" in faults(result)[0][1]


@pytest.mark.parametrize(
    "extensions",
    [
        (purposes(x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36")),),
        (purposes(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE),),
        (purposes(ExtendedKeyUsageOID.CODE_SIGNING),),
        ((usage(content_commitment=True), True),),
        (),
    ],
    ids=["documents", "any", "code", "commitment", "nothing said"],
)
def test_a_certificate_of_a_signer_leads_to_its_root(extensions: tuple[Extension, ...]) -> None:
    chain = CertificateChain.from_pem(pem(MIDDLE.issue("Audit", extensions), MIDDLE), "chain")
    chain.verify([ROOT.certificate], NOW, "chain")


@pytest.mark.parametrize("purpose", [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.EMAIL_PROTECTION])
def test_a_certificate_of_a_person_or_service_may_sign(purpose: x509.ObjectIdentifier, tmp_path: Path) -> None:
    leaf = MIDDLE.issue("Audit", [SIGNS, purposes(ExtendedKeyUsageOID.SERVER_AUTH, purpose)])
    assert verify(bag_of(tmp_path, leaf, MIDDLE), ROOT).verdict is Verdict.VERIFIED


def test_the_subject_is_checked_whatever_states_the_time(certified: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {**certified, bag.TIMESTAMP: b"response"}
    monkeypatch.setattr("elspeth.evidence.verifier.signer.verify_timestamp", lambda *_: NOW)
    authorities = [make_root("Stamps").certificate]
    assert verify(files, ROOT, subject="CN=Audit,O=Example", authorities=authorities).verdict is Verdict.VERIFIED
    result = verify(files, ROOT, subject="CN=Ann,O=Example", authorities=authorities)
    problem = "expected the certificate of 'CN=Ann,O=Example', got that of 'CN=Audit,O=Example'"
    assert (result.verdict, faults(result)) == (Verdict.NOT_VERIFIED, [(2, f"certificates.pem: {problem}")])


@pytest.mark.parametrize("line", ["Bagging-Date: 1999-01-01", "Bagging-Date: {today}"])
def test_a_bag_that_states_two_days_needs_a_time_stamp(certified: Files, tmp_path: Path, line: str) -> None:
    info = certified[bag.BAG_INFO] + line.format(today=TODAY).encode() + b"\n"
    signer = replace(signer_of(LEAF, tmp_path), certificates=pem(LEAF, MIDDLE))
    result = verify(reseal({**certified, bag.BAG_INFO: info}, signer), ROOT)
    assert result.verdict is Verdict.NOT_VERIFIED
    assert faults(result)[0][1].startswith("bag-info.txt: expected a Bagging-Date, the day for which certificates")


def test_a_time_stamp_is_asked_for_if_authorities_are_given(certified: Files) -> None:
    result = verify(certified, ROOT, authorities=[make_root("Stamps").certificate])
    assert faults(result) == [(2, f"{bag.TIMESTAMP}: expected this file, got none")]


def proof_certificate(proof: Proof) -> CertificateFacts:
    return CertificateChain.from_pem(proof.files[bag.CERTIFICATES], "chain").facts


def test_a_proof_carries_the_certificates(certified: Files, tmp_path: Path) -> None:
    for name, content in certified.items():
        (tmp_path / "bag" / name).parent.mkdir(parents=True, exist_ok=True)
        write(tmp_path / "bag" / name, content)
    proof = prove(tmp_path / "bag", "step", "a")
    assert proof.files.keys() == {bag.BAG_INFO, bag.CERTIFICATES}
    path = write(tmp_path / "proof.json", proof.to_bytes())
    by_root = CertifiedBy(roots=[ROOT.certificate], subject="CN=Audit,O=Example")
    result = verify_proof(path, certified_by=by_root)
    assert (result.verdict, faults(result)) == (Verdict.VERIFIED, [])
    assert f"which led to a root given on {TODAY}" in said(result)
    assert result.certificate == proof_certificate(proof)
    assert verify_proof(path).verdict is Verdict.SIGNATURE_UNCHECKED
    again = MIDDLE.issue("Boss", key=LEAF.key)
    for changed in (
        {**proof.files, bag.CERTIFICATES: pem(again, MIDDLE)},
        {**proof.files, bag.BAG_INFO: proof.files[bag.BAG_INFO] + b"Bagging-Date: 1999-01-01\n"},
        {},
    ):
        write(path, replace(proof, files=changed).to_bytes())
        result = verify_proof(path, certified_by=by_root)
        assert (result.verdict, faults(result)[0][0]) == (Verdict.NOT_VERIFIED, 2)
    write(path, replace(proof, files={**proof.files, "more": b""}).to_bytes())
    with pytest.raises(EvidenceError, match="files: expected no further member, got 'more'"):
        verify_proof(path, certified_by=by_root)


def test_damaged_certificates_are_faults_of_step_2(certified: Files, tmp_path: Path) -> None:
    signer = signer_of(LEAF, tmp_path)
    text = certified[bag.CERTIFICATES]
    damaged = [b"", b"nothing", text[:300], text * 20, text[:80] + b"AAAA" + text[84:], b"\xff" * 70_000]
    for content in damaged:
        result = verify(reseal({**certified, bag.CERTIFICATES: content}, signer), ROOT)
        assert (result.verdict, faults(result)[0][0]) == (Verdict.NOT_VERIFIED, 2), content[:40]


def test_a_damaged_certificate_is_refused_without_a_crash() -> None:
    der = bytearray(LEAF.certificate.public_bytes(Encoding.DER))
    roots = [ROOT.certificate]
    for at in range(0, len(der), 3):
        changed = bytes([*der[:at], der[at] ^ 0x15, *der[at + 1 :]])
        text = b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(changed) + b"-----END CERTIFICATE-----\n"
        with pytest.raises(EvidenceError):
            CertificateChain.from_pem(text + pem(MIDDLE), "chain").verify(roots, datetime.now(UTC), "chain")


def test_a_chain_is_checked_before_signing(tmp_path: Path) -> None:
    signer = signer_of(LEAF, tmp_path)
    chain = tmp_path / "chain.pem"

    def refusal(content: bytes) -> str:
        with pytest.raises(EvidenceError) as caught:
            certify(signer, write(chain, content))
        return str(caught.value)

    assert certify(signer, write(chain, b"a comment\n" + LEAF.private_pem + pem(LEAF, MIDDLE))).certificates == pem(
        LEAF, MIDDLE
    )
    assert certify(signer, write(chain, pem(LEAF))).certificates == pem(LEAF)
    assert "expected first the certificate of the key" in refusal(pem(MIDDLE, LEAF))
    assert "to lead to one of those given" in refusal(pem(LEAF, make_root("Another")))
    assert "expected certificates in PEM" in refusal(LEAF.private_pem)
    assert "expected 1 to 10 certificates of at most 65,536 bytes, got 11" in refusal(pem(LEAF, *[MIDDLE] * 10))
    assert certify(signer, write(chain, pem(LEAF, *[MIDDLE] * 9))).certificates == pem(LEAF, *[MIDDLE] * 9)
    late = MIDDLE.issue("Audit", key=LEAF.key, ends=NOW - DAY / 2)
    assert f"{chain}: expected a certificate valid at" in refusal(pem(late, MIDDLE))
    with pytest.raises(EvidenceError, match=r"missing.pem: cannot be read: No such file"):
        certify(signer, tmp_path / "missing.pem")

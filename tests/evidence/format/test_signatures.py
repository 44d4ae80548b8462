"""Keys and signatures: made, accepted and refused."""

from __future__ import annotations

import hashlib
import stat
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.exceptions import Error as SigningError

from elspeth.evidence.format.envelopes import Envelope, pae
from elspeth.evidence.format.errors import EvidenceError, KeyFileError
from elspeth.evidence.format.signatures import (
    PRIVATE_KEY,
    PUBLIC_KEY,
    KeyType,
    PublicKey,
    generate_keys,
    load_public_key,
    load_signer,
)
from elspeth.outputs.policy import OutputRefusedError
from tests.fixtures.full_disk import largest_file


@pytest.mark.parametrize("key_type", KeyType)
def test_a_generated_pair_signs_and_checks(tmp_path: Path, key_type: KeyType) -> None:
    public = generate_keys(tmp_path / "keys", key_type)
    signer = load_signer(str(tmp_path / "keys" / PRIVATE_KEY))
    loaded = load_public_key(tmp_path / "keys" / PUBLIC_KEY)
    assert public.type is loaded.type is key_type
    assert signer.public_key.fingerprint == loaded.fingerprint == public.fingerprint
    assert loaded.accepts(signer.sign(b"data"), b"data")
    assert not loaded.accepts(signer.sign(b"data"), b"other data")
    assert not loaded.accepts(b"no signature", b"data")


@pytest.mark.parametrize(
    ("key_type", "bits"),
    [(KeyType.RSA_PSS, 3072), (KeyType.ECDSA, 256), (KeyType.ECDSA_P384, 384)],
)
def test_a_generated_key_is_as_strong_as_documented(tmp_path: Path, key_type: KeyType, bits: int) -> None:
    key = generate_keys(tmp_path, key_type).key
    assert isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey)
    assert key.key_size == bits


def test_only_the_owner_may_read_the_private_key(tmp_path: Path) -> None:
    generate_keys(tmp_path)
    assert stat.S_IMODE((tmp_path / PRIVATE_KEY).stat().st_mode) == 0o600
    assert (tmp_path / PRIVATE_KEY).read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----\n")  # PKCS#8
    assert (tmp_path / PUBLIC_KEY).read_bytes().startswith(b"-----BEGIN PUBLIC KEY-----\n")  # SPKI


def test_the_fingerprint_agrees_with_openssl(tmp_path: Path) -> None:
    public = generate_keys(tmp_path)
    command = ["openssl", "pkey", "-pubin", "-in", str(tmp_path / PUBLIC_KEY), "-outform"]
    der = subprocess.run([*command, "DER"], check=True, capture_output=True).stdout
    assert public.fingerprint == hashlib.sha256(der).hexdigest()
    text = subprocess.run([*command, "PEM"], check=True, capture_output=True).stdout
    assert public.pem == (tmp_path / PUBLIC_KEY).read_bytes() == text


def test_a_key_may_lie_at_a_path_with_a_colon(tmp_path: Path) -> None:
    directory = tmp_path / "key: mine"
    public = generate_keys(directory)
    assert load_signer(str(directory / PRIVATE_KEY)).public_key == public


@pytest.mark.parametrize("name", [PRIVATE_KEY, PUBLIC_KEY])
def test_a_key_is_never_overwritten(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("precious")
    with pytest.raises(OutputRefusedError) as caught:
        generate_keys(tmp_path)
    assert (
        str(caught.value)
        == f"{tmp_path / name}: exists already, and a key is never overwritten: name another directory"
    )
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "precious")]


@pytest.mark.parametrize("room", [100, 200])  # for neither key, and for the public one alone
def test_a_full_disk_leaves_no_key(tmp_path: Path, room: int) -> None:
    with largest_file(room), pytest.raises(OSError, match="File too large") as caught:
        generate_keys(tmp_path)
    assert caught.value.filename == str(tmp_path / (PUBLIC_KEY if room == 100 else PRIVATE_KEY))
    assert list(tmp_path.iterdir()) == []
    generate_keys(tmp_path)


def test_a_directory_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputRefusedError, match=r"file/elspeth.key.pem: its directory cannot be made: .* is a file"):
        generate_keys(tmp_path / "file")


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, password: bytes | None = None) -> bytes:
    encryption = NoEncryption() if password is None else BestAvailableEncryption(password)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def public_pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


P256 = ec.generate_private_key(ec.SECP256R1())
P521 = ec.generate_private_key(ec.SECP521R1())
SUPPORTED = "expected an ECDSA P-256 or P-384, Ed25519, or RSA key of at least 2048 bits"
OTHER_ALGORITHM = f"{SUPPORTED}, got one of another algorithm"
WEAK_RSA = rsa.generate_private_key(65537, 1024)  # noqa: S505  to be refused
UNUSABLE_PRIVATE = {
    "another curve": (pem(P521), OTHER_ALGORITHM),
    "RSA": (pem(WEAK_RSA), f"{SUPPORTED}, got an RSA key of 1024 bits"),
    "encrypted": (pem(P256, b"password"), "is encrypted, and no pass phrase was given"),
    "public": (public_pem(P256), "expected a private key in PEM; this is a public key, its private half signs"),
    "large": (b"x" * 65537, "expected a key of at most 65,536 bytes, got a larger file"),
}
UNUSABLE_PUBLIC = {
    "another curve": (public_pem(P521), OTHER_ALGORITHM),
    "RSA": (public_pem(WEAK_RSA), f"{SUPPORTED}, got an RSA key of 1024 bits"),
    "private": (pem(P256), "expected a public key in PEM; this is a private key, its public half is needed"),
    "text": (b"text", "expected a public key in PEM"),
}


@pytest.mark.parametrize("case", UNUSABLE_PRIVATE)
def test_an_unusable_private_key_is_refused(tmp_path: Path, case: str) -> None:
    data, problem = UNUSABLE_PRIVATE[case]
    (tmp_path / "key").write_bytes(data)
    with pytest.raises(KeyFileError) as caught:
        load_signer(str(tmp_path / "key"))
    assert str(caught.value) == f"{tmp_path / 'key'}: {problem}"


@pytest.mark.parametrize("case", UNUSABLE_PUBLIC)
def test_an_unusable_public_key_is_refused(tmp_path: Path, case: str) -> None:
    data, problem = UNUSABLE_PUBLIC[case]
    (tmp_path / "key").write_bytes(data)
    with pytest.raises(KeyFileError) as caught:
        load_public_key(tmp_path / "key")
    assert str(caught.value) == f"{tmp_path / 'key'}: {problem}"


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError) as caught:
        load_public_key(tmp_path / "key")
    assert str(caught.value) == f"{tmp_path / 'key'}: cannot be read: No such file or directory"


MADE_BY_OPENSSL = {
    "P-256": "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256",
    "P-384": "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384",
    "Ed25519": "genpkey -algorithm ED25519",
    "RSA": "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048",
}


@pytest.mark.parametrize("kind", MADE_BY_OPENSSL)
def test_an_encrypted_key_of_openssl_signs_what_openssl_accepts(tmp_path: Path, kind: str) -> None:
    private, public = tmp_path / "key.pem", tmp_path / "pub.pem"
    encrypted = ["-aes-256-cbc", "-pass", "pass:open sesame", "-out", str(private)]
    openssl(*MADE_BY_OPENSSL[kind].split(), *encrypted)
    openssl("pkey", "-in", str(private), "-passin", "pass:open sesame", "-pubout", "-out", str(public))
    signer = load_signer(str(private), passphrase=lambda key: "open sesame" if key == str(private) else None)
    assert signer.public_key.pem == public.read_bytes()
    (tmp_path / "data").write_bytes(pae("t", b"payload"))
    (tmp_path / "sig").write_bytes(signer.sign(pae("t", b"payload")))
    check = ["pkeyutl", "-verify", "-pubin", "-inkey", str(public), "-rawin", "-in", str(tmp_path / "data")]
    digest = {"P-256": "sha256", "P-384": "sha384", "RSA": "sha256"}.get(kind)
    padding = ["-pkeyopt", "rsa_padding_mode:pss", "-pkeyopt", "rsa_pss_saltlen:digest"] if kind == "RSA" else []
    openssl(*check, *(["-digest", digest] if digest else []), *padding, "-sigfile", str(tmp_path / "sig"))
    envelope = Envelope.sign(b"payload", "t", signer)
    Envelope.from_bytes(envelope.to_bytes(), "e").verify(load_public_key(public), "e", low_s=True)
    with pytest.raises(EvidenceError, match="the signature does not fit"):
        replace(envelope, payload=b"other").verify(signer.public_key, "e")


def openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def test_a_signature_of_openssl_is_accepted(tmp_path: Path) -> None:
    key, data, signature = tmp_path / "key.pem", tmp_path / "data", tmp_path / "sig"
    openssl(*MADE_BY_OPENSSL["RSA"].split(), "-out", str(key))
    data.write_bytes(b"payload")
    options = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"]
    openssl("dgst", "-sha256", "-sign", str(key), *options, "-out", str(signature), str(data))
    public = load_signer(str(key)).public_key
    assert public.accepts(signature.read_bytes(), b"payload")
    assert not public.accepts(signature.read_bytes(), b"other")


@pytest.fixture(scope="module")
def pss_only(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a key restricted to RSASSA-PSS."""
    path = tmp_path_factory.mktemp("pss") / "key.pem"
    openssl("genpkey", "-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048", "-out", str(path))
    return path


@pytest.mark.parametrize("encryption", ["", "-v2prf hmacWithSHA1", "-v2 aes-128-cbc -v2prf hmacWithSHA512", "-scrypt"])
def test_an_encrypted_key_that_is_restricted_to_pss_is_refused_before_it_signs(
    pss_only: Path, tmp_path: Path, encryption: str
) -> None:
    encrypted = tmp_path / "key.pem"
    encrypting = ["pkcs8", "-topk8", *encryption.split(), "-passout", "pass:open sesame"]
    openssl(*encrypting, "-in", str(pss_only), "-out", str(encrypted))
    with pytest.raises(KeyFileError, match=r"restricted to it \(id-RSASSA-PSS\)"):
        load_signer(str(encrypted), passphrase=lambda _: "open sesame")
    with pytest.raises(KeyFileError, match="cannot be decrypted"):
        load_signer(str(encrypted), passphrase=lambda _: "another")


def test_a_key_pair_restricted_to_pss_is_refused(pss_only: Path, tmp_path: Path) -> None:
    public, certificate = tmp_path / "pub.pem", tmp_path / "certificate.pem"
    openssl("pkey", "-in", str(pss_only), "-pubout", "-out", str(public))
    openssl("req", "-x509", "-new", "-key", str(pss_only), "-subj", "/CN=Audit", "-out", str(certificate))
    for path in (public, certificate):
        with pytest.raises(KeyFileError, match=r"restricted to it \(id-RSASSA-PSS\)"):
            load_public_key(path)
    with pytest.raises(KeyFileError, match=r"restricted to it \(id-RSASSA-PSS\)"):
        load_signer(str(pss_only))


def test_an_encrypted_key_that_cannot_be_examined_signs(tmp_path: Path) -> None:
    (tmp_path / "plain.pem").write_bytes(pem(P256))
    encrypting = ["pkcs8", "-topk8", "-v2", "des3", "-passout", "pass:open sesame"]
    openssl(*encrypting, "-in", str(tmp_path / "plain.pem"), "-out", str(tmp_path / "key.pem"))
    signer = load_signer(str(tmp_path / "key.pem"), passphrase=lambda _: "open sesame")
    assert signer.public_key.accepts(signer.sign(b"data"), b"data")


def test_another_pass_phrase_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(pem(P256, b"password"))
    with pytest.raises(KeyFileError) as caught:
        load_signer(str(tmp_path / "key"), passphrase=lambda _: "another")
    problem = "cannot be decrypted: the pass phrase is not the key's, or the file is damaged"
    assert str(caught.value) == f"{tmp_path / 'key'}: {problem}"


def test_a_signer_is_found_by_its_uri(tmp_path: Path) -> None:
    generate_keys(tmp_path)
    signer = load_signer(f"file2:{tmp_path / PRIVATE_KEY}", public_key=tmp_path / PUBLIC_KEY)
    assert signer.public_key.accepts(signer.sign(b"data"), b"data")


def test_a_signer_by_uri_needs_its_public_key() -> None:
    with pytest.raises(KeyFileError) as caught:
        load_signer("awskms:arn")
    assert str(caught.value) == "awskms:arn: needs the public key that belongs to it, as a PEM file"


def test_a_signer_that_uses_another_key_seals_nothing(tmp_path: Path) -> None:
    other = generate_keys(tmp_path / "other")
    generate_keys(tmp_path)
    signer = replace(load_signer(str(tmp_path / PRIVATE_KEY)), public_key=other)
    with pytest.raises(KeyFileError) as caught:
        signer.sign(b"data")
    problem = "the signature is not by the public key given: check that they belong together"
    assert str(caught.value) == f"signing: {problem}"


@pytest.mark.parametrize("fault", [OSError("no network"), SigningError("no card"), ValueError("no hexadecimal")])
def test_a_failing_signer_is_an_error_of_the_key(tmp_path: Path, fault: Exception) -> None:
    class Service:
        def sign(self, _: bytes) -> object:
            raise fault

    generate_keys(tmp_path)
    signer = replace(load_signer(str(tmp_path / PRIVATE_KEY)), backend=Service())  # type: ignore[arg-type]
    with pytest.raises(KeyFileError, match=f"^signing: the signer failed: {fault}$"):
        signer.sign(b"data")


def test_an_unknown_signer_is_named(tmp_path: Path) -> None:
    generate_keys(tmp_path)
    uri = f"file2:{tmp_path / 'gone'}"
    with pytest.raises(KeyFileError, match=f"{uri}: cannot be used: "):
        load_signer(uri, public_key=tmp_path / PUBLIC_KEY)


@given(st.binary() | st.binary().map(lambda data: b"-----BEGIN PUBLIC KEY-----\n" + data))
def test_arbitrary_bytes_are_not_a_key(data: bytes) -> None:
    with pytest.raises(KeyFileError):
        PublicKey.from_pem(data, "key")

"""Keys: what is written, what is accepted, what is refused."""

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

from elspeth.evidence.format.errors import KeyFileError
from elspeth.evidence.format.keys import (
    PRIVATE_KEY,
    PUBLIC_KEY,
    KeyType,
    PublicKey,
    generate,
    load_public_key,
    load_signer,
)


@pytest.mark.parametrize("key_type", KeyType)
def test_a_generated_pair_signs_and_checks(tmp_path: Path, key_type: KeyType) -> None:
    public = generate(tmp_path / "keys", key_type)
    signer = load_signer(str(tmp_path / "keys" / PRIVATE_KEY))
    loaded = load_public_key(tmp_path / "keys" / PUBLIC_KEY)
    assert public.type is loaded.type is key_type
    assert signer.public_key.fingerprint == loaded.fingerprint == public.fingerprint
    assert loaded.accepts(signer.sign(b"data"), b"data")
    assert not loaded.accepts(signer.sign(b"data"), b"other data")
    assert not loaded.accepts(b"no signature", b"data")


def test_only_the_owner_may_read_the_private_key(tmp_path: Path) -> None:
    generate(tmp_path)
    assert stat.S_IMODE((tmp_path / PRIVATE_KEY).stat().st_mode) == 0o600
    assert (tmp_path / PRIVATE_KEY).read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----\n")  # PKCS#8
    assert (tmp_path / PUBLIC_KEY).read_bytes().startswith(b"-----BEGIN PUBLIC KEY-----\n")  # SPKI


def test_the_fingerprint_is_what_openssl_says(tmp_path: Path) -> None:
    public = generate(tmp_path)
    command = ["openssl", "pkey", "-pubin", "-in", str(tmp_path / PUBLIC_KEY), "-outform", "DER"]
    der = subprocess.run(command, check=True, capture_output=True).stdout
    assert public.fingerprint == hashlib.sha256(der).hexdigest()


@pytest.mark.parametrize("name", [PRIVATE_KEY, PUBLIC_KEY])
def test_a_key_is_never_overwritten(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("precious")
    with pytest.raises(KeyFileError) as caught:
        generate(tmp_path)
    assert (
        str(caught.value)
        == f"{tmp_path / name}: exists already, and a key is never overwritten: name another directory"
    )
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "precious")]


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(KeyFileError, match=r"file/elspeth.key.pem: its directory cannot be made: .*file is a file"):
        generate(tmp_path / "file")


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, password: bytes | None = None) -> bytes:
    encryption = NoEncryption() if password is None else BestAvailableEncryption(password)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def public_pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


P256, P384 = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1())
OTHER_ALGORITHM = "expected an ECDSA P-256 or Ed25519 key, got one of another algorithm"
UNUSABLE_PRIVATE = {
    "another curve": (pem(P384), OTHER_ALGORITHM),
    "RSA": (pem(rsa.generate_private_key(65537, 2048)), OTHER_ALGORITHM),
    "encrypted": (pem(P256, b"password"), "expected an unencrypted private key in PKCS#8 PEM"),
    "public": (public_pem(P256), "expected an unencrypted private key in PKCS#8 PEM"),
    "large": (b"x" * 65537, "expected a key, got a file of more than 65,536 bytes"),
}
UNUSABLE_PUBLIC = {
    "another curve": (public_pem(P384), OTHER_ALGORITHM),
    "private": (pem(P256), "expected a public key in PEM; this is a private key, its public half is needed"),
    "text": (b"text", "expected a public key in PEM"),
}


@pytest.mark.parametrize("case", UNUSABLE_PRIVATE)
def test_a_private_key_that_cannot_be_used(tmp_path: Path, case: str) -> None:
    data, problem = UNUSABLE_PRIVATE[case]
    (tmp_path / "key").write_bytes(data)
    with pytest.raises(KeyFileError) as caught:
        load_signer(str(tmp_path / "key"))
    assert str(caught.value) == f"{tmp_path / 'key'}: {problem}"


@pytest.mark.parametrize("case", UNUSABLE_PUBLIC)
def test_a_public_key_that_cannot_be_used(tmp_path: Path, case: str) -> None:
    data, problem = UNUSABLE_PUBLIC[case]
    (tmp_path / "key").write_bytes(data)
    with pytest.raises(KeyFileError) as caught:
        load_public_key(tmp_path / "key")
    assert str(caught.value) == f"{tmp_path / 'key'}: {problem}"


def test_a_key_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError) as caught:
        load_public_key(tmp_path / "key")
    assert str(caught.value) == f"{tmp_path / 'key'}: cannot be read: No such file or directory"


def test_a_signer_by_uri(tmp_path: Path) -> None:
    generate(tmp_path)
    signer = load_signer(f"file2:{tmp_path / PRIVATE_KEY}", public_key=tmp_path / PUBLIC_KEY)
    assert signer.public_key.accepts(signer.sign(b"data"), b"data")


def test_a_signer_by_uri_needs_its_public_key() -> None:
    with pytest.raises(KeyFileError) as caught:
        load_signer("awskms:arn")
    assert str(caught.value) == "awskms:arn: needs the public key that belongs to it, as a PEM file"


def test_a_signer_that_uses_another_key_seals_nothing(tmp_path: Path) -> None:
    other = generate(tmp_path / "other")
    generate(tmp_path)
    signer = replace(load_signer(str(tmp_path / PRIVATE_KEY)), public_key=other)
    with pytest.raises(KeyFileError) as caught:
        signer.sign(b"data")
    problem = "the signature is not by the public key given: check that they belong together"
    assert str(caught.value) == f"signing: {problem}"


def test_a_signer_by_uri_that_is_not_there(tmp_path: Path) -> None:
    generate(tmp_path)
    uri = f"file2:{tmp_path / 'gone'}"
    with pytest.raises(KeyFileError, match=f"{uri}: cannot be used: "):
        load_signer(uri, public_key=tmp_path / PUBLIC_KEY)


@given(st.binary() | st.binary().map(lambda data: b"-----BEGIN PUBLIC KEY-----\n" + data))
def test_arbitrary_bytes_are_no_key(data: bytes) -> None:
    with pytest.raises(KeyFileError):
        PublicKey.from_pem(data, "key")

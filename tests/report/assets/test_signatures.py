"""The page checks signatures that `cryptography` made."""

from __future__ import annotations

import json
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from elspeth.evidence.format.envelopes import pae
from tests.fixtures.browser import Tab
from tests.report.scripts import bytes_in

DATA = b"what is signed"
ORDERS = {
    "P-256": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "P-384": 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973,
}
PSS = padding.PSS(padding.MGF1(SHA256()), padding.PSS.DIGEST_LENGTH)


def with_low_s(signature: bytes, curve: str, *, low: bool = True) -> bytes:
    r, s = decode_dss_signature(signature)
    return encode_dss_signature(r, min(s, ORDERS[curve] - s) if low else max(s, ORDERS[curve] - s))


def signed_by(kind: str) -> tuple[PublicKeyTypes, bytes]:
    """Return a new key of a kind, and its signature."""
    if kind == "Ed25519":
        edwards = ed25519.Ed25519PrivateKey.generate()
        return edwards.public_key(), edwards.sign(DATA)
    if kind == "RSA-PSS":
        large = rsa.generate_private_key(65537, 2048)
        return large.public_key(), large.sign(DATA, PSS, SHA256())
    is_small = kind == "P-256"
    curve = ec.generate_private_key(ec.SECP256R1() if is_small else ec.SECP384R1())
    return curve.public_key(), with_low_s(curve.sign(DATA, ec.ECDSA(SHA256() if is_small else SHA384())), kind)


def pem_of(key: PublicKeyTypes) -> str:
    return json.dumps(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


def check(code: Tab, key: PublicKeyTypes, signature: bytes, data: bytes = DATA) -> str | None:
    """Return why the page refuses a signature, or None."""
    found: str | None = code.evaluate(
        f"""VerifyingKey.fromPem({pem_of(key)}, "key")
          .then((key) => key.verify({bytes_in(signature)}, {bytes_in(data)}, "place", {{ lowS: true }}))
          .then(() => null, (error) => error.message)"""
    )
    return found


@pytest.mark.parametrize("kind", ["P-256", "P-384", "Ed25519", "RSA-PSS"])
def test_a_signature_is_valid_for_its_data_only(code: Tab, kind: str) -> None:
    key, signature = signed_by(kind)
    other, _ = signed_by(kind)
    assert check(code, key, signature) is None
    for refused in (check(code, key, signature, DATA + b"!"), check(code, other, signature)):
        assert refused == "place: the signature does not fit the payload: one of them was altered"
    for end in range(0, len(signature), 9):
        assert check(code, key, signature[:end]) is not None


@pytest.mark.parametrize("kind", ["P-256", "P-384"])
def test_other_forms_of_a_signature_are_refused(code: Tab, kind: str) -> None:
    key, signature = signed_by(kind)
    assert check(code, key, with_low_s(signature, kind, low=False)) == (
        "place: expected the form of the signature with a low S: it was rewritten"
    )
    problem = "place: the signature does not fit the payload: it is not a signature in DER"
    length, (r_length, *_) = signature[1], signature[3:]
    padded = bytes([0x30, length + 1, 2, r_length + 1, 0]) + signature[4:]
    longer = bytes([0x30, 0x81, length]) + signature[2:]
    for other in (padded, longer, signature + b"\x00", b""):
        assert check(code, key, other) == problem


@pytest.mark.parametrize("kind", ["P-256", "P-384", "Ed25519", "RSA-PSS"])
def test_a_key_is_identified_by_the_hash_of_its_der(code: Tab, kind: str) -> None:
    key, _ = signed_by(kind)
    found = code.evaluate(f'VerifyingKey.fromPem({pem_of(key)}, "key").then((key) => key.fingerprint)')
    assert found == sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def test_weak_and_unknown_keys_are_refused(code: Tab) -> None:
    weak = rsa.generate_private_key(65537, 1024).public_key()  # noqa: S505  to be refused
    unknown = ec.generate_private_key(ec.SECP521R1()).public_key()
    assert check(code, weak, b"") == "key: expected a public key in PEM: an RSA key needs 2048 bits"
    assert check(code, unknown, b"") == (
        "key: expected a key of ECDSA P-256 or ECDSA P-384 or RSA-PSS or Ed25519, got one of another algorithm"
    )


def test_the_signed_bytes_are_those_of_dsse(code: Tab) -> None:
    payload = "{\u00fc}".encode()
    assert code.evaluate(f"toHex(preAuthentication('text/\u00fc', {bytes_in(payload)}))") == (
        pae("text/\u00fc", payload).hex()
    )

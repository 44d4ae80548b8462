"""A company's PKI, made for a test."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)

Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
Extension = tuple[x509.ExtensionType, bool]
"""An extension, and whether it is critical."""


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def name(common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example"),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def usage(**given: bool) -> x509.KeyUsage:
    """Return a key usage of the bits given."""
    bits = ["digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"]
    bits += ["key_cert_sign", "crl_sign", "encipher_only", "decipher_only"]
    return x509.KeyUsage(**{bit: given.get(bit, False) for bit in bits})


SIGNS: Extension = (usage(digital_signature=True), True)
CERTIFIES: Extension = (usage(key_cert_sign=True, crl_sign=True), True)


def authority(path_length: int | None = None) -> Extension:
    return x509.BasicConstraints(ca=True, path_length=path_length), True


@dataclass(frozen=True, slots=True, kw_only=True)
class Certified:
    """A key with its certificate."""

    key: Key
    certificate: x509.Certificate

    def issue(
        self,
        common: str,
        extensions: Iterable[Extension] = (SIGNS,),
        *,
        key: Key | None = None,
        begins: datetime = NOW - DAY,
        ends: datetime = NOW + 30 * DAY,
        serial: int | None = None,
    ) -> Certified:
        """Return what this authority certifies."""
        key = key or new_key()
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(common))
            .issuer_name(self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(serial or x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(ends)
        )
        return Certified(key=key, certificate=sign(builder, extensions, self.key))

    @property
    def private_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def make_root(common: str = "Root", *extensions: Extension, ends: datetime = NOW + 900 * DAY) -> Certified:
    """Return an authority that certifies itself."""
    key = new_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(common))
        .issuer_name(name(common))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - 900 * DAY)
        .not_valid_after(ends)
    )
    return Certified(key=key, certificate=sign(builder, extensions or (authority(), CERTIFIES), key))


def sign(builder: x509.CertificateBuilder, extensions: Iterable[Extension], key: Key) -> x509.Certificate:
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else SHA256())


def pem(*certified: Certified) -> bytes:
    """Return certificates in PEM, in this order."""
    return b"".join(each.certificate.public_bytes(Encoding.PEM) for each in certified)


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path

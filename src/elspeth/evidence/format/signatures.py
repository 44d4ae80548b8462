"""Keys that make and check signatures.

Keys are ECDSA P-256 by default, or P-384, Ed25519 or RSA. A private key is a PEM file, encrypted or not, or lies in a
KMS or HSM that a URI names. A key is identified by its fingerprint: the SHA-256 of the public key's
SubjectPublicKeyInfo in DER (RFC 5280, section 4.1.2.7), which
`openssl pkey -pubin -in PUBLIC.pem -outform DER | sha256sum` prints, too.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from cryptography.x509 import Certificate, load_pem_x509_certificate
from cryptography.x509.oid import PublicKeyAlgorithmOID
from securesystemslib.exceptions import Error as SigningError

from elspeth.evidence.format.errors import KeyFileError
from elspeth.evidence.format.files import read_small_file
from elspeth.evidence.format.key_type import KeyType
from elspeth.evidence.format.pss_only import is_pss_only
from elspeth.outputs.policy import Kind, OutputPolicy, check_output
from elspeth.outputs.writing import hold

if TYPE_CHECKING:
    # Its exports are not declared for type checkers.
    from securesystemslib.signer import Signer as LibrarySigner  # type: ignore[attr-defined]
    from securesystemslib.signer import SSlibKey  # type: ignore[attr-defined]

__all__ = [
    "PRIVATE_KEY",
    "PUBLIC_KEY",
    "KeyType",
    "Passphrase",
    "PublicKey",
    "Signer",
    "generate_keys",
    "load_public_key",
    "load_signer",
]

PRIVATE_KEY = "elspeth.key.pem"
PUBLIC_KEY = "elspeth.pub.pem"

_ORDERS = {
    KeyType.ECDSA: 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    KeyType.ECDSA_P384: int(
        "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973", 16
    ),
}
"""The orders of the curves (SEC 2, sections 2.4.2 and 2.5.1)."""

_RSA_BITS = 3072
"""The size of a new RSA key in bits: as strong as P-256, according to NIST SP 800-57."""
_LEAST_RSA_BITS = 2048

_PSS = padding.PSS(padding.MGF1(SHA256()), padding.PSS.DIGEST_LENGTH)

_MAX_SIZE = 64 * 1024
"""The largest key file that is read, in bytes. A key takes less than one kilobyte."""

_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"

_PSS_ONLY = (
    "expected an RSA key of the common kind (rsaEncryption), which also signs with RSASSA-PSS, got one that is"
    " restricted to it (id-RSASSA-PSS): its fingerprint would not be that of its file"
)

_Supported: TypeAlias = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey
_Private: TypeAlias = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
Passphrase: TypeAlias = Callable[[str], str | None]
"""Returns the pass phrase of an encrypted key by its name, or None if nobody knows it."""
_ALGORITHMS = f"an ECDSA P-256 or P-384, Ed25519, or RSA key of at least {_LEAST_RSA_BITS} bits"
_UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm)
_TAKEN = "exists already, and a key is never overwritten: name another directory"
_NEW_KEY = OutputPolicy(kind=Kind.UNIQUE, objection=lambda _: _TAKEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A key that checks signatures."""

    key: _Supported

    @classmethod
    def from_pem(cls, pem: bytes, place: str) -> PublicKey:
        """Read a SubjectPublicKeyInfo or a certificate in PEM.

        Of several certificates the first counts, and only its key is used. Raises KeyFileError for anything else.
        """
        try:
            if _CERTIFICATE in pem:
                return cls.from_certificate(load_pem_x509_certificate(pem), place)
            key = load_pem_public_key(pem)
        except _UNREADABLE as error:
            hint = "; this is a private key, its public half is needed" if b"PRIVATE KEY" in pem else ""
            raise KeyFileError(place, f"expected a public key in PEM{hint}") from error
        if is_pss_only(pem):
            raise KeyFileError(place, _PSS_ONLY)
        return cls(key=_supported(key, place))

    @classmethod
    def from_certificate(cls, certificate: Certificate, place: str) -> PublicKey:
        """Return the key of a certificate.

        Raises KeyFileError for a key of another algorithm, ValueError for a malformed certificate.
        """
        if certificate.public_key_algorithm_oid == PublicKeyAlgorithmOID.RSASSA_PSS:
            raise KeyFileError(place, _PSS_ONLY)
        return cls(key=_supported(certificate.public_key(), place))

    @property
    def type(self) -> KeyType:
        """The signature algorithm."""
        if isinstance(self.key, ed25519.Ed25519PublicKey):
            return KeyType.ED25519
        if isinstance(self.key, rsa.RSAPublicKey):
            return KeyType.RSA_PSS
        return KeyType.ECDSA if isinstance(self.key.curve, ec.SECP256R1) else KeyType.ECDSA_P384

    @property
    def pem(self) -> bytes:
        """The SubjectPublicKeyInfo in PEM."""
        return self.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the SubjectPublicKeyInfo in DER, in hexadecimal."""
        return sha256(self.key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()

    def accepts(self, signature: bytes, data: bytes) -> bool:
        """Return whether the private half made this signature."""
        try:
            if isinstance(self.key, ed25519.Ed25519PublicKey):
                self.key.verify(signature, data)
            elif isinstance(self.key, rsa.RSAPublicKey):
                self.key.verify(signature, data, _PSS, SHA256())
            else:
                is_p256 = isinstance(self.key.curve, ec.SECP256R1)
                self.key.verify(signature, data, ec.ECDSA(SHA256() if is_p256 else SHA384()))
        except InvalidSignature:
            return False
        return True

    def low_s(self, signature: bytes) -> bytes:
        """Return the form of the signature with a low S.

        From an ECDSA signature (r, s) anyone can make a second valid one, (r, n - s). Only the one with the smaller S
        is accepted, as in BIP 146. Other signatures have a single form and are returned unchanged. Raises ValueError
        for bytes that are not a signature.
        """
        order = _ORDERS.get(self.type)
        if order is None:
            return signature
        r, s = decode_dss_signature(signature)
        return encode_dss_signature(r, min(s, order - s))


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """Makes signatures, here or in a KMS or HSM."""

    public_key: PublicKey
    backend: LibrarySigner
    certificates: bytes | None = None
    """The X.509 chain of the key in PEM, if it has one; `certificates.certify` sets it."""

    def sign(self, data: bytes) -> bytes:
        """Sign data.

        Returns DER with a low S for ECDSA, 64 bytes for Ed25519, and as many bytes as the modulus has for RSA. Raises
        KeyFileError if the signer fails.
        """
        try:
            signature = self.public_key.low_s(bytes.fromhex(self.backend.sign(data).signature))
        except (SigningError, ValueError, OSError) as error:
            raise KeyFileError("signing", f"the signer failed: {error}") from error
        if not self.public_key.accepts(signature, data):
            # A service may sign with another key than the one that was named: then nothing must be sealed.
            problem = "the signature is not by the public key given: check that they belong together"
            raise KeyFileError("signing", problem)
        return signature


def generate_keys(directory: Path, key_type: KeyType = KeyType.ECDSA) -> PublicKey:
    """Make a key pair in a directory.

    The private half is a PKCS#8 PEM that only its owner may read. A crash leaves both files, none, or only the private
    key, from which `openssl pkey -pubout` derives the public half.

    Raises OutputRefusedError if either file exists, because bags may have been signed with that key; OSError if the
    files cannot be written.
    """
    key = _generate(key_type)
    public = PublicKey(key=key.public_key())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    private_path, public_path = directory / PRIVATE_KEY, directory / PUBLIC_KEY
    check_output(private_path, _NEW_KEY)
    check_output(public_path, _NEW_KEY)
    with (
        hold(private_path, _NEW_KEY) as private_output,
        hold(public_path, _NEW_KEY) as public_output,
        public_output.file() as public_file,
    ):
        public_file.write(public.pem)
        public_file.flush()
        os.fsync(public_file.fileno())  # first, so that a full disk leaves no private key behind
        with private_output.file(mode=0o600) as private_file:
            private_file.write(pem)
    return public


def _generate(key_type: KeyType) -> _Private:
    if key_type is KeyType.ED25519:
        return ed25519.Ed25519PrivateKey.generate()
    if key_type is KeyType.RSA_PSS:
        return rsa.generate_private_key(65537, _RSA_BITS)
    return ec.generate_private_key(ec.SECP256R1() if key_type is KeyType.ECDSA else ec.SECP384R1())


def load_public_key(path: Path) -> PublicKey:
    """Load the key of a PEM file.

    Raises KeyFileError if it cannot be read or used.
    """
    return PublicKey.from_pem(read_small_file(path, "a key", _MAX_SIZE, KeyFileError), str(path))


def load_signer(key: str, *, public_key: Path | None = None, passphrase: Passphrase = lambda _: None) -> Signer:
    """Load a signer from a PEM file or URI.

    The file is PKCS#8 or one of the traditional formats of OpenSSL; `passphrase` is called if it is encrypted. The URI
    is one that securesystemslib supports, such as `awskms:...`, and needs the PEM file of the public key. Raises
    KeyFileError if the key cannot be used.
    """
    # Imported only where a key signs, because the library loads the clients of all installed services.
    from securesystemslib.signer import SIGNER_FOR_URI_SCHEME, CryptoSigner  # type: ignore[attr-defined]  # noqa: PLC0415

    if urlsplit(key).scheme in SIGNER_FOR_URI_SCHEME:
        return _remote_signer(key, public_key)
    private = _load_private(key, passphrase)
    if not isinstance(private, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey):
        raise KeyFileError(key, f"expected {_ALGORITHMS}, got one of another algorithm")
    public = PublicKey(key=_supported(private.public_key(), key))
    return Signer(public_key=public, backend=CryptoSigner(private, _library_key(public)))


def _remote_signer(uri: str, public_key: Path | None) -> Signer:
    from securesystemslib.signer import Signer as LibrarySigner  # type: ignore[attr-defined]  # noqa: PLC0415

    if public_key is None:
        raise KeyFileError(uri, "needs the public key that belongs to it, as a PEM file")
    public = load_public_key(public_key)
    try:
        signer = LibrarySigner.from_priv_key_uri(uri, _library_key(public))
    except (SigningError, *_UNREADABLE, OSError) as error:
        raise KeyFileError(uri, f"cannot be used: {error}") from error
    return Signer(public_key=public, backend=signer)


def _load_private(key: str, passphrase: Passphrase) -> object:
    pem = read_small_file(Path(key), "a key", _MAX_SIZE, KeyFileError)
    if is_pss_only(pem):
        raise KeyFileError(key, _PSS_ONLY)
    try:
        return load_pem_private_key(pem, password=None)
    except TypeError as error:  # the key is encrypted
        phrase = passphrase(key)
        if not phrase:
            raise KeyFileError(key, "is encrypted, and no pass phrase was given") from error
    except _UNREADABLE as error:
        hint = "; this is a public key, its private half signs" if b"PUBLIC KEY" in pem else ""
        raise KeyFileError(key, f"expected a private key in PEM{hint}") from error
    try:
        found = load_pem_private_key(pem, password=phrase.encode())
    except _UNREADABLE as error:
        raise KeyFileError(
            key, "cannot be decrypted: the pass phrase is not the key's, or the file is damaged"
        ) from error
    if is_pss_only(pem, phrase.encode()):
        raise KeyFileError(key, _PSS_ONLY)
    return found


def _library_key(public: PublicKey) -> SSlibKey:
    from securesystemslib.signer import SSlibKey  # type: ignore[attr-defined]  # noqa: PLC0415

    return SSlibKey.from_crypto(public.key, keyid=public.fingerprint)


def _supported(key: object, place: str) -> _Supported:
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1):
        return key
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size >= _LEAST_RSA_BITS:
            return key
        raise KeyFileError(place, f"expected {_ALGORITHMS}, got an RSA key of {key.key_size} bits")
    raise KeyFileError(place, f"expected {_ALGORITHMS}, got one of another algorithm")

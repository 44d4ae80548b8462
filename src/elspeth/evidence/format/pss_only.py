"""Recognises keys that are restricted to RSASSA-PSS.

The library that loads keys turns them into ordinary RSA keys, and forgets the hash and salt to which they are
restricted. The public key that it returns therefore has another fingerprint than the key in the file. So this module
looks for the object identifier of the algorithm (RFC 4055, section 1.2) in the file itself.
"""

from __future__ import annotations

import base64
import re

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.hashes import SHA1, SHA224, SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from elspeth.evidence.format.der import Element, children

__all__ = ["is_pss_only"]

_PSS_ONLY = bytes.fromhex("06092a864886f70d01010a")
"""The DER of id-RSASSA-PSS."""

_PEM = re.compile(rb"-----BEGIN (ENCRYPTED )?(?:PUBLIC|PRIVATE) KEY-----([A-Za-z0-9+/=\s]+)-----END ")
_START = 48
"""How many first bytes of a key's DER hold its algorithm: a multiple of the block size of AES."""

_SEQUENCE = 0x30
_PBKDF2 = bytes.fromhex("2a864886f70d01050c")
_SCRYPT = bytes.fromhex("2b06010401da47040b")
_AES_CBC = {bytes.fromhex(f"6086480165030401{last}"): size for last, size in (("02", 16), ("16", 24), ("2a", 32))}
"""The key sizes of the ciphers in bytes, by object identifier (NIST's arc aes)."""

_HMACS: dict[bytes, type[HashAlgorithm]] = {
    bytes.fromhex(f"2a864886f70d02{last}"): algorithm
    for last, algorithm in (("07", SHA1), ("08", SHA224), ("09", SHA256), ("0a", SHA384), ("0b", SHA512))
}


def is_pss_only(pem: bytes, passphrase: bytes | None = None) -> bool:
    """Return whether a key is restricted to RSASSA-PSS.

    An encrypted key needs its pass phrase. It must be encrypted with AES in PBES2, the default of OpenSSL; the answer
    for any other encryption is False, because the key cannot be examined.
    """
    found = _PEM.search(pem)
    if found is None:
        return False
    try:
        der = base64.b64decode(b"".join(found[2].split()))
        if found[1]:
            der = b"" if passphrase is None else _decrypted_start(der, passphrase)
    except (ValueError, IndexError, KeyError, TypeError):
        return False
    return _PSS_ONLY in der[:_START]


def _decrypted_start(der: bytes, passphrase: bytes) -> bytes:
    """Decrypt the first bytes of a key (RFC 8018, PBES2).

    Raises ValueError, IndexError, KeyError or TypeError for other forms of encryption.
    """
    (_, info) = children(der)[0]
    (_, algorithm), (_, data) = children(info)
    _, (_, parameters) = children(algorithm)
    (_, derivation), (_, cipher) = children(parameters)
    (_, name), (_, vector) = children(cipher)
    key = _derive(derivation, passphrase, _AES_CBC[name])
    return Cipher(AES(key), CBC(vector)).decryptor().update(data[:_START])


def _derive(derivation: bytes, passphrase: bytes, size: int) -> bytes:
    """Derive the encryption key (RFC 8018, RFC 7914)."""
    (_, name), (_, parameters) = children(derivation)
    (_, salt), *others = children(parameters)
    if name == _SCRYPT:
        cost, block, parallel, *_ = (int.from_bytes(value) for _, value in others)
        return Scrypt(salt=salt, length=size, n=cost, r=block, p=parallel).derive(passphrase)
    if name != _PBKDF2:
        raise KeyError(name)
    (_, count), *options = others
    hashed = _HMACS[_pseudorandom(options)]()
    return PBKDF2HMAC(hashed, size, salt, int.from_bytes(count)).derive(passphrase)


def _pseudorandom(options: list[Element]) -> bytes:
    """Return the pseudorandom function of PBKDF2, HMAC-SHA-1 by default."""
    sequence = next((content for tag, content in options if tag == _SEQUENCE), None)
    return next(iter(_HMACS)) if sequence is None else children(sequence)[0][1]

"""The signature algorithms.

They stand apart from `signatures` so that the command line can offer them without loading the cryptographic libraries.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["KeyType"]


class KeyType(StrEnum):
    """The algorithm of a key.

    ECDSA uses the curve P-256 with SHA-256, or P-384 with SHA-384. RSA signatures are RSASSA-PSS (RFC 8017, section
    8.1) with SHA-256 and a salt of 32 bytes.
    """

    ECDSA = "ecdsa"
    ECDSA_P384 = "ecdsa-p384"
    ED25519 = "ed25519"
    RSA_PSS = "rsa-pss"

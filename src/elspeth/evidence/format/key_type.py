"""The signature algorithms.

The command line names them before it loads the libraries that implement them.
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

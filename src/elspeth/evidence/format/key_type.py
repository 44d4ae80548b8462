"""The signature algorithms.

The command line names them before it loads the libraries that implement them.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["KeyType"]


class KeyType(StrEnum):
    """The algorithm of a key.

    ECDSA uses the curve P-256 and SHA-256.
    """

    ECDSA = "ecdsa"
    ED25519 = "ed25519"

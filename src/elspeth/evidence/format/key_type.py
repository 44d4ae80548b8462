"""The signature algorithms, apart from what computes them: the command line names them before it loads that."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["KeyType"]


class KeyType(StrEnum):
    """ECDSA is on the curve P-256 with SHA-256."""

    ECDSA = "ecdsa"
    ED25519 = "ed25519"

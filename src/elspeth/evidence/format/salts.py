"""Salts: a value in each record that nobody can guess, so that a hash over the record gives nothing of it away.

All salts of a run come from one secret, which stands beside the records and never in one: whoever is shown a single
record, with the hashes of its neighbours, can neither derive their salts nor test guesses at their content.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

import orjson

from elspeth.evidence.format.canonical import canonical, parse_canonical
from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.format.members import Members

__all__ = ["ALGORITHM", "SaltDeriver", "Salts"]

ALGORITHM = "hmac-sha256: record type, NUL, canonical JSON array of the key"

_BLOCK_SIZE = 64
"""Of SHA-256, in bytes. RFC 2104, section 2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Salts:
    """The secret of a run."""

    secret: str

    @classmethod
    def from_bytes(cls, data: bytes, place: str) -> Salts:
        """The secret of the bag's document; EvidenceError if it is not one as `to_bytes` writes it."""
        members = Members(parse_canonical(data, place), place)
        members.expect("algorithm", ALGORITHM)
        secret = members.text("secret")
        members.close()
        if not secret:
            raise EvidenceError(f"{place}: secret", "expected a secret, got an empty text")
        return cls(secret=secret)

    def to_bytes(self) -> bytes:
        """The bag's document, in canonical JSON."""
        return canonical({"algorithm": ALGORITHM, "secret": self.secret})


class SaltDeriver:
    """Derives salts: HMAC-SHA256 (RFC 2104) whose key is hashed once, not for each record."""

    def __init__(self, salts: Salts) -> None:
        key = salts.secret.encode()
        key = (sha256(key).digest() if len(key) > _BLOCK_SIZE else key).ljust(_BLOCK_SIZE, b"\x00")
        self._inner = sha256(bytes(byte ^ 0x36 for byte in key))
        self._outer = sha256(bytes(byte ^ 0x5C for byte in key))

    def salts(self, record_type: str, keys: Iterable[Sequence[str | int | None]]) -> list[str | None]:
        """The salt of each record of a type, by its key: 64 hex digits."""
        prefix = self._inner.copy()
        prefix.update(record_type.encode() + b"\x00")
        found: list[str | None] = []
        for key in keys:
            inner, outer = prefix.copy(), self._outer.copy()
            inner.update(orjson.dumps(key))  # canonical, as a key is of texts and integers
            outer.update(inner.digest())
            found.append(outer.hexdigest())
        return found

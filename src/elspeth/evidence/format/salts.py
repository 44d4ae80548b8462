"""Salts, which keep a leaf hash from revealing its record.

An inclusion proof shows the leaf hash of a neighbouring record. Without a salt, anyone could hash guesses at that
record until one fits.

Since version 3 of the statement, the salt is hashed before the line, and is derived from the number of the line: one
call of SHAKE-256 (FIPS 202) yields the salts of a block of lines. In earlier versions the salt was a field of the
record, an HMAC of the record's key.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256, shake_256

import orjson

from elspeth.evidence.format.canonical import Members, canonical, parse_canonical
from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.format.merkle import leaf_hashes

__all__ = ["BLOCK_LINES", "LEAF_SALTS_SINCE", "SALT_SIZE", "KeySalts", "LeafHasher", "Salts", "salt_algorithm"]

SALT_SIZE = 32
"""Bytes of a salt."""

BLOCK_LINES = 1024
"""The number of lines whose salts come from one call of SHAKE-256."""

_DOMAIN = b"elspeth leaf salts\x00"
"""The prefix that separates these calls of SHAKE-256 from any other use of the secret."""

_NUMBER_SIZE = 8
"""Bytes of a block's number, the most significant first."""

_LEAF_SALTS = "shake-256: elspeth leaf salts, NUL, block of 1024 lines (8 bytes), secret"
_KEY_SALTS = "hmac-sha256: record type, NUL, canonical JSON array of the key"

LEAF_SALTS_SINCE = 3
"""The first version of the statement whose salts belong to the leaves of the tree."""

_SHA256_BLOCK = 64
"""Block size of SHA-256 in bytes (RFC 2104, section 2)."""


def salt_algorithm(version: int) -> str:
    """Return the name of a version's derivation of salts."""
    return _LEAF_SALTS if version >= LEAF_SALTS_SINCE else _KEY_SALTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Salts:
    """The secret from which a bag's salts are derived.

    The bag holds it, a proof never does. A person who sees a single record and the hashes of its neighbours can neither
    derive the neighbours' salts nor test guesses at their content. `version` is the version of the statement.
    """

    secret: str
    version: int

    @classmethod
    def from_bytes(cls, data: bytes, place: str, version: int) -> Salts:
        """Read the bag's document.

        Raises EvidenceError unless `to_bytes` could have written it.
        """
        members = Members(parse_canonical(data, place), place)
        members.expect("algorithm", salt_algorithm(version))
        secret = members.text("secret")
        members.close()
        if not secret:
            raise EvidenceError(f"{place}: secret", "expected a secret, got an empty text")
        return cls(secret=secret, version=version)

    def to_bytes(self) -> bytes:
        """Return the bag's document in canonical JSON."""
        return canonical({"algorithm": salt_algorithm(self.version), "secret": self.secret})

    @property
    def of_keys(self) -> KeySalts | None:
        """The salts in records, or None if lines have them."""
        return KeySalts(self.secret) if self.version < LEAF_SALTS_SINCE else None


class LeafHasher:
    """Computes the leaf hashes of a bag's lines.

    A leaf hash is SHA-256 over a zero byte, the salt, and the line without its line feed. The salt is empty if `salts`
    is None or if records hold their salts.
    """

    def __init__(self, salts: Salts | None) -> None:
        self._secret = None if salts is None or salts.of_keys is not None else salts.secret.encode()
        self._number = -1
        self._block: list[bytes] = []
        """For each line of the current block, the bytes that are hashed before it: a zero byte and the salt."""

    def hashes(self, first: int, lines: Sequence[bytes]) -> list[bytes]:
        """Return the leaf hashes of consecutive lines.

        `first` is the number of the first line, from 0.
        """
        if self._secret is None:
            return leaf_hashes(lines)
        found: list[bytes] = []
        while len(found) < len(lines):
            starts = self._starts(self._secret, first + len(found), len(lines) - len(found))
            some = lines[len(found) : len(found) + len(starts)]
            found += [sha256(start + line).digest() for start, line in zip(starts, some, strict=True)]
        return found

    def salt(self, number: int) -> bytes | None:
        """Return the salt of a line, or None without salts."""
        return None if self._secret is None else self._starts(self._secret, number, 1)[0][1:]

    def _starts(self, secret: bytes, first: int, most: int) -> list[bytes]:
        """Return the bytes hashed before each line of a block."""
        number, place = divmod(first, BLOCK_LINES)
        if number != self._number:
            call = shake_256(_DOMAIN + number.to_bytes(_NUMBER_SIZE, "big") + secret)
            salts = call.digest(BLOCK_LINES * SALT_SIZE)
            self._number = number
            self._block = [b"\x00" + salts[at : at + SALT_SIZE] for at in range(0, len(salts), SALT_SIZE)]
        return self._block[place : place + most]


class KeySalts:
    """Derives the salts in records by HMAC-SHA256 (RFC 2104).

    Bags of versions 1 and 2 have them. The state of HMAC after its key is computed once and copied for each salt.
    """

    def __init__(self, secret: str) -> None:
        key = secret.encode()
        key = (sha256(key).digest() if len(key) > _SHA256_BLOCK else key).ljust(_SHA256_BLOCK, b"\x00")
        self._inner = sha256(bytes(byte ^ 0x36 for byte in key))
        self._outer = sha256(bytes(byte ^ 0x5C for byte in key))

    def salts(self, record_type: str, keys: Iterable[Sequence[str | int | None]]) -> list[str | None]:
        """Return the salt for each key, in hexadecimal."""
        prefix = self._inner.copy()
        prefix.update(record_type.encode() + b"\x00")
        found: list[str | None] = []
        for key in keys:
            inner, outer = prefix.copy(), self._outer.copy()
            inner.update(orjson.dumps(key))  # canonical, because keys hold texts and integers only
            outer.update(inner.digest())
            found.append(outer.hexdigest())
        return found

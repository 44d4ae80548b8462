"""HMAC signatures of exported records, and the manifest that closes an export.

A signature is HMAC-SHA256, as hex, over the canonical JSON of the record without its `signature`. It proves that
whoever wrote the record held the key; everyone who can check it could also have made it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from collections.abc import Mapping

import orjson

from elspeth.core.canonical import canonical_bytes
from elspeth.core.landscape.exporting.record_forms import forms_of
from elspeth.core.landscape.lines.chunks import with_key
from elspeth_schema import EPOCH

__all__ = ["MANIFEST", "ManifestBuilder", "sign_record", "signature_of", "signed_lines", "withheld_columns"]

MANIFEST = "manifest"
"""The record type of the manifest."""

HASH_ALGORITHM = "sha256"
SIGNATURE_ALGORITHM = "hmac-sha256"

_BLOCK = 64
"""Block size of SHA-256, in bytes."""


def signature_of(record: Mapping[str, object], key: bytes) -> str:
    """The signature of a record, whether or not it already carries one; 64 hex digits."""
    unsigned = {name: value for name, value in record.items() if name != "signature"}
    return hmac.digest(key, canonical_bytes(unsigned), HASH_ALGORITHM).hex()


def sign_record(record: Mapping[str, object], key: bytes) -> dict[str, object]:
    """The record with its signature."""
    return {**record, "signature": signature_of(record, key)}


def signed_lines(record_type: str, lines: bytes, key: bytes) -> bytes:
    """The lines (canonical JSON of records of that type, each with its line feed) with their signatures."""
    inner, outer = _hmac_states(key)
    found = lines.split(b"\n")[:-1]
    signatures = []
    for line in found:
        first, second = inner.copy(), outer.copy()
        first.update(line)
        second.update(first.digest())
        signatures.append(second.hexdigest())
    return b"".join(line + b"\n" for line in with_key(record_type, "signature", found, signatures))


def _hmac_states(key: bytes) -> tuple[hashlib._Hash, hashlib._Hash]:
    """HMAC's two hashes (RFC 2104), each with its padded key, to be copied per message: that halves the cost."""
    block = (hashlib.sha256(key).digest() if len(key) > _BLOCK else key).ljust(_BLOCK, b"\0")
    return (
        hashlib.sha256(bytes(byte ^ 0x36 for byte in block)),
        hashlib.sha256(bytes(byte ^ 0x5C for byte in block)),
    )


class ManifestBuilder:
    """Counts and hashes the lines of an export, for the manifest that closes it."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._counts: Counter[str] = Counter()
        self._run: Mapping[str, object] = {}

    def add_lines(self, record_type: str, count: int, lines: bytes) -> None:
        """Account for that many records of a type; each line is canonical JSON with its line feed."""
        if not self._run:
            self._run = orjson.loads(lines.partition(b"\n")[0])
        self._counts[record_type] += count
        self._hash.update(lines)

    def add(self, record: Mapping[str, object], line: bytes) -> None:
        """Account for a record and its canonical JSON."""
        self.add_lines(str(record["record_type"]), 1, line + b"\n")

    @property
    def total(self) -> int:
        """Records added so far."""
        return self._counts.total()

    @property
    def counts(self) -> Mapping[str, int]:
        """Records added so far, per record type."""
        return dict(self._counts)

    def manifest(self, *, signed: bool, include_payloads: bool, epoch: int = EPOCH) -> dict[str, object]:
        """The manifest of what was added: `final_hash` is the SHA-256 over all lines, each with its line feed."""
        return {
            "record_type": MANIFEST,
            "run_id": self._run["run_id"],
            "run_status": self._run["status"],
            "epoch": epoch,
            "record_count": self._counts.total(),
            "counts": self.counts,
            "withheld": [] if include_payloads else withheld_columns(epoch),
            "hash_algorithm": HASH_ALGORITHM,
            "final_hash": self._hash.hexdigest(),
            "signature_algorithm": SIGNATURE_ALGORITHM if signed else None,
        }


def withheld_columns(epoch: int = EPOCH) -> list[str]:
    """Return what exports of an epoch leave out, as `record_type.column`, in export order."""
    return [
        f"{form.name}.{column.name}" for form in forms_of(epoch).values() for column in form.columns if column.withheld
    ]

"""Checkpoints of logs, and proofs of their entries.

The formats are those of c2sp.org/tlog-checkpoint and c2sp.org/tlog-proof.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from elspeth.evidence.format.canonical import decode_base64
from elspeth.evidence.format.errors import EvidenceError, shown
from elspeth.evidence.format.limits import MAX_PROOF, MAX_PROOF_HASHES
from elspeth.evidence.format.merkle import HASH_SIZE, leaf_hash, verify_inclusion
from elspeth.evidence.format.notes import Note

__all__ = ["Checkpoint", "LogProof", "encode_hashes", "looks_like_log_proof", "parse_hash", "parse_size"]

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_LARGEST = 2**63 - 1
_LINES = 3
"""The number of lines of a checkpoint without extensions."""

_HEADER = b"c2sp.org/tlog-proof@v1\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The state of a log: its origin, size and root.

    `root` has 32 bytes. `extensions` are opaque lines.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: bytes, place: str) -> Checkpoint:
        """Read a checkpoint from the text of its note.

        Raises EvidenceError if it is not a checkpoint.
        """
        lines = text.decode().removesuffix("\n").split("\n")
        if len(lines) < _LINES or not all(lines):
            raise EvidenceError(place, "expected a checkpoint: the lines origin, size and root, none of them empty")
        origin, size, root, *extensions = lines
        found = cls(
            origin=origin,
            size=parse_size(size, f"{place}: size"),
            root=parse_hash(root, f"{place}: root"),
            extensions=tuple(extensions),
        )
        if not found.size and found.root != sha256().digest():
            raise EvidenceError(f"{place}: root", f"expected the root of an empty tree, got {found.root.hex()}")
        return found

    @property
    def text(self) -> bytes:
        """The checkpoint as the text of a note."""
        lines = [self.origin, str(self.size), base64.b64encode(self.root).decode(), *self.extensions]
        return "".join(f"{line}\n" for line in lines).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class LogProof:
    """An entry of a log, with its inclusion proof.

    `index` counts from 0; `note` is the signed checkpoint. `entry` is kept in the proof as its extra data.
    """

    entry: bytes
    index: int
    hashes: tuple[bytes, ...]
    note: Note

    @classmethod
    def parse(cls, data: bytes, place: str) -> LogProof:
        """Read a proof with its entry, without verifying it.

        Raises EvidenceError for anything else.
        """
        if len(data) > MAX_PROOF:
            raise EvidenceError(place, f"expected a proof of at most {MAX_PROOF:,} bytes, got {len(data):,}")
        head, blank, note = data.partition(b"\n\n")
        if not head.startswith(_HEADER) or not blank:
            raise EvidenceError(place, f"expected {_HEADER.decode().strip()}, hashes, an empty line and a checkpoint")
        try:
            first, *lines = head.removeprefix(_HEADER).decode().split("\n")
        except UnicodeDecodeError as error:
            raise EvidenceError(place, "expected a proof in UTF-8") from error
        if not first.startswith("extra "):
            raise EvidenceError(place, f"expected the entry, 'extra BASE64', in its second line, got {shown(first)}")
        if not lines or not lines[0].startswith("index "):
            raise EvidenceError(place, f"expected 'index NUMBER', got {shown(lines[0] if lines else None)}")
        if len(lines) - 1 > MAX_PROOF_HASHES:
            raise EvidenceError(place, f"expected at most {MAX_PROOF_HASHES} hashes, got {len(lines) - 1}")
        return cls(
            entry=decode_base64(first.removeprefix("extra "), f"{place}: extra"),
            index=parse_size(lines[0].removeprefix("index "), f"{place}: index"),
            hashes=tuple(parse_hash(line, f"{place}: hash {number}") for number, line in enumerate(lines[1:], 1)),
            note=Note.parse(note, f"{place}: checkpoint"),
        )

    def to_bytes(self) -> bytes:
        """Return the proof in the format that `parse` reads."""
        extra = base64.b64encode(self.entry)
        return b"%bextra %b\nindex %d\n%b\n%b" % (
            _HEADER,
            extra,
            self.index,
            encode_hashes(self.hashes),
            self.note.to_bytes(),
        )

    def verify_inclusion(self, checkpoint: Checkpoint, place: str) -> None:
        """Check that the log has the entry at its index.

        Raises EvidenceError if the proof does not hold.
        """
        try:
            verify_inclusion(leaf_hash(self.entry), self.index, checkpoint.size, self.hashes, checkpoint.root)
        except EvidenceError as error:
            raise EvidenceError(f"{place}: {error.place}", error.problem) from error


def looks_like_log_proof(data: bytes) -> bool:
    """Return whether the bytes begin like a proof."""
    return data.startswith(_HEADER)


def encode_hashes(hashes: Iterable[bytes]) -> bytes:
    """Return hashes in base64, one per line."""
    return b"".join(base64.b64encode(each) + b"\n" for each in hashes)


def parse_hash(text: str, place: str) -> bytes:
    """Read a hash in base64, 32 bytes.

    Raises EvidenceError for anything else.
    """
    found = decode_base64(text, place)
    if len(found) != HASH_SIZE:
        raise EvidenceError(place, f"expected a hash of {HASH_SIZE} bytes, got {len(found)}")
    return found


def parse_size(text: str, place: str) -> int:
    """Read a decimal number without leading zeros.

    Raises EvidenceError for anything else, and for numbers of 2^63 and above.
    """
    if not _SIZE.fullmatch(text) or int(text) > _LARGEST:
        raise EvidenceError(place, f"expected a number from 0 to 2^63-1, without leading zeros, got {shown(text)}")
    return int(text)

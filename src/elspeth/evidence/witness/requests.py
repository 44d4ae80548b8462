"""The request of a log to a witness."""

from __future__ import annotations

from dataclasses import dataclass

from elspeth.evidence.format.checkpoints import encode_hashes, parse_hash, parse_size
from elspeth.evidence.format.errors import EvidenceError, shown
from elspeth.evidence.format.limits import MAX_NOTE, MAX_PROOF_HASHES
from elspeth.evidence.format.notes import Note

__all__ = ["MAX_REQUEST", "AddCheckpoint"]

MAX_REQUEST = MAX_NOTE + 64 * (MAX_PROOF_HASHES + 2)
"""The largest size of a request in bytes."""

_OLD = "old "


@dataclass(frozen=True, slots=True, kw_only=True)
class AddCheckpoint:
    """A checkpoint, with its consistency proof.

    `old_size` is the size of the checkpoint that the witness cosigned last.
    """

    old_size: int
    proof: tuple[bytes, ...]
    note: Note

    @classmethod
    def parse(cls, data: bytes, place: str) -> AddCheckpoint:
        """Read the body of a request.

        Raises EvidenceError for anything else.
        """
        if len(data) > MAX_REQUEST:
            raise EvidenceError(place, f"expected a request of at most {MAX_REQUEST:,} bytes, got {len(data):,}")
        head, blank, note = data.partition(b"\n\n")
        try:
            old, *hashes = head.decode().split("\n")
        except UnicodeDecodeError as error:
            raise EvidenceError(place, "expected a request in UTF-8") from error
        if not blank or not old.startswith(_OLD):
            problem = f"expected 'old SIZE', hashes, an empty line and a checkpoint, got {shown(old)}"
            raise EvidenceError(place, problem)
        if len(hashes) > MAX_PROOF_HASHES:
            raise EvidenceError(place, f"expected at most {MAX_PROOF_HASHES} hashes, got {len(hashes)}")
        return cls(
            old_size=parse_size(old.removeprefix(_OLD), f"{place}: old size"),
            proof=tuple(parse_hash(line, f"{place}: hash {number}") for number, line in enumerate(hashes, 1)),
            note=Note.parse(note, f"{place}: checkpoint"),
        )

    def to_bytes(self) -> bytes:
        """Return the body of a request."""
        return b"old %d\n%b\n%b" % (self.old_size, encode_hashes(self.proof), self.note.to_bytes())

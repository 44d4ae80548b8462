"""The in-toto Statement v1 about a bag: the SHA-256 of each payload file, and what the export says of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from elspeth.evidence.canonical import Json, canonical, parse_canonical
from elspeth.evidence.errors import EvidenceError, shown
from elspeth.evidence.members import Members

__all__ = ["PAYLOAD_TYPE", "PREDICATE_TYPE", "RunFacts", "Statement"]

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:elspeth:audit-trail-export:v1"
"""Names the predicate's form. A URN, because it must mean the same when no host answers any more."""

TREE = "rfc9162-sha256"
"""Names how the Merkle root is computed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What an export says of its run.

    `withheld` names the columns that were left out, as `record_type.column`. `complete` says that every record of the
    run is there.
    """

    run_id: str
    run_status: str
    epoch: int
    withheld: tuple[str, ...]
    complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What is sealed about a run and its files.

    `subjects` maps names of files to their SHA-256, `counts` record types to how many records there are; `root` is the
    Merkle root over the lines of the records. Hashes are hex digits.
    """

    subjects: Mapping[str, str]
    run: RunFacts
    counts: Mapping[str, int]
    root: str

    @property
    def record_count(self) -> int:
        """Records of all types."""
        return sum(self.counts.values())

    @classmethod
    def from_bytes(cls, data: bytes, place: str) -> Statement:
        """The statement of a JSON text; EvidenceError if it is not one as `to_bytes` writes it."""
        reader = Members(parse_canonical(data, place), place)
        reader.expect("_type", STATEMENT_TYPE)
        reader.expect("predicateType", PREDICATE_TYPE)
        subjects = _subjects(reader.objects("subject"), place)
        predicate = reader.members("predicate")
        reader.close()
        tree = predicate.members("merkle_tree")
        tree.expect("algorithm", TREE)
        root = tree.sha256("root")
        tree.close()
        counts = predicate.counts("counts")
        predicate.expect("record_count", sum(counts.values()))
        run = RunFacts(
            run_id=predicate.text("run_id"),
            run_status=predicate.text("run_status"),
            epoch=predicate.number("epoch"),
            withheld=predicate.texts("withheld"),
            complete=predicate.truth("complete"),
        )
        predicate.close()
        return cls(subjects=subjects, run=run, counts=counts, root=root)

    def to_bytes(self) -> bytes:
        """The statement in canonical JSON."""
        subject: list[Json] = [
            {"name": name, "digest": {"sha256": digest}} for name, digest in sorted(self.subjects.items())
        ]
        predicate: dict[str, Json] = {
            "run_id": self.run.run_id,
            "run_status": self.run.run_status,
            "epoch": self.run.epoch,
            "complete": self.run.complete,
            "record_count": self.record_count,
            "counts": dict(self.counts),
            "withheld": list(self.run.withheld),
            "merkle_tree": {"algorithm": TREE, "root": self.root},
        }
        return canonical(
            {"_type": STATEMENT_TYPE, "subject": subject, "predicateType": PREDICATE_TYPE, "predicate": predicate}
        )


def _subjects(entries: Sequence[Members], place: str) -> dict[str, str]:
    subjects: dict[str, str] = {}
    for entry in entries:
        name, digest = entry.text("name"), entry.members("digest")
        entry.close()
        if name in subjects:
            raise EvidenceError(f"{place}: subject", f"expected each file once, got {shown(name)} again")
        subjects[name] = digest.sha256("sha256")
        digest.close()
    return subjects

"""The in-toto Statement v1 about a bag: the SHA-256 of each payload file, and what the export says of itself.

Version 2 of the predicate also says in which epoch the run was recorded. With it the JSON documents of the bag are
canonical, and an ECDSA signature has its low S. The first release wrote version 1, which is read as it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from elspeth.evidence.format.canonical import Json, canonical, parse_canonical
from elspeth.evidence.format.errors import EvidenceError, shown
from elspeth.evidence.format.members import Members

__all__ = ["PAYLOAD_TYPE", "PREDICATE_TYPES", "VERSION", "RunFacts", "Statement"]

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
VERSION = 2
"""The version of the predicate that is written."""

PREDICATE_TYPES = {version: f"urn:elspeth:audit-trail-export:v{version}" for version in range(1, VERSION + 1)}
"""Names of the predicate's forms. They are URNs, because they must mean the same when no host answers any more."""

TREE = "rfc9162-sha256"
"""Names how the Merkle root is computed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What an export says of its run.

    `epoch` is that of the schema of the records, `recorded_epoch` that in which the run was recorded and sealed; None
    for a run that was imported, or recorded before there were seals. `withheld` names the columns that were left out,
    as `record_type.column`. `complete` says that every record of the run is there.
    """

    run_id: str
    run_status: str
    epoch: int
    withheld: tuple[str, ...]
    complete: bool
    recorded_epoch: int | None = None


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
    version: int = VERSION

    @property
    def record_count(self) -> int:
        """Records of all types."""
        return sum(self.counts.values())

    @property
    def sha256(self) -> str:
        """The SHA-256 of the statement, 64 hex digits: it identifies the bag, whatever form that is kept in."""
        return sha256(self.to_bytes()).hexdigest()

    @classmethod
    def from_bytes(cls, data: bytes, place: str) -> Statement:
        """Return the statement of a JSON text; EvidenceError if it is not one as `to_bytes` writes it."""
        reader = Members(parse_canonical(data, place), place)
        reader.expect("_type", STATEMENT_TYPE)
        version = _version(reader, place)
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
            recorded_epoch=predicate.optional_number("recorded_epoch") if version > 1 else None,
        )
        predicate.close()
        return cls(subjects=subjects, run=run, counts=counts, root=root, version=version)

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
        if self.version > 1:
            predicate["recorded_epoch"] = self.run.recorded_epoch
        kind = PREDICATE_TYPES[self.version]
        return canonical({"_type": STATEMENT_TYPE, "subject": subject, "predicateType": kind, "predicate": predicate})


def _version(reader: Members, place: str) -> int:
    kind = reader.text("predicateType")
    for version, known in PREDICATE_TYPES.items():
        if kind == known:
            return version
    expected = " or ".join(map(shown, PREDICATE_TYPES.values()))
    raise EvidenceError(f"{place}: predicateType", f"expected {expected}, got {shown(kind)}: use a newer verifier")


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

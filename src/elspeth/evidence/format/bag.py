"""The files of a bag: names, manifests, statement, salts.

A bag is a BagIt directory (RFC 8493).

The statement is an in-toto Statement v1. Version 2 of its predicate also gives the epoch in which the run was recorded;
with it the JSON documents of the bag are canonical, and an ECDSA signature has a low S. The first release wrote
version 1, which is still read by the rules of its time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

import orjson

from elspeth.evidence.format.canonical import Json, Members, canonical, parse_canonical
from elspeth.evidence.format.errors import EvidenceError, shown

__all__ = [
    "BAGIT",
    "BAGIT_TEXT",
    "BAG_INFO",
    "ENVELOPE",
    "INSTRUCTIONS",
    "LEAVES",
    "MANIFEST",
    "PAYLOAD",
    "PAYLOAD_TYPE",
    "RECORDS",
    "REFERENCES",
    "SALTS",
    "SALT_ALGORITHM",
    "SCHEMA",
    "STATEMENT",
    "TAG_MANIFEST",
    "TIMESTAMP",
    "RunFacts",
    "SaltDeriver",
    "Salts",
    "Statement",
    "manifest_text",
    "parse_manifest",
    "payload_name",
]

BAGIT = "bagit.txt"
BAGIT_TEXT = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
BAG_INFO = "bag-info.txt"
MANIFEST = "manifest-sha256.txt"
TAG_MANIFEST = "tagmanifest-sha256.txt"
INSTRUCTIONS = "VERIFY.txt"
ENVELOPE = "statement.dsse.json"
"""The signed statement."""
STATEMENT = "statement.json"
"""The statement of an unsigned bag."""
TIMESTAMP = "statement.dsse.json.tsr"
"""The time-stamp over the envelope. No manifest lists it: it is made later, and its authority signs it."""

PAYLOAD = "data/"
RECORDS = "data/records.jsonl"
"""One record per line, in canonical JSON."""
LEAVES = "data/leaf-hashes.bin"
"""The leaf hashes of the lines, 32 bytes each, in order. They show which line was altered."""
SCHEMA = "data/export.schema.json"
"""The JSON Schema of a record."""
REFERENCES = "data/references.json"
"""The order of record types, their keys, references and lifecycles."""
SALTS = "data/salts.json"
"""The secret from which the salts of the records are derived."""

PAYLOAD_TYPE = "application/vnd.in-toto+json"
"""The DSSE payload type of a statement."""

_STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
_VERSION = 2
"""The version of the predicate that is written."""
_PREDICATE_TYPES = {version: f"urn:elspeth:audit-trail-export:v{version}" for version in range(1, _VERSION + 1)}
"""Predicate types by version. They are URNs because they must keep their meaning when no host answers any more."""
SEALED_SINCE = 5
"""The first epoch whose runs are sealed when they end, and have a secret for salts."""
_TREE = "rfc9162-sha256"
"""The algorithm that computes the Merkle root."""

SALT_ALGORITHM = "hmac-sha256: record type, NUL, canonical JSON array of the key"
_SHA256_BLOCK = 64
"""Block size of SHA-256 in bytes (RFC 2104, section 2)."""

_DOCUMENT = re.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_MANIFEST_LINE = re.compile("([0-9a-f]{64})  ([A-Za-z0-9/._-]+)")


def payload_name(document: str) -> str:
    """Return the name of a document in the bag.

    Raises ValueError for a name that other systems could read differently.
    """
    if not _DOCUMENT.fullmatch(document):
        message = f"expected a document name of ASCII letters, digits, dots and dashes, got {document!r}"
        raise ValueError(message)
    return PAYLOAD + document


def manifest_text(digests: Mapping[str, str]) -> bytes:
    """Return a manifest that `sha256sum -c` reads.

    RFC 8493, section 2.1.3.
    """
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items())).encode()


def parse_manifest(data: bytes, place: str) -> dict[str, str]:
    """Return the SHA-256 of each file that a manifest lists.

    Raises EvidenceError for a manifest that `manifest_text` would not write.
    """
    digests: dict[str, str] = {}
    for number, line in enumerate(data.decode("ascii", "replace").removesuffix("\n").split("\n"), start=1):
        found = _MANIFEST_LINE.fullmatch(line)
        if found is None:
            raise EvidenceError(f"{place}, line {number}", f"expected a SHA-256 and a file name, got {shown(line)}")
        if found[2] in digests:
            raise EvidenceError(f"{place}, line {number}", f"expected each file once, got {shown(found[2])} again")
        digests[found[2]] = found[1]
    if manifest_text(digests) != data:
        raise EvidenceError(place, "expected its lines in the order of file names, each with a line feed")
    return digests


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What an export says about its run.

    `epoch` is the epoch of the records' schema. `recorded_epoch` is the one in which the run was recorded and sealed,
    or None if it was imported or recorded before seals existed. `withheld` names the columns that were left out, as
    `record_type.column`. `complete` tells whether every record of the run was exported.
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

    `subjects` maps file names to their SHA-256, `counts` maps record types to numbers of records, and `root` is the
    Merkle root over the lines of the records. Hashes are in hexadecimal.
    """

    subjects: Mapping[str, str]
    run: RunFacts
    counts: Mapping[str, int]
    root: str
    version: int = _VERSION

    @property
    def record_count(self) -> int:
        """The number of records of all types."""
        return sum(self.counts.values())

    @property
    def sha256(self) -> str:
        """The SHA-256 in hexadecimal, which identifies the bag."""
        return sha256(self.to_bytes()).hexdigest()

    @classmethod
    def from_bytes(cls, data: bytes, place: str) -> Statement:
        """Read a statement.

        Raises EvidenceError unless `to_bytes` could have written it.
        """
        reader = Members(parse_canonical(data, place), place)
        reader.expect("_type", _STATEMENT_TYPE)
        version = _version(reader, place)
        subjects = _subjects(reader.objects("subject"), place)
        predicate = reader.members("predicate")
        reader.close()
        tree = predicate.members("merkle_tree")
        tree.expect("algorithm", _TREE)
        root = tree.sha256("root")
        tree.close()
        counts = predicate.counts("counts")
        predicate.expect("record_count", sum(counts.values()))
        run = RunFacts(
            run_id=predicate.text("run_id"),
            run_status=predicate.text("run_status"),
            epoch=predicate.number("epoch"),
            withheld=predicate.texts("withheld"),
            complete=predicate.boolean("complete"),
            recorded_epoch=predicate.optional_number("recorded_epoch") if version > 1 else None,
        )
        predicate.close()
        return cls(subjects=subjects, run=run, counts=counts, root=root, version=version)

    def to_bytes(self) -> bytes:
        """Return the statement in canonical JSON."""
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
            "merkle_tree": {"algorithm": _TREE, "root": self.root},
        }
        if self.version > 1:
            predicate["recorded_epoch"] = self.run.recorded_epoch
        kind = _PREDICATE_TYPES[self.version]
        return canonical({"_type": _STATEMENT_TYPE, "subject": subject, "predicateType": kind, "predicate": predicate})


@dataclass(frozen=True, slots=True, kw_only=True)
class Salts:
    """The secret that a run's salts are derived from.

    It is kept beside the records and never in one. Whoever is shown a single record and the hashes of its neighbours
    can neither derive the neighbours' salts nor test guesses at their content.
    """

    secret: str

    @classmethod
    def from_bytes(cls, data: bytes, place: str) -> Salts:
        """Read the bag's document.

        Raises EvidenceError unless `to_bytes` could have written it.
        """
        members = Members(parse_canonical(data, place), place)
        members.expect("algorithm", SALT_ALGORITHM)
        secret = members.text("secret")
        members.close()
        if not secret:
            raise EvidenceError(f"{place}: secret", "expected a secret, got an empty text")
        return cls(secret=secret)

    def to_bytes(self) -> bytes:
        """Return the bag's document in canonical JSON."""
        return canonical({"algorithm": SALT_ALGORITHM, "secret": self.secret})


class SaltDeriver:
    """Derives salts by HMAC-SHA256 (RFC 2104).

    The key is hashed only once.
    """

    def __init__(self, salts: Salts) -> None:
        key = salts.secret.encode()
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


def _version(reader: Members, place: str) -> int:
    kind = reader.text("predicateType")
    for version, known in _PREDICATE_TYPES.items():
        if kind == known:
            return version
    expected = " or ".join(map(shown, _PREDICATE_TYPES.values()))
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

"""The files of a bag: names, manifests and statement.

A bag is a BagIt directory (RFC 8493). It holds the audit trail of one run, or a database exported as found.

The statement is an in-toto Statement v1, whose predicate has versions. Version 2 added the epoch in which the run was
recorded, and requires canonical JSON documents and ECDSA signatures with a low S. Version 3 moved the salts from the
records to the leaves of the Merkle tree. Statements of earlier versions are verified by the rules of their version.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from elspeth.evidence.format.canonical import Json, Members, canonical, parse_canonical
from elspeth.evidence.format.errors import EvidenceError, shown
from elspeth.evidence.format.found import PREDICATE_TYPE, DatabaseFacts
from elspeth.evidence.format.salts import LEAF_SALTS_SINCE

__all__ = [
    "BAGIT",
    "BAGIT_TEXT",
    "BAG_INFO",
    "CERTIFICATES",
    "CONTENTS",
    "CONTEXT",
    "CRATE",
    "ENVELOPE",
    "INSTRUCTIONS",
    "LEAVES",
    "LOG",
    "LOG_LEAVES",
    "LOG_PROOF",
    "MANIFEST",
    "NO_RUN",
    "PAYLOAD",
    "PAYLOAD_TYPE",
    "RECORDS",
    "REFERENCES",
    "SALTS",
    "SCHEMA",
    "SETTINGS",
    "STATEMENT",
    "TAG_MANIFEST",
    "TIMESTAMP",
    "VERSION",
    "Contact",
    "RunFacts",
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
CERTIFICATES = "certificates.pem"
"""The X.509 certificate of the signing key, followed by the certificates of its authorities."""
ENVELOPE = "statement.dsse.json"
"""The signed statement."""
STATEMENT = "statement.json"
"""The statement of an unsigned bag."""
TIMESTAMP = "statement.dsse.json.tsr"
"""The time-stamp over the envelope. No manifest lists it, because it is made later; its authority signs it."""

PAYLOAD = "data/"
RECORDS = "data/records.jsonl"
"""One record per line, in canonical JSON."""
LEAVES = "data/leaf-hashes.bin"
"""The leaf hashes of the lines, 32 bytes each, in order. They show which line was altered."""
SCHEMA = "data/export.schema.json"
"""The JSON Schema of a record."""
REFERENCES = "data/references.json"
"""The order of record types, their keys, references and lifecycles."""
CONTENTS = "data/contents/"
"""The directory of the contents of rows and calls, if the export includes them. Each is named by its SHA-256."""
SALTS = "data/salts.json"
"""The secret from which the salts are derived."""

CRATE = "data/ro-crate-metadata.json"
"""The metadata that makes the bag a Workflow Run RO-Crate."""
SETTINGS = "data/settings.yaml"
"""The recorded settings, which are the workflow of the crate. They are JSON, which is YAML too."""
CONTEXT = "data/context.jsonld"
"""The JSON-LD context with which the records can be read as RDF."""

LOG = "data/run-log.json"
"""The place of the run in the log of runs."""
LOG_LEAVES = "data/run-log-leaves.bin"
"""The last leaf hashes of the log, 32 bytes each. With them, a later bag can be shown to continue this log."""
LOG_PROOF = "data/run-log.tlog-proof"
"""A proof that the last checkpoint delivered to others includes the run's entry (c2sp.org/tlog-proof)."""

PAYLOAD_TYPE = "application/vnd.in-toto+json"
"""The DSSE payload type of a statement."""

_STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
VERSION = 3
"""The version of the predicate in new statements."""
_PREDICATE_TYPES = {version: f"urn:elspeth:audit-trail-export:v{version}" for version in range(1, VERSION + 1)}
"""Predicate types by version. They are URNs, which keep their meaning even when no host serves an address any more."""
_FOUND_VERSION = 3
"""The version of run statements whose rules also apply to version 1 of statements about a database as found."""
SEALED_SINCE = 5
"""The first epoch whose runs are sealed when they end and have a secret for salts."""
_TREE = "rfc9162-sha256"
"""The algorithm that computes the Merkle root."""

NO_RUN = (
    "is a database that was exported as found, which holds no run that could be imported or explained:"
    " elspeth verify checks it"
)
"""The problem of an export as found in a place that needs the export of a run."""

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
    """Return the text of a manifest, which `sha256sum -c` reads.

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
    """The facts that an export states about its run.

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
class Contact:
    """Who made a bag, as they call themselves.

    The signature shows that the holder of the key said so. Both go into lines of `bag-info.txt`.
    """

    name: str | None = None
    email: str | None = None

    def __post_init__(self) -> None:
        """Raise EvidenceError for a text that is not one line."""
        for field, text in (("name", self.name), ("email", self.email)):
            if text is not None and not (text.strip() == text != "" and text.isprintable()):
                raise EvidenceError(f"contact: {field}", f"expected printable text on one line, got {shown(text)}")

    def __str__(self) -> str:
        """Return the name, and the address in angle brackets."""
        return " ".join(filter(None, [self.name, self.email and f"<{self.email}>"]))

    @classmethod
    def from_members(cls, members: Members) -> Contact:
        """Read a contact."""
        contact = cls(name=members.optional_text("name"), email=members.optional_text("email"))
        members.close()
        return contact


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """The statement about a bag's files and its content.

    `subjects` maps file names to their SHA-256, `counts` maps record types to numbers of records, and `root` is the
    Merkle root over the lines of the records. `salted` tells whether each line is hashed with a salt before it.
    `contact` is None unless the person who made the bag gave one. Hashes are in hexadecimal.
    """

    subjects: Mapping[str, str]
    facts: RunFacts | DatabaseFacts
    counts: Mapping[str, int]
    root: str
    salted: bool
    contact: Contact | None = None
    version: int = VERSION

    @property
    def run(self) -> RunFacts:
        """The facts about the run.

        Raises EvidenceError if there are none, as for a database that was exported as found.
        """
        if isinstance(self.facts, RunFacts):
            return self.facts
        raise EvidenceError("statement", NO_RUN)

    @property
    def record_count(self) -> int:
        """The number of records of all types."""
        return sum(self.counts.values())

    @property
    def sha256(self) -> str:
        """The statement's SHA-256 in hexadecimal, which identifies the bag."""
        return sha256(self.to_bytes()).hexdigest()

    @classmethod
    def from_bytes(cls, data: bytes, place: str) -> Statement:
        """Read a statement.

        Raises EvidenceError unless `to_bytes` could have written it.
        """
        reader = Members(parse_canonical(data, place), place)
        reader.expect("_type", _STATEMENT_TYPE)
        kind = reader.text("predicateType")
        version = _version(kind, place)
        subjects = _subjects(reader.objects("subject"), place)
        predicate = reader.members("predicate")
        reader.close()
        tree = predicate.members("merkle_tree")
        tree.expect("algorithm", _TREE)
        root = tree.sha256("root")
        salted = tree.boolean("salted") if version >= LEAF_SALTS_SINCE else False
        tree.close()
        counts = predicate.counts("counts")
        predicate.expect("record_count", sum(counts.values()))
        if kind == PREDICATE_TYPE:
            _require_complete(predicate, place)
            facts: RunFacts | DatabaseFacts = DatabaseFacts.from_members(predicate)
        else:
            facts = _run_facts(predicate, version)
        contact = Contact.from_members(predicate.members("contact")) if _may_name(predicate, version) else None
        predicate.close()
        return cls(
            subjects=subjects, facts=facts, counts=counts, root=root, salted=salted, contact=contact, version=version
        )

    def to_bytes(self) -> bytes:
        """Return the statement in canonical JSON."""
        subject: list[Json] = [
            {"name": name, "digest": {"sha256": digest}} for name, digest in sorted(self.subjects.items())
        ]
        tree: dict[str, Json] = {"algorithm": _TREE, "root": self.root}
        if self.version >= LEAF_SALTS_SINCE:
            tree["salted"] = self.salted
        predicate: dict[str, Json] = {
            "record_count": self.record_count,
            "counts": dict(self.counts),
            "merkle_tree": tree,
        }
        if isinstance(self.facts, DatabaseFacts):
            kind = PREDICATE_TYPE
            predicate |= {**self.facts.to_json(), "complete": True}
        else:
            kind = _PREDICATE_TYPES[self.version]
            predicate |= _run_members(self.facts, self.version)
        if self.contact is not None:
            predicate["contact"] = {"name": self.contact.name, "email": self.contact.email}
        return canonical({"_type": _STATEMENT_TYPE, "subject": subject, "predicateType": kind, "predicate": predicate})


def _may_name(predicate: Members, version: int) -> bool:
    """Return whether the predicate may name, and names, a contact."""
    return version >= LEAF_SALTS_SINCE and predicate.has("contact")


def _version(kind: str, place: str) -> int:
    if kind == PREDICATE_TYPE:
        return _FOUND_VERSION
    for version, known in _PREDICATE_TYPES.items():
        if kind == known:
            return version
    expected = " or ".join(map(shown, (*_PREDICATE_TYPES.values(), PREDICATE_TYPE)))
    raise EvidenceError(f"{place}: predicateType", f"expected {expected}, got {shown(kind)}: use a newer verifier")


def _require_complete(predicate: Members, place: str) -> None:
    if not predicate.boolean("complete"):
        raise EvidenceError(f"{place}: complete", "expected true, got false: the export says that it is incomplete")


def _run_facts(predicate: Members, version: int) -> RunFacts:
    return RunFacts(
        run_id=predicate.text("run_id"),
        run_status=predicate.text("run_status"),
        epoch=predicate.number("epoch"),
        withheld=predicate.texts("withheld"),
        complete=predicate.boolean("complete"),
        recorded_epoch=predicate.optional_number("recorded_epoch") if version > 1 else None,
    )


def _run_members(run: RunFacts, version: int) -> dict[str, Json]:
    members: dict[str, Json] = {
        "run_id": run.run_id,
        "run_status": run.run_status,
        "epoch": run.epoch,
        "complete": run.complete,
        "withheld": list(run.withheld),
    }
    return members if version == 1 else {**members, "recorded_epoch": run.recorded_epoch}


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

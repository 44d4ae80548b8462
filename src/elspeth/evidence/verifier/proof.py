"""Proofs that one record belongs to a bag.

A proof discloses nothing of any other record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from elspeth.evidence.format import bag
from elspeth.evidence.format.bag import PAYLOAD_TYPE, RunFacts, Statement
from elspeth.evidence.format.canonical import Json, Members, canonical, parse_canonical
from elspeth.evidence.format.checkpoints import looks_like_log_proof
from elspeth.evidence.format.envelopes import Envelope
from elspeth.evidence.format.errors import EvidenceError, shown
from elspeth.evidence.format.files import read_small_file
from elspeth.evidence.format.found import KEYS
from elspeth.evidence.format.limits import MAX_PROOF
from elspeth.evidence.format.merkle import inclusion_proof, leaf_hash, verify_inclusion
from elspeth.evidence.format.salts import LeafHasher, Salts
from elspeth.evidence.format.signatures import PublicKey
from elspeth.evidence.verifier._examination import document_parser
from elspeth.evidence.verifier._record_types import read_rules
from elspeth.evidence.verifier.certificates import ANYBODY, CertifiedBy, read_chain
from elspeth.evidence.verifier.procedure import Step, Steps, Verdict, Verification
from elspeth.evidence.verifier.reader import BagFiles, batches_of_lines, open_bag
from elspeth.evidence.verifier.signer import Trusted, check_signer
from elspeth.evidence.verifier.statements import leaf_hashes, read_statement
from elspeth.outputs.policy import Kind, OutputPolicy, OutputRefusedError, Protected, foreign_objection
from elspeth.outputs.writing import hold

__all__ = ["FORMATS", "Proof", "proof_policy", "prove", "verify_proof", "write_proof"]

_PLAIN, _CERTIFIED = 2, 3
"""The versions of new proofs: for bags without certificates, and for bags with them.

Proofs of version 1 have no salt beside the record.
"""
FORMATS = {version: f"urn:elspeth:record-proof:v{version}" for version in range(1, _CERTIFIED + 1)}
"""The format that a proof names, by version."""

_CARRIED = (bag.BAG_INFO, bag.CERTIFICATES)
"""The files of a bag with certificates that a proof carries: they state the day, and identify the owner of the key."""

KEY_SEPARATOR = "/"
"""Separates the columns of a key."""

_MAX_HASHES = 64
"""More hashes than the proof for the deepest tree has."""

_CONTEXT = 24
"""How many bytes of a file that is not a proof a message shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A record's line, its inclusion proof, and the statement.

    `salt` is None if the bag has no salts, or has them in its records. `index` is the number of the line in the bag,
    from 0. `envelope` is None for an unsigned bag. `files` are the bag's files about the certificates of the key, if it
    has them.
    """

    line: bytes
    salt: bytes | None
    index: int
    hashes: tuple[bytes, ...]
    statement: Statement
    envelope: Envelope | None
    files: Mapping[str, bytes] = field(default_factory=dict)

    @classmethod
    def from_bytes(cls, data: bytes, place: str) -> Proof:
        """Read a proof.

        Raises EvidenceError unless `to_bytes` could have written it.
        """
        members = Members(parse_canonical(data.removesuffix(b"\n"), place), place)
        form = members.text("format")
        if form not in FORMATS.values():
            expected = " or ".join(map(shown, FORMATS.values()))
            raise EvidenceError(f"{place}: format", f"expected {expected}, got {shown(form)}: use a newer verifier")
        salt = None if form == FORMATS[1] else members.optional_sha256("salt")
        line, index, hashes = members.text("record"), members.number("index"), members.sha256s("hashes")
        signed = members.optional_object("envelope")
        bare = members.optional_object("statement")
        files = _read_files(members.members("files")) if form == FORMATS[_CERTIFIED] else {}
        members.close()
        if len(hashes) > _MAX_HASHES or not data.endswith(b"\n") or (signed is None) == (bare is None):
            raise EvidenceError(place, "expected one proof on one line, with an envelope or a statement")
        envelope = None if signed is None else Envelope.from_bytes(canonical(signed), f"{place}: envelope")
        if envelope is not None and envelope.payload_type != PAYLOAD_TYPE:
            problem = f"expected a payload of type {PAYLOAD_TYPE}, got {shown(envelope.payload_type)}"
            raise EvidenceError(f"{place}: envelope", problem)
        stated = canonical(bare) if envelope is None else envelope.payload
        statement = Statement.from_bytes(stated, f"{place}: statement")
        return cls(
            line=line.encode(),
            salt=None if salt is None else bytes.fromhex(salt),
            index=index,
            hashes=tuple(map(bytes.fromhex, hashes)),
            statement=statement,
            envelope=envelope,
            files=files,
        )

    def to_bytes(self) -> bytes:
        """Return the proof in canonical JSON, on one line."""
        bare = None if self.envelope is not None else parse_canonical(self.statement.to_bytes(), "statement")
        members: dict[str, Json] = {
            "format": FORMATS[_CERTIFIED if self.files else _PLAIN],
            "record": self.line.decode(),
            "salt": None if self.salt is None else self.salt.hex(),
            "index": self.index,
            "hashes": [each.hex() for each in self.hashes],
            "envelope": None if self.envelope is None else self.envelope.to_json(),
            "statement": bare,
        }
        if self.files:
            members["files"] = {name: content.decode() for name, content in self.files.items()}
        return canonical(members) + b"\n"


def prove(path: Path, record_type: str, identity: str, *, progress: Callable[[int], None] | None = None) -> Proof:
    """Prove one record of a bag.

    `identity` is the record's key without the run, its columns joined by `/`. Raises EvidenceError if the bag holds no
    such record, or is not sound, so that every proof holds.
    """
    with open_bag(path) as files:
        statement, envelope = read_statement(files)
        columns = _key_columns(files, statement).get(record_type)
        if columns is None:
            counted = ", ".join(sorted(statement.counts))
            raise EvidenceError(str(path), f"expected a record type of the bag ({counted}), got {shown(record_type)}")
        index, line = _find(files, record_type, columns, identity, progress or (lambda _: None))
        hashes = tuple(inclusion_proof(leaf_hashes(files), index, statement.record_count))
        salt = _read_salt(files, statement, index)
        is_certified = read_chain(files, statement, envelope) is not None
        carried = {name: files.read(name) for name in _CARRIED} if is_certified else {}
    proof = Proof(
        line=line, salt=salt, index=index, hashes=hashes, statement=statement, envelope=envelope, files=carried
    )
    try:
        _check_inclusion(proof, str(path))
    except EvidenceError as error:
        raise EvidenceError(str(path), f"the bag is not sound, verify it: {error}") from error
    return proof


def _key_columns(files: BagFiles, statement: Statement) -> Mapping[str, Sequence[str]]:
    """Return the key columns of each type, without the run's."""
    if not isinstance(statement.facts, RunFacts):
        return KEYS
    rules = read_rules(files.read(bag.REFERENCES), bag.REFERENCES, document_parser(statement.version))
    return {name: each.key[1:] or each.key for name, each in rules.types.items()}


def proof_policy(protected: Sequence[Protected] = (), *, force: bool = False) -> OutputPolicy:
    """Return the policy that only a proof may be replaced.

    With `force` it may replace any file that is not protected.
    """
    return OutputPolicy(kind=Kind.FILE, objection=_objection, protected=protected, force=force)


def write_proof(proof: Proof, path: Path, policy: OutputPolicy | None = None) -> int:
    """Write a proof to a file, and return its size.

    Raises OutputRefusedError if the policy (by default `proof_policy()`) objects to the path, and EvidenceError if the
    file cannot be written. An existing file is then left as it was.
    """
    data = proof.to_bytes()
    if len(data) > MAX_PROOF:
        raise EvidenceError(str(path), f"expected a proof of at most {MAX_PROOF:,} bytes, got {len(data):,}")
    try:
        with hold(path, policy or proof_policy()) as output, output.file() as file:
            file.write(data)
    except OutputRefusedError:
        raise
    except OSError as error:
        raise EvidenceError(str(path), f"cannot be written: {error.strerror}") from error
    return len(data)


def _objection(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            found = parse_canonical(file.read(MAX_PROOF).removesuffix(b"\n"), str(path))
    except (OSError, EvidenceError):
        found = {}
    if found.get("format") in FORMATS.values():
        return None
    return foreign_objection("a proof")


def verify_proof(path: Path, *, key: PublicKey | None = None, certified_by: CertifiedBy = ANYBODY) -> Verification:
    """Verify a proof by the steps that apply to it.

    The owner of the key is checked as by `verify_bag`. Raises EvidenceError only if the file is not a proof at all.
    """
    data = _read(path)
    proof = Proof.from_bytes(data, str(path))
    steps = Steps()
    steps.passed(Step.STRUCTURE, f"a proof, {len(data):,} bytes")
    # 2. Envelope and signature.
    sound, certificate = Verdict.NOT_VERIFIED, None
    trusted = Trusted(key=key, authorities=(), certified_by=certified_by, policy=None)
    with steps.of(Step.SIGNATURE):
        carried = _CarriedFiles(proof.files)
        sound, certificate = check_signer(carried, proof.statement, proof.envelope, trusted, steps, place="envelope")
    facts = proof.statement.facts
    run_id = facts.run_id if isinstance(facts, RunFacts) else None
    # 4. The line.
    with steps.of(Step.LINES):
        record = parse_canonical(proof.line, "record")
        kind = _check_record(record, proof.statement)
        of = f"run {shown(run_id)}" if isinstance(facts, RunFacts) else facts.title
        steps.passed(Step.LINES, f"a record of type {kind} of {of}")
    # 6. Merkle root.
    with steps.of(Step.ROOT):
        _check_inclusion(proof, "hashes")
        steps.passed(Step.ROOT, f"line {proof.index + 1:,} of {proof.statement.record_count:,}")
    rest = (Step.STATEMENT, Step.COUNTS, Step.REFERENCES, Step.LIFECYCLES, Step.ACCOUNTING, Step.LOG)
    steps.not_part(*rest, detail="needs the whole bag")
    scope = None if isinstance(facts, RunFacts) else f"states one record of {facts.title}"
    return steps.result(
        sound,
        run_id=run_id,
        record_count=1,
        statement=proof.statement.sha256,
        scope=scope,
        certificate=certificate,
    )


class _CarriedFiles(BagFiles):
    """The files that a proof carries."""

    def __init__(self, contents: Mapping[str, bytes]) -> None:
        super().__init__(Path("proof"), {name: len(content) for name, content in contents.items()})
        self._contents = contents

    def _blocks(self, name: str) -> Iterator[bytes]:
        yield self._contents[name]


def _read_files(members: Members) -> dict[str, bytes]:
    found = {name: members.text(name).encode() for name in _CARRIED}
    members.close()
    return found


def _read(path: Path) -> bytes:
    data = read_small_file(path, "a bag, or a proof", MAX_PROOF)
    if looks_like_log_proof(data):
        raise EvidenceError(str(path), "is a proof by a log of runs: verify it with --policy")
    if not data.lstrip().startswith(b"{"):
        expected = "expected a bag (a directory or .zip file), a proof or an export"
        raise EvidenceError(str(path), f"{expected}, got {shown(data[:_CONTEXT])}")
    return data


def _check_inclusion(proof: Proof, place: str) -> None:
    size, root = proof.statement.record_count, bytes.fromhex(proof.statement.root)
    if (proof.salt is not None) != proof.statement.salted:
        expected = "a salt" if proof.statement.salted else "no salt"
        raise EvidenceError(place, f"expected {expected} beside the record, as the statement says")
    try:
        verify_inclusion(leaf_hash((proof.salt or b"") + proof.line), proof.index, size, proof.hashes, root)
    except EvidenceError as error:
        raise EvidenceError(place, f"the record is not in the tree of the statement: {error.problem}") from error


def _check_record(record: Mapping[str, Json], statement: Statement) -> str:
    kind = record.get("record_type")
    if not isinstance(kind, str) or kind not in statement.counts:
        raise EvidenceError("record: record_type", f"expected a type that the statement counts, got {shown(kind)}")
    run_id = statement.facts.run_id if isinstance(statement.facts, RunFacts) else None
    if record.get("run_id") != run_id:
        expected = f"expected {shown(run_id)} as in the statement"
        raise EvidenceError("record: run_id", f"{expected}, got {shown(record.get('run_id'))}")
    return kind


def _read_salt(files: BagFiles, statement: Statement, index: int) -> bytes | None:
    """Return the salt of a line, or None without salts."""
    if not statement.salted:
        return None
    return LeafHasher(Salts.from_bytes(files.read(bag.SALTS), bag.SALTS, statement.version)).salt(index)


def _find(
    files: BagFiles, record_type: str, columns: Sequence[str], identity: str, progress: Callable[[int], None]
) -> tuple[int, bytes]:
    """Find a record, and return its index and line.

    Only lines that contain the type and the first part of the key are parsed.
    """
    mark = b'"record_type":' + canonical(record_type)
    # As in the line, with its escapes.
    first = canonical(identity.split(KEY_SEPARATOR, maxsplit=1)[0])[1:-1]
    done = 0
    for lines in batches_of_lines(files.blocks(bag.RECORDS), bag.RECORDS):
        for number, line in enumerate(lines, start=done + 1):
            if mark not in line or first not in line:
                continue
            record = parse_canonical(line, f"{bag.RECORDS}, line {number}")
            if KEY_SEPARATOR.join(str(record.get(column)) for column in columns) == identity:
                return number - 1, line
        done += len(lines)
        progress(done)
    shape = KEY_SEPARATOR.join(columns)
    raise EvidenceError(
        str(files.path), f"expected a record of type {record_type} with {shape} {shown(identity)}, got none"
    )

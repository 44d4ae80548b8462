"""Writes bags: records, documents, and the statement that seals them.

A bag is a BagIt directory (RFC 8493). It appears under its name only when it is complete and on disk. It never replaces
anything, because a sealed bag is evidence.
"""

from __future__ import annotations

import os
import shutil
import stat
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date as Date  # noqa: N812 - the argument is called date
from hashlib import sha256
from itertools import repeat
from pathlib import Path

from elspeth.evidence.format import bag
from elspeth.evidence.format.bag import PAYLOAD_TYPE, VERSION, Contact, RunFacts, Statement
from elspeth.evidence.format.canonical import parse_canonical
from elspeth.evidence.format.crate import CrateRecords, crate_metadata
from elspeth.evidence.format.envelopes import Envelope
from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.format.found import DatabaseFacts
from elspeth.evidence.format.hashed_lines import HashedLines
from elspeth.evidence.format.limits import MAX_CONTENTS
from elspeth.evidence.format.merkle import CompactRange, Subtrees
from elspeth.evidence.format.salts import LeafHasher, Salts
from elspeth.evidence.format.signatures import Signer
from elspeth.evidence.writer._instructions import instructions_text
from elspeth.outputs.policy import Kind, OutputPolicy, Protected
from elspeth.outputs.writing import Output, hold, sync_directory

__all__ = ["BagSummary", "bag_policy", "write_bag"]

_TYPE_MARK = b'"record_type":"'
"""The beginning of the field `record_type`. It cannot occur inside a JSON text, where quotes are escaped."""

_OURS = frozenset({bag.RECORDS, bag.LEAVES, bag.SALTS, bag.CRATE})

_BUFFER = 1 << 20
_ARCHIVE_TOP = "bag/"
_ARCHIVE_TIME = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip archive can state. It is fixed, so that the same bag always has the same bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BagSummary:
    """A summary of a written bag.

    `signed_by` is the fingerprint of the key, None for an unsigned bag.
    """

    path: Path
    record_count: int
    counts: Mapping[str, int]
    root: str
    signed_by: str | None


def bag_policy(protected: Sequence[Protected] = ()) -> OutputPolicy:
    """Return the policy that a bag may replace nothing."""
    taken = "exists already, and evidence is never overwritten: name another path"
    return OutputPolicy(kind=Kind.UNIQUE, objection=lambda _: taken, protected=protected)


def write_bag(
    target: Path | Output,
    batches: Iterable[Sequence[bytes] | HashedLines],
    *,
    facts: RunFacts | DatabaseFacts,
    documents: Mapping[str, bytes],
    signer: Signer | None,
    secret: str | None,
    archive: bool = False,
    progress: Callable[[int], None] | None = None,
    date: Date | None = None,
    stamp: Callable[[bytes], bytes] | None = None,
    contents: Iterable[tuple[str, bytes]] = (),
    contact: Contact | None = None,
    crate: CrateRecords | None = None,
) -> BagSummary:
    """Write a bag as a directory or a zip archive.

    `batches` hold the records in export order, either as canonical JSON without line feeds, or already hashed with the
    salts of this bag. `documents` are the other payload files, among them `export.schema.json` and, for a run,
    `references.json`. The salts of the leaves are derived from `secret`, which is None for leaves without salts; bags
    with different lines must have different secrets. `date` is the day in UTC that the bag states, or None.
    `progress` is called after each batch with the number of records written. `stamp` returns the time-stamp over the
    envelope. `contents` are the contents of rows and calls, with their SHA-256. `contact` is the person named as the
    bag's maker. With `crate`, the bag describes itself as an RO-Crate, whose workflow is the document `settings.yaml`.

    Raises OutputRefusedError if the name is taken, EvidenceError if a document is missing or not canonical JSON or if
    there are more contents than verifiers accept, and KeyFileError if the signer fails. In all these cases nothing is
    left behind. A crash leaves an unfinished directory, which the next attempt removes.
    """
    path = target.path if isinstance(target, Output) else target
    if stamp is not None and signer is None:
        raise EvidenceError(str(path), "a time-stamp is over the envelope, which an unsigned bag does not have")
    salts = None if secret is None else Salts(secret=secret, version=VERSION)
    payload = _payload(path, facts, documents, salts)
    with hold(target, bag_policy()) as output, output.temporary_directory() as directory:
        writer = _BagWriter(directory, salts)
        writer.write(bag.BAGIT, bag.BAGIT_TEXT)
        counts, root = writer.write_records(batches, progress or (lambda _: None))
        for name, content in payload.items():
            writer.write(name, content)
        writer.write_contents(contents)
        if crate is not None:
            writer.write(bag.CRATE, crate_metadata(crate, writer.payload_names))
        writer.write(bag.BAG_INFO, _bag_info(facts, writer.payload_size, len(writer.payload_names), date, contact))
        writer.write(bag.INSTRUCTIONS, instructions_text(facts, signer))
        if signer is not None and signer.certificates is not None:
            writer.write(bag.CERTIFICATES, signer.certificates)
        envelope = writer.seal(facts, counts, root, signer, contact)
        if stamp is not None and envelope is not None:
            writer.write(bag.TIMESTAMP, stamp(envelope))
        writer.sync()
        output.publish(_pack(directory) if archive else directory)
    signed_by = None if signer is None else signer.public_key.fingerprint
    return BagSummary(path=path, record_count=sum(counts.values()), counts=counts, root=root, signed_by=signed_by)


def _payload(
    target: Path, facts: RunFacts | DatabaseFacts, documents: Mapping[str, bytes], salts: Salts | None
) -> dict[str, bytes]:
    """Return the payload files other than the records.

    Raises EvidenceError for documents that no verifier would accept.
    """
    payload = {bag.payload_name(name): content for name, content in documents.items()}
    required = {bag.SCHEMA, bag.REFERENCES} if isinstance(facts, RunFacts) else {bag.SCHEMA}
    if missing := required - payload.keys():
        raise EvidenceError(
            str(target), f"expected the documents that verifiers read, got none at {', '.join(sorted(missing))}"
        )
    if taken := _OURS & payload.keys():
        raise EvidenceError(str(target), f"expected other names for documents than {', '.join(sorted(taken))}")
    for name, content in payload.items():
        if name.endswith(".json"):
            parse_canonical(content, name)
    if salts is not None:
        payload[bag.SALTS] = salts.to_bytes()
    return payload


class _BagWriter:
    """Writes durable files of a bag, and keeps their hashes."""

    def __init__(self, directory: Path, salts: Salts | None) -> None:
        self.payload_size = 0
        self.payload_names: list[str] = []
        self._salts = salts
        self._directory = directory
        self._digests: dict[str, str] = {}
        (directory / bag.PAYLOAD).mkdir()

    def write(self, name: str, content: bytes) -> None:
        with _durable(self._directory / name) as write:
            write(content)
        self._wrote(name, sha256(content).hexdigest(), len(content))

    def write_records(
        self, batches: Iterable[Sequence[bytes] | HashedLines], progress: Callable[[int], None]
    ) -> tuple[dict[str, int], str]:
        """Write records and their leaf hashes.

        Returns the number of records by type, and the Merkle root in hexadecimal.
        """
        counts: Counter[str] = Counter()
        tree, records_hash, leaves_hash = CompactRange(), sha256(), sha256()
        hasher = LeafHasher(self._salts)
        records, leaves = self._directory / bag.RECORDS, self._directory / bag.LEAVES
        with _durable(records) as write_records, _durable(leaves) as write_leaves:
            for batch in batches:
                if not batch:
                    continue
                hashed = batch if isinstance(batch, HashedLines) else _hash_batch(hasher, tree.size, batch)
                counts.update(hashed.counts)
                tree.extend(hashed.subtrees)
                for write, digest, data in (
                    (write_records, records_hash, hashed.lines),
                    (write_leaves, leaves_hash, hashed.leaves),
                ):
                    write(data)
                    digest.update(data)
                progress(tree.size)
        self._wrote(bag.RECORDS, records_hash.hexdigest(), records.stat().st_size)
        self._wrote(bag.LEAVES, leaves_hash.hexdigest(), leaves.stat().st_size)
        return dict(counts), tree.root().hex()

    def write_contents(self, contents: Iterable[tuple[str, bytes]]) -> None:
        """Write contents as files named by their hashes.

        Raises EvidenceError for more contents than verifiers accept.
        """
        for number, (content_hash, content) in enumerate(contents, start=1):
            if number == 1:
                (self._directory / bag.CONTENTS).mkdir()
            if number > MAX_CONTENTS:
                raise EvidenceError(bag.CONTENTS, f"expected at most {MAX_CONTENTS:,} contents, got more")
            self.write(bag.CONTENTS + content_hash, content)

    def seal(
        self,
        facts: RunFacts | DatabaseFacts,
        counts: Mapping[str, int],
        root: str,
        signer: Signer | None,
        contact: Contact | None,
    ) -> bytes | None:
        """Write the statement over all files, and the manifests.

        Returns the envelope, or None without a signer.
        """
        subjects = {name: digest for name, digest in self._digests.items() if name != bag.BAGIT}
        salted = self._salts is not None
        statement = Statement(
            subjects=subjects, facts=facts, counts=counts, root=root, salted=salted, contact=contact
        ).to_bytes()
        envelope = None if signer is None else Envelope.sign(statement, PAYLOAD_TYPE, signer).to_bytes()
        self.write(*((bag.STATEMENT, statement) if envelope is None else (bag.ENVELOPE, envelope)))
        payload = {name: digest for name, digest in self._digests.items() if name.startswith(bag.PAYLOAD)}
        self.write(bag.MANIFEST, bag.manifest_text(payload))
        tags = {name: digest for name, digest in self._digests.items() if name not in payload}
        self.write(bag.TAG_MANIFEST, bag.manifest_text(tags))
        return envelope

    def sync(self) -> None:
        """Make the names of the files durable."""
        if (self._directory / bag.CONTENTS).exists():
            sync_directory(self._directory / bag.CONTENTS)
        sync_directory(self._directory / bag.PAYLOAD)
        sync_directory(self._directory)

    def _wrote(self, name: str, digest: str, size: int) -> None:
        self._digests[name] = digest
        if name.startswith(bag.PAYLOAD):
            self.payload_size += size
            self.payload_names.append(name)


def _hash_batch(hasher: LeafHasher, first: int, batch: Sequence[bytes]) -> HashedLines:
    lines = b"\n".join([*batch, b""])
    counts = {name.decode(): count for name, count in _types_of(batch, lines, first + 1).items()}
    leaves = hasher.hashes(first, batch)
    return HashedLines(counts=counts, lines=lines, leaves=b"".join(leaves), subtrees=Subtrees.of(first, leaves))


def _types_of(batch: Sequence[bytes], joined: bytes, first: int) -> Mapping[bytes, int]:
    """Count the records of each type.

    Raises ValueError for a line that cannot be a record.
    """
    name = _record_type(batch[0], first)
    # Records of a type follow each other, so nearly every batch is of one type.
    one_type = joined.count(_TYPE_MARK + name + b'"') == len(batch)
    if one_type and not any(map(bytes.__contains__, batch, repeat(b"\n"))):
        return {name: len(batch)}
    return Counter(_record_type(line, number) for number, line in enumerate(batch, start=first))


def _record_type(line: bytes, number: int) -> bytes:
    start = line.find(_TYPE_MARK) + len(_TYPE_MARK)
    end = line.find(b'"', start)
    if start < len(_TYPE_MARK) or end < 0 or b"\n" in line:
        message = f"line {number}: expected a record in canonical JSON, on one line"
        raise ValueError(message)
    return line[start:end]


def _bag_info(
    facts: RunFacts | DatabaseFacts, size: int, files: int, date: Date | None, contact: Contact | None
) -> bytes:
    """Return the metadata of a bag (RFC 8493, section 2.2.2)."""
    if isinstance(facts, RunFacts):
        description, identifier = f"Audit trail of one run, epoch {facts.epoch}", facts.run_id
    else:
        description, identifier = f"Database as found at {facts.read_at}", facts.name
    fields = {
        "External-Description": description,
        "External-Identifier": ascii(identifier)[1:-1],  # escaped, so that it is one line
        "Payload-Oxum": f"{size}.{files}",
    }
    if contact is not None:
        fields |= {f"Contact-{what}": text for what, text in (("Name", contact.name), ("Email", contact.email)) if text}
    if date is not None:
        fields["Bagging-Date"] = date.isoformat()
    return "".join(f"{name}: {value}\n" for name, value in sorted(fields.items())).encode()


def _pack(directory: Path) -> Path:
    """Pack the bag in a directory, and return the archive."""
    packed = directory / "bag.zip"
    names = sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file())
    with packed.open("xb") as file:
        with zipfile.ZipFile(file, "w") as archive:
            for name in names:
                info = zipfile.ZipInfo(_ARCHIVE_TOP + name, _ARCHIVE_TIME)
                info.compress_type = zipfile.ZIP_DEFLATED
                info.external_attr = (stat.S_IFREG | 0o644) << 16
                info.file_size = (directory / name).stat().st_size
                with (directory / name).open("rb") as source, archive.open(info, "w") as member:
                    shutil.copyfileobj(source, member, _BUFFER)
        file.flush()
        os.fsync(file.fileno())
    return packed


@contextmanager
def _durable(path: Path) -> Iterator[Callable[[bytes], object]]:
    """Yield the write method of a file that becomes durable."""
    with path.open("xb", buffering=_BUFFER) as file:
        yield file.write
        file.flush()
        os.fsync(file.fileno())

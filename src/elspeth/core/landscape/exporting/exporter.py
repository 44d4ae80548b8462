"""The exporter: a run's records, closed by a manifest.

A signature is the HMAC-SHA256, in hexadecimal, over the canonical JSON of the record without its `signature`. It proves
that the writer of the record held the key. Everybody who can check it could also have made it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Any

import orjson
from sqlalchemy import Connection

from elspeth.core.canonical import canonical_bytes
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.errors import RunNotFoundError
from elspeth.core.landscape.exporting._record_rules import withheld_columns
from elspeth.core.landscape.lines.ranges import Readers, can_read_in_parallel, read_lines_in_parallel
from elspeth.core.landscape.lines.reading import (
    Chunk,
    LineTransform,
    TypedChunk,
    insert_key,
    read_lines,
    read_records,
    unchanged,
)
from elspeth.core.landscape.sealing.withheld import check_withheld_content
from elspeth.evidence.format.export_lines import MANIFEST
from elspeth_schema import EPOCH
from elspeth_schema.records import RECORD_TYPES, RUN

__all__ = ["LandscapeExporter", "ManifestBuilder"]

_HASH_ALGORITHM = "sha256"
_SIGNATURE_ALGORITHM = "hmac-sha256"

_BLOCK = 64
"""The block size of SHA-256, in bytes."""

_PROGRESS_EVERY = 1000


class LandscapeExporter:
    """Reads the records of a run in export order.

    Record types come in schema order, and the records of a type are sorted by key. One export sees one snapshot of the
    database, and makes one query per record type, whatever the size of the run.

    `include_payloads` also exports the columns that the schema withholds; the manifest says so. `progress` is called
    with the number of records exported so far, from time to time and at the end. The processes of an `executor` read
    the lines of a run that has ended, if they can open the database; the exported bytes are the same.
    """

    def __init__(
        self,
        db: LandscapeDB,
        signing_key: bytes | None = None,
        *,
        include_payloads: bool = False,
        progress: Callable[[int], None] | None = None,
        executor: Executor | None = None,
    ) -> None:
        self._db = db
        self._key = signing_key
        self._include_payloads = include_payloads
        self._progress = progress
        self._executor = executor

    def export_run(self, run_id: str, sign: bool = False) -> Iterator[dict[str, Any]]:  # noqa: FBT001, FBT002 - old API
        """Yield every record of the run as a JSON object.

        With `sign`, each record has its HMAC-SHA256 as `signature`, and a signed `manifest` record ends the export. An
        export that stops before its manifest is incomplete, which every reader reports.

        Raises RunNotFoundError, AuditIntegrityError for a record that breaks the schema, and ValueError for `sign`
        without a key.
        """
        if not sign:
            return self._records(run_id)
        return self._closed(run_id, self._signing_key())

    def export_run_grouped(self, run_id: str, sign: bool = False) -> dict[str, list[dict[str, Any]]]:  # noqa: FBT001, FBT002 - old API
        """Return every record of the run, by record type.

        The whole run is held in memory.
        """
        groups: dict[str, list[dict[str, Any]]] = {}
        for record in self.export_run(run_id, sign):
            groups.setdefault(record["record_type"], []).append(record)
        return groups

    def export_run_by_type(self, run_id: str, *, sign: bool = False) -> Iterator[tuple[str, Iterator[dict[str, Any]]]]:
        """Yield the complete export, one record type after another.

        Each type comes with its records; the last type is the manifest. Types without records are left out. Nothing is
        held in memory: requesting the next type skips unread records of the current one. Raises the errors of
        `export_run`.
        """
        closed = self._closed(run_id, self._signing_key() if sign else None)
        return groupby(closed, key=itemgetter("record_type"))

    def export_chunks(self, run_id: str, *, sign: bool = False) -> Iterator[Chunk]:
        """Yield the complete export as chunks of canonical JSON lines.

        The last line is the manifest. Raises the errors of `export_run`.
        """
        return ((count, lines) for _, count, lines in self.export_typed_chunks(run_id, sign=sign))

    def export_typed_chunks(self, run_id: str, *, sign: bool = False) -> Iterator[TypedChunk[bytes]]:
        """Yield the same chunks, each with its record type.

        Raises the errors of `export_run`.
        """
        return self._closed_chunks(run_id, self._signing_key() if sign else None)

    def _closed_chunks(self, run_id: str, key: bytes | None) -> Iterator[TypedChunk[bytes]]:
        builder = ManifestBuilder()
        with self._db.snapshot() as connection:
            for name, count, lines in self._lines(connection, run_id, key):
                builder.add_lines(name, count, lines)
                self._report(builder.total)
                yield name, count, lines
        self._require_run(run_id, found=builder.total > 0)
        manifest = self._manifest(builder, key)
        yield MANIFEST, 1, canonical_bytes(manifest) + b"\n"

    def export_lines(self, run_id: str, *, sign: bool = False) -> Iterator[bytes]:
        """Yield the complete export as lines without line feeds.

        The last line is the manifest. Raises the errors of `export_run`.
        """
        chunks = self.export_chunks(run_id, sign=sign)
        return (line for _, lines in chunks for line in lines[:-1].split(b"\n"))

    def _signing_key(self) -> bytes:
        if not self._key:
            message = "a signed export needs a key: pass signing_key to LandscapeExporter"
            raise ValueError(message)
        return self._key

    def _closed(self, run_id: str, key: bytes | None) -> Iterator[dict[str, Any]]:
        """Yield the records and the manifest, signed with `key`."""
        builder = ManifestBuilder()
        for record in self._records(run_id):
            signed = record if key is None else _signed(record, key)
            builder.add_lines(record["record_type"], 1, canonical_bytes(signed) + b"\n")
            yield signed
        yield self._manifest(builder, key)

    def _manifest(self, builder: ManifestBuilder, key: bytes | None) -> dict[str, Any]:
        unsigned = builder.manifest(signed=key is not None, include_payloads=self._include_payloads)
        return unsigned if key is None else _signed(unsigned, key)

    def _records(self, run_id: str) -> Iterator[dict[str, Any]]:
        number = 0
        with self._db.snapshot() as connection:
            if self._include_payloads:
                check_withheld_content(connection, run_id)
            for record_type in RECORD_TYPES.values():
                for record in read_records(connection, record_type, run_id, withheld=self._include_payloads):
                    number += 1
                    yield record
                    if number % _PROGRESS_EVERY == 0:
                        self._report(number)
                if record_type is RUN:
                    self._require_run(run_id, found=number == 1)
        self._report(number)

    def _lines(self, connection: Connection, run_id: str, key: bytes | None) -> Iterator[TypedChunk[bytes]]:
        transform = unchanged if key is None else partial(_signed_lines, key=key)
        if self._include_payloads:
            return _lines_with_payloads(connection, run_id, transform)
        if self._executor is not None and can_read_in_parallel(connection, run_id):
            readers = Readers.of(self._executor, self._db.engine.url)
            return read_lines_in_parallel(connection, run_id, readers, transform)
        return read_lines(connection, run_id, transform)

    def _require_run(self, run_id: str, *, found: bool) -> None:
        if not found:
            message = f"run {run_id!r} is not in the audit database {self._db.url}"
            raise RunNotFoundError(message)

    def _report(self, number: int) -> None:
        if self._progress is not None:
            self._progress(number)


def _lines_with_payloads(
    connection: Connection, run_id: str, transform: LineTransform[bytes]
) -> Iterator[TypedChunk[bytes]]:
    """Yield the lines of a run, including withheld columns."""
    check_withheld_content(connection, run_id)
    number = 0
    for name, record_type in RECORD_TYPES.items():
        for record in read_records(connection, record_type, run_id, withheld=True):
            line = canonical_bytes(record) + b"\n"
            yield name, 1, transform(name, number, line)
            number += 1


class ManifestBuilder:
    """Counts and hashes the lines of an export."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._counts: Counter[str] = Counter()
        self._run: Mapping[str, object] = {}

    def add_lines(self, record_type: str, count: int, lines: bytes) -> None:
        """Add `count` records of a type.

        Each line is canonical JSON with its line feed.
        """
        if not self._run:
            self._run = orjson.loads(lines.partition(b"\n")[0])
        self._counts[record_type] += count
        self._hash.update(lines)

    def add(self, record: Mapping[str, object], line: bytes) -> None:
        """Add a record, given with its canonical JSON."""
        self.add_lines(str(record["record_type"]), 1, line + b"\n")

    @property
    def total(self) -> int:
        """The number of records added so far."""
        return self._counts.total()

    @property
    def counts(self) -> Mapping[str, int]:
        """The number of records added so far, by record type."""
        return dict(self._counts)

    def manifest(self, *, signed: bool, include_payloads: bool, epoch: int = EPOCH) -> dict[str, object]:
        """Return the manifest of the added records.

        `final_hash` is the SHA-256 over all lines, each with its line feed.
        """
        return {
            "record_type": MANIFEST,
            "run_id": self._run["run_id"],
            "run_status": self._run["status"],
            "epoch": epoch,
            "record_count": self._counts.total(),
            "counts": self.counts,
            "withheld": [] if include_payloads else withheld_columns(epoch),
            "hash_algorithm": _HASH_ALGORITHM,
            "final_hash": self._hash.hexdigest(),
            "signature_algorithm": _SIGNATURE_ALGORITHM if signed else None,
        }


def _signature_of(record: Mapping[str, object], key: bytes) -> str:
    """Return the signature of a record as 64 hex digits.

    It does not cover a signature that the record already has.
    """
    unsigned = {name: value for name, value in record.items() if name != "signature"}
    return hmac.digest(key, canonical_bytes(unsigned), _HASH_ALGORITHM).hex()


def _signed(record: Mapping[str, object], key: bytes) -> dict[str, object]:
    """Return the record with its signature."""
    return {**record, "signature": _signature_of(record, key)}


def _signed_lines(record_type: str, first: int, lines: bytes, key: bytes) -> bytes:  # noqa: ARG001  a LineTransform
    """Return the lines, each with its signature.

    `lines` is canonical JSON of records of the type, each line with its line feed.
    """
    inner, outer = _hmac_states(key)
    found = lines.split(b"\n")[:-1]
    signatures = []
    for line in found:
        within, around = inner.copy(), outer.copy()
        within.update(line)
        around.update(within.digest())
        signatures.append(around.hexdigest())
    return b"".join(line + b"\n" for line in insert_key(record_type, "signature", found, signatures))


def _hmac_states(key: bytes) -> tuple[hashlib._Hash, hashlib._Hash]:
    """Return the inner and outer hash of HMAC (RFC 2104).

    Each has already hashed the padded key. Copying them for each message halves the cost.
    """
    block = (hashlib.sha256(key).digest() if len(key) > _BLOCK else key).ljust(_BLOCK, b"\0")
    return (
        hashlib.sha256(bytes(byte ^ 0x36 for byte in block)),
        hashlib.sha256(bytes(byte ^ 0x5C for byte in block)),
    )

"""Exports the audit trail of one run: the generated mappings, one streaming query per record type."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection

from elspeth.core.canonical import canonical_bytes
from elspeth.core.landscape.database import LandscapeDB, LandscapeError
from elspeth.core.landscape.exporting.signing import ManifestBuilder, sign_record, signed_lines
from elspeth.core.landscape.lines.chunks import Chunk, records_of
from elspeth.core.landscape.lines.run_lines import Dress, TypedChunk, can_share, run_lines, shared_lines
from elspeth.core.landscape.sealing.withheld import require_recorded_content
from elspeth_schema.records import RECORD_TYPES, RUN

__all__ = ["LandscapeExporter", "RunNotFoundError"]

_PROGRESS_EVERY = 1000


class RunNotFoundError(LandscapeError):
    """The database holds no such run."""


class LandscapeExporter:
    """Reads the records of a run in export order: by record type in schema order, within a type by key.

    One export sees one snapshot of the database, and makes one query per record type whatever the size of the run.
    `include_payloads` exports what the schema withholds, too; the manifest tells. `progress` is called with the number
    of records exported so far, now and then and at the end. With an `executor` its processes read the lines of a run
    that has ended, and of a database that they can open; the bytes are the same.
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
        """Every record of the run as a JSON object.

        With `sign`, each carries its HMAC-SHA256 as `signature`, and a signed `manifest` record follows the last: an
        export that stops before its manifest is incomplete, and every reader of ours says so. RunNotFoundError,
        AuditIntegrityError for a record that breaks the schema, ValueError for `sign` without a key.
        """
        if not sign:
            return self._records(run_id)
        return self._closed(run_id, self._signing_key())

    def export_run_grouped(self, run_id: str, sign: bool = False) -> dict[str, list[dict[str, Any]]]:  # noqa: FBT001, FBT002 - old API
        """Every record of the run, by record type. Holds the whole run in memory."""
        groups: dict[str, list[dict[str, Any]]] = {}
        for record in self.export_run(run_id, sign):
            groups.setdefault(record["record_type"], []).append(record)
        return groups

    def export_run_by_type(self, run_id: str, *, sign: bool = False) -> Iterator[tuple[str, Iterator[dict[str, Any]]]]:
        """The complete export, one record type after another, each with its records; the last one is the manifest.

        Types without records are left out. Nothing is held in memory: going on to the next type passes over what was
        not yet read of this one. Raises what `export_run` raises.
        """
        closed = self._closed(run_id, self._signing_key() if sign else None)
        return groupby(closed, key=itemgetter("record_type"))

    def export_chunks(self, run_id: str, *, sign: bool = False) -> Iterator[Chunk]:
        """The complete export as lines of canonical JSON, many at a time; the last line is the manifest.

        Raises what `export_run` raises.
        """
        return self._closed_chunks(run_id, self._signing_key() if sign else None)

    def _closed_chunks(self, run_id: str, key: bytes | None) -> Iterator[Chunk]:
        builder = ManifestBuilder()
        with self._db.snapshot() as connection:
            for name, count, lines in self._lines(connection, run_id, key):
                builder.add_lines(name, count, lines)
                self._report(builder.total)
                yield count, lines
        self._require_run(run_id, found=builder.total > 0)
        manifest = self._manifest(builder, key)
        yield 1, canonical_bytes(manifest) + b"\n"

    def export_lines(self, run_id: str, *, sign: bool = False) -> Iterator[bytes]:
        """The complete export as lines of canonical JSON, without line feeds; the last one is the manifest.

        Raises what `export_run` raises.
        """
        chunks = self.export_chunks(run_id, sign=sign)
        return (line for _, lines in chunks for line in lines[:-1].split(b"\n"))

    def _signing_key(self) -> bytes:
        if not self._key:
            message = "a signed export needs a key: pass signing_key to LandscapeExporter"
            raise ValueError(message)
        return self._key

    def _closed(self, run_id: str, key: bytes | None) -> Iterator[dict[str, Any]]:
        """The records, signed if there is a key, then the manifest."""
        builder = ManifestBuilder()
        for record in self._records(run_id):
            signed = record if key is None else sign_record(record, key)
            builder.add_lines(record["record_type"], 1, canonical_bytes(signed) + b"\n")
            yield signed
        yield self._manifest(builder, key)

    def _manifest(self, builder: ManifestBuilder, key: bytes | None) -> dict[str, Any]:
        unsigned = builder.manifest(signed=key is not None, include_payloads=self._include_payloads)
        return unsigned if key is None else sign_record(unsigned, key)

    def _records(self, run_id: str) -> Iterator[dict[str, Any]]:
        number = 0
        with self._db.snapshot() as connection:
            if self._include_payloads:
                require_recorded_content(connection, run_id)
            for record_type in RECORD_TYPES.values():
                for record in records_of(connection, record_type, run_id, withheld=self._include_payloads):
                    number += 1
                    yield record
                    if number % _PROGRESS_EVERY == 0:
                        self._report(number)
                if record_type is RUN:
                    self._require_run(run_id, found=number == 1)
        self._report(number)

    def _lines(self, connection: Connection, run_id: str, key: bytes | None) -> Iterator[TypedChunk]:
        dress = None if key is None else partial(signed_lines, key=key)
        if self._include_payloads:
            return _lines_with_payloads(connection, run_id, dress)
        if self._executor is not None and can_share(connection, run_id):
            return shared_lines(self._db, connection, run_id, self._executor, dress)
        return run_lines(connection, run_id, dress)

    def _require_run(self, run_id: str, *, found: bool) -> None:
        if not found:
            message = f"run {run_id!r} is not in the audit database {self._db.url}"
            raise RunNotFoundError(message)

    def _report(self, number: int) -> None:
        if self._progress is not None:
            self._progress(number)


def _lines_with_payloads(connection: Connection, run_id: str, dress: Dress | None) -> Iterator[TypedChunk]:
    """The lines of a run with what the schema withholds, one at a time."""
    require_recorded_content(connection, run_id)
    for name, record_type in RECORD_TYPES.items():
        for record in records_of(connection, record_type, run_id, withheld=True):
            line = canonical_bytes(record) + b"\n"
            yield name, 1, line if dress is None else dress(name, line)

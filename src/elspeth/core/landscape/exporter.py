"""Exports the audit trail of one run: the generated mappings, one streaming query per record type."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, select

from elspeth.core.canonical import canonical_bytes
from elspeth.core.landscape.database import LandscapeDB, LandscapeError
from elspeth.core.landscape.mapping import mapper
from elspeth.core.landscape.signing import ManifestBuilder, sign_record
from elspeth_schema.contracts import AuditRecord
from elspeth_schema.records import RECORD_TYPES, RecordType

__all__ = ["LandscapeExporter", "RunNotFoundError"]

_FETCH = 1000
"""Rows fetched from the database at once; bounds memory, does not show in the result."""

_PROGRESS_EVERY = 1000


class RunNotFoundError(LandscapeError):
    """The database holds no such run."""


class LandscapeExporter:
    """Reads the records of a run in export order: by record type in schema order, within a type by key.

    One export sees one snapshot of the database, and makes one query per record type whatever the size of the run.
    `include_payloads` exports what the schema withholds, too; the manifest tells. `progress` is called with the number
    of records exported so far, every thousand and at the end.
    """

    def __init__(
        self,
        db: LandscapeDB,
        signing_key: bytes | None = None,
        *,
        include_payloads: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        self._db = db
        self._key = signing_key
        self._include_payloads = include_payloads
        self._progress = progress

    def export_run(self, run_id: str, sign: bool = False) -> Iterator[dict[str, Any]]:  # noqa: FBT001, FBT002 - old API
        """Every record of the run as a JSON object.

        With `sign`, each carries its HMAC-SHA256 as `signature`, and a signed `manifest` record follows the last: an
        export that stops before its manifest is incomplete, and every reader of ours says so. RunNotFoundError,
        AuditIntegrityError for a record that breaks the schema, ValueError for `sign` without a key.
        """
        if not sign:
            return self._records(run_id)
        return (record for record, _ in self._closed(run_id, self._signing_key()))

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
        return groupby((record for record, _ in closed), key=itemgetter("record_type"))

    def export_lines(self, run_id: str, *, sign: bool = False) -> Iterator[bytes]:
        """The complete export as lines of canonical JSON, without line feeds; the last one is the manifest.

        Raises what `export_run` raises.
        """
        return (line for _, line in self._closed(run_id, self._signing_key() if sign else None))

    def _signing_key(self) -> bytes:
        if not self._key:
            message = "a signed export needs a key: pass signing_key to LandscapeExporter"
            raise ValueError(message)
        return self._key

    def _closed(self, run_id: str, key: bytes | None) -> Iterator[tuple[dict[str, Any], bytes]]:
        """The records, signed if there is a key, then the manifest; each with its canonical JSON."""
        builder = ManifestBuilder()
        for record in self._records(run_id):
            signed = record if key is None else sign_record(record, key)
            line = canonical_bytes(signed)
            builder.add(signed, line)
            yield signed, line
        unsigned = builder.manifest(signed=key is not None, include_payloads=self._include_payloads)
        manifest = unsigned if key is None else sign_record(unsigned, key)
        yield manifest, canonical_bytes(manifest)

    def _records(self, run_id: str) -> Iterator[dict[str, Any]]:
        report = self._progress or (lambda _: None)
        number = 0
        for number, record in enumerate(self._read(run_id), start=1):
            yield record
            if number % _PROGRESS_EVERY == 0:
                report(number)
        report(number)

    def _read(self, run_id: str) -> Iterator[dict[str, Any]]:
        with self._db.snapshot() as connection:
            for number, record_type in enumerate(RECORD_TYPES.values()):
                found = self._stream(connection, record_type, run_id)
                if number == 0:
                    # The first type is the run itself.
                    run = next(found, None)
                    if run is None:
                        message = f"run {run_id!r} is not in the audit database {self._db.url}"
                        raise RunNotFoundError(message)
                    yield run
                yield from found

    def _stream(
        self, connection: Connection, record_type: RecordType[AuditRecord], run_id: str
    ) -> Iterator[dict[str, Any]]:
        columns = record_type.table.c
        statement = (
            select(record_type.table)
            .where(columns.run_id == run_id)
            .order_by(*(columns[name] for name in record_type.order))
            .execution_options(yield_per=_FETCH)
        )
        convert = mapper(record_type)
        with connection.execute(statement) as rows:
            for row in rows:
                convert.from_row(row)  # raises for a row that breaks the schema: it must not look fine in an export
                yield convert.to_record(row, withheld=self._include_payloads)

"""Exports the audit trail of one run: the generated mappings, one streaming query per record type."""

from __future__ import annotations

from collections.abc import Iterator
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


class RunNotFoundError(LandscapeError):
    """The database holds no such run."""


class LandscapeExporter:
    """Reads the records of a run in export order: by record type in schema order, within a type by key.

    One export sees one snapshot of the database, and makes one query per record type whatever the size of the run.
    """

    def __init__(self, db: LandscapeDB, signing_key: bytes | None = None) -> None:
        self._db = db
        self._key = signing_key

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
        builder = ManifestBuilder(signed=key is not None)
        for record in self._records(run_id):
            signed = record if key is None else sign_record(record, key)
            line = canonical_bytes(signed)
            builder.add(signed, line)
            yield signed, line
        manifest = builder.manifest() if key is None else sign_record(builder.manifest(), key)
        yield manifest, canonical_bytes(manifest)

    def _records(self, run_id: str) -> Iterator[dict[str, Any]]:
        with self._db.snapshot() as connection:
            for number, record_type in enumerate(RECORD_TYPES.values()):
                found = _stream(connection, record_type, run_id)
                if number == 0:
                    # The first type is the run itself.
                    run = next(found, None)
                    if run is None:
                        message = f"run {run_id!r} is not in the audit database {self._db.url}"
                        raise RunNotFoundError(message)
                    yield run
                yield from found


def _stream(connection: Connection, record_type: RecordType[AuditRecord], run_id: str) -> Iterator[dict[str, Any]]:
    columns = record_type.table.c
    statement = (
        select(record_type.table)
        .where(columns.run_id == run_id)
        .order_by(*(columns[name] for name in record_type.order))
        .execution_options(yield_per=_FETCH)
    )
    convert = mapper(record_type)
    for row in connection.execute(statement):
        convert.from_row(row)  # raises for a row that breaks the schema: it must not be exported as if it were fine
        yield convert.to_record(row)

"""Seals of finished runs: Merkle roots over their records.

Any later edit of a sealed value changes the root. Columns that may still change in a finished record (by the schema's
lifecycle) are not sealed. In addition to the root, the database keeps the beginning of each leaf hash, which proves
nothing, but identifies an altered record. Write access to the database is not enough to forge a signed seal.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import closing
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from secrets import token_hex
from typing import TYPE_CHECKING

from sqlalchemy import Connection, String, cast, func, insert, select, union_all

from elspeth.contracts.database_urls import mask_url
from elspeth.core.canonical import canonical_bytes, stored_time_text, timestamp_text
from elspeth.core.landscape.database.errors import LandscapeError
from elspeth.core.landscape.lines.ranges import Readers
from elspeth.core.landscape.sealing.scope import (
    PREFIX_SIZE,
    current_scope,
    locate,
    scope_to_json,
    sealed_ranges,
)
from elspeth.evidence.format.errors import KeyFileError
from elspeth.evidence.format.merkle import CompactRange
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema import EPOCH
from elspeth_schema.records import RECORD_TYPES
from elspeth_schema.tables import run_secrets_table, seal_leaves_table, seals_table

if TYPE_CHECKING:
    from elspeth.evidence.format.signatures import Signer

__all__ = [
    "SEAL_TYPE",
    "Seal",
    "create_secret",
    "read_seals",
    "read_secret",
    "seal_run",
    "sealed_epoch",
    "sealed_record_count",
]

SEAL_TYPE = "application/vnd.elspeth.run-seal+json"
"""The payload type of a signed seal."""

_PART = 4096
"""The number of leaf hashes whose prefixes are kept in one row."""


# -- sealing ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """A seal as the database keeps it.

    `root` has 64 hex digits. `envelope_json` is the DSSE envelope over `payload`, or None for an unsigned seal. If
    somebody has tampered with the seal, the texts may hold any value.
    """

    run_id: str
    epoch: int
    root: str
    record_count: int
    counts_json: str
    scope_json: str
    envelope_json: str | None
    sealed_at: str

    @property
    def payload(self) -> bytes:
        """Return the signed content, in canonical JSON.

        The scope is not part of it, because the sealed lines name the columns. Raises ValueError, TypeError or
        CanonicalError for a seal that was tampered with.
        """
        members = {
            "counts": json.loads(self.counts_json),
            "epoch": self.epoch,
            "record_count": self.record_count,
            "root": self.root,
            "run_id": self.run_id,
            "sealed_at": self.sealed_at,
        }
        return canonical_bytes(members)


def seal_run(
    connection: Connection,
    run_id: str,
    signer: Signer | None = None,
    progress: Callable[[int, int], None] | None = None,
    *,
    readers: Readers | None = None,
    changed: Collection[str] = (),
) -> Seal:
    """Seal a finished run within the caller's transaction.

    Without a signer, the seal is unsigned. `progress` is called with the number of records sealed so far, and the
    number of all. `readers` share the reading of the record types that the transaction has not changed. Raises
    LandscapeError if the signer fails, and AuditIntegrityError, which names the database, for a record that breaks the
    schema. The caller must then roll the transaction back, and the run stays open.
    """
    tree, counts, scope, moment = CompactRange(), Counter[str](), current_scope(), datetime.now(UTC)
    total = 0 if progress is None else _count_records(connection, run_id)
    for sealed in scope:
        prefixes, located = list[bytes](), locate(sealed, EPOCH)
        able = None if located.record_type.name in changed else readers
        try:
            with closing(sealed_ranges(connection, located, run_id, tree.size, able)) as ranges:
                for found in ranges:
                    tree.extend(found.subtrees)
                    counts[sealed.record_type] += found.subtrees.size
                    prefixes.append(found.prefixes)
                    if progress is not None:
                        progress(tree.size, total)
        except AuditIntegrityError as error:
            raise error.in_database(mask_url(connection.engine.url)) from error
        # The lines are closed before writing, because PostgreSQL accepts no other statement while it sends them.
        joined, size = b"".join(prefixes), PREFIX_SIZE * _PART
        for part, start in enumerate(range(0, len(joined), size)):
            kept = joined[start : start + size].hex()
            row = {"run_id": run_id, "record_type": sealed.record_type, "part": part, "leaves": kept}
            connection.execute(insert(seal_leaves_table), row)
    seal = Seal(
        run_id=run_id,
        epoch=EPOCH,
        root=tree.root().hex(),
        record_count=counts.total(),
        counts_json=json.dumps(counts),
        scope_json=scope_to_json(scope),
        envelope_json=None,
        sealed_at=timestamp_text(moment),
    )
    if signer is not None:
        seal = replace(seal, envelope_json=_sign(seal, signer))
    connection.execute(insert(seals_table), asdict(seal) | {"sealed_at": moment})
    return seal


def _count_records(connection: Connection, run_id: str) -> int:
    """Count the run's records in indexes, without reading them."""
    tables = [record_type.table for record_type in RECORD_TYPES.values()]
    counts = [
        select(func.count().label("records")).select_from(table).where(table.c.run_id == run_id) for table in tables
    ]
    found: int | None = connection.scalar(select(func.sum(union_all(*counts).subquery().c.records)))
    return found or 0


def _sign(seal: Seal, signer: Signer) -> str:
    from elspeth.evidence.format.envelopes import Envelope  # noqa: PLC0415  loads cryptography, which few runs need

    try:
        return Envelope.sign(seal.payload, SEAL_TYPE, signer).to_bytes().decode()
    except KeyFileError as error:
        raise LandscapeError(f"run {seal.run_id} cannot be sealed, and stays open: {error}") from error


# -- what the database keeps -----------------------------------------------------------------------------------------


def create_secret(connection: Connection, run_id: str) -> None:
    """Create the random secret of a run.

    The salts of its records are derived from it.
    """
    connection.execute(insert(run_secrets_table), {"run_id": run_id, "secret": token_hex(32)})


def read_secret(connection: Connection, run_id: str) -> str | None:
    """Return the run's secret, 64 hex digits.

    Returns None for a run that was imported, or recorded before runs had secrets.
    """
    columns = run_secrets_table.c
    found: str | None = connection.scalar(select(columns.secret).where(columns.run_id == run_id))
    return found


def sealed_epoch(connection: Connection, run_id: str) -> int | None:
    """Return the epoch in which the run was sealed.

    Returns None for a run that was imported, was recorded before seals existed, or has not ended.
    """
    columns = seals_table.c
    found: int | None = connection.scalar(select(columns.epoch).where(columns.run_id == run_id))
    return found


def sealed_record_count(connection: Connection, run_id: str) -> int | None:
    """Return the number of records that the run's seal covers.

    An export has as many records. Returns None for a run without a seal.
    """
    columns = seals_table.c
    found: int | None = connection.scalar(select(columns.record_count).where(columns.run_id == run_id))
    return found


def read_seals(connection: Connection, run_id: str | None = None) -> list[Seal]:
    """Return all seals, or a run's, oldest first and unchecked."""
    columns = seals_table.c
    # Times are read as text: drivers would fail on a value that is not a time, or outside Python's range.
    times = cast(columns.sealed_at, String).label("sealed_at")
    others = [columns[field.name] for field in fields(Seal) if field.name != "sealed_at"]
    statement = select(*others, times).order_by(columns.sealed_at, columns.run_id)
    if run_id is not None:
        statement = statement.where(columns.run_id == run_id)
    found = connection.execute(statement).mappings()
    return [Seal(**{**row, "sealed_at": stored_time_text(row["sealed_at"])}) for row in found]

"""The seal of a finished run: the Merkle root over its records, kept in the database, so that a later edit shows.

What may still change in a finished record (the schema's lifecycle says what) is left out of the sealed bytes. The root
proves; beside it the beginnings of the leaf hashes are kept, which only serve to name the record that was altered.
Signed, a seal cannot be made anew by whoever can write to the database.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from secrets import token_hex
from typing import TYPE_CHECKING

from sqlalchemy import Connection, String, func, insert, select, type_coerce, union_all

from elspeth.core.canonical import canonical_bytes, timestamp_text
from elspeth.core.chunks import chunks
from elspeth.core.landscape.database.errors import LandscapeError
from elspeth.core.landscape.sealing.scope import located, scope_of_today, scope_to_json, sealed_lines
from elspeth.evidence.format.errors import KeyFileError
from elspeth.evidence.format.merkle import TreeHasher, leaf_hash
from elspeth_schema import EPOCH
from elspeth_schema.records import RECORD_TYPES
from elspeth_schema.tables import run_secrets_table, seal_leaves_table, seals_table

if TYPE_CHECKING:
    from elspeth.evidence.format.signatures import Signer

__all__ = [
    "SEAL_TYPE",
    "Seal",
    "hint",
    "hints_of",
    "keep_secret",
    "seal_run",
    "sealed_count",
    "sealed_in",
    "sealed_runs",
    "secret_of",
]

SEAL_TYPE = "application/vnd.elspeth.run-seal+json"
"""The payload type of a signed seal."""

_HINT = 8
"""Hex digits of a leaf hash that are kept to find an altered record; the root does not depend on them."""

_PART = 4096
"""Leaf hashes kept in one row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """A seal as the database keeps it: root (64 hex digits) and number of the records of a run, per type too.

    `scope_json` lists what it covers, `envelope_json` is the DSSE envelope over `payload`, None if it is not signed.
    `sealed_at` is a time as records have it. Whoever wrote over a seal may have left anything.
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
        """What is signed, in canonical JSON; ValueError, TypeError or CanonicalError for a seal that was written over.

        The scope is not part of it: the root is over lines that hold the names of what is covered.
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
) -> Seal:
    """Compute the seal of a finished run and keep it, within the caller's transaction; unsigned without a signer.

    `progress` is called with the number of records sealed so far, and of all. LandscapeError if the signer fails: the
    transaction is to be rolled back, and the run stays open.
    """
    tree, counts, scope, moment = TreeHasher(), Counter[str](), scope_of_today(), datetime.now(UTC)
    total = 0 if progress is None else _count_records(connection, run_id)
    for sealed in scope:
        hints = []
        # Closed before the transaction ends, whatever ends it: PostgreSQL takes no statement while it sends the lines.
        with closing(sealed_lines(connection, located(sealed, EPOCH), run_id)) as lines:
            for leaves in chunks(map(leaf_hash, lines), _PART):
                tree.extend(leaves)
                counts[sealed.record_type] += len(leaves)
                hints.append("".join(map(hint, leaves)))
                if progress is not None:
                    progress(tree.size, total)
        # Only now, for the same reason.
        for part, kept in enumerate(hints):
            _keep_hints(connection, run_id, sealed.record_type, part, kept)
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
        seal = replace(seal, envelope_json=_signed(seal, signer))
    connection.execute(insert(seals_table), asdict(seal) | {"sealed_at": moment})
    return seal


def keep_secret(connection: Connection, run_id: str) -> None:
    """Keep a new random secret for a run: the salts of its records will be derived from it."""
    connection.execute(insert(run_secrets_table), {"run_id": run_id, "secret": token_hex(32)})


def secret_of(connection: Connection, run_id: str) -> str | None:
    """The run's secret, 64 hex digits; None for a run that was recorded before there were secrets, or imported."""
    columns = run_secrets_table.c
    found: str | None = connection.scalar(select(columns.secret).where(columns.run_id == run_id))
    return found


def sealed_in(connection: Connection, run_id: str) -> int | None:
    """Return the epoch in which the run was sealed.

    None for a run that was imported, recorded before there were seals, or has not ended.
    """
    columns = seals_table.c
    found: int | None = connection.scalar(select(columns.epoch).where(columns.run_id == run_id))
    return found


def sealed_runs(connection: Connection) -> list[Seal]:
    """The seals of all runs that have one, oldest first, as they are kept: whether they hold is for `check_seal`."""
    columns = seals_table.c
    # SQLAlchemy would fail on a time that is none.
    times = type_coerce(columns.sealed_at, String).label("sealed_at")
    others = [columns[field.name] for field in fields(Seal) if field.name != "sealed_at"]
    statement = select(*others, times).order_by(columns.sealed_at, columns.run_id)
    found = connection.execute(statement).mappings()
    return [Seal(**{**row, "sealed_at": _time_text(row["sealed_at"])}) for row in found]


def hint(leaf: bytes) -> str:
    """What is kept of a leaf hash."""
    return leaf.hex()[:_HINT]


def hints_of(connection: Connection, run_id: str, record_type: str) -> Iterator[str]:
    """What is kept of the leaf hashes of the run's records of the type, in the order of the seal.

    All of it is fetched at once, 8 bytes each: PostgreSQL takes no statement while it sends the records themselves.
    """
    columns = seal_leaves_table.c
    statement = (
        select(columns.leaves)
        .where(columns.run_id == run_id, columns.record_type == record_type)
        .order_by(columns.part)
    )
    parts = connection.execute(statement).scalars().all()
    return (leaves[start : start + _HINT] for leaves in parts for start in range(0, len(leaves), _HINT))


def sealed_count(connection: Connection, run_id: str) -> int | None:
    """Return how many records the seal of the run is over, which are those of its exports; None without a seal."""
    columns = seals_table.c
    found: int | None = connection.scalar(select(columns.record_count).where(columns.run_id == run_id))
    return found


def _count_records(connection: Connection, run_id: str) -> int:
    """Return how many records the run has, counted in indexes: quick beside reading them."""
    tables = [record_type.table for record_type in RECORD_TYPES.values()]
    counts = [
        select(func.count().label("records")).select_from(table).where(table.c.run_id == run_id) for table in tables
    ]
    found: int | None = connection.scalar(select(func.sum(union_all(*counts).subquery().c.records)))
    return found or 0


def _time_text(value: object) -> str:
    """The time as records have it; what is none stays as it is. PostgreSQL returns times, SQLite text."""
    try:
        return timestamp_text(value if isinstance(value, datetime) else datetime.fromisoformat(str(value)))
    except ValueError:
        return str(value)


def _keep_hints(connection: Connection, run_id: str, record_type: str, part: int, hints: str) -> None:
    row = {"run_id": run_id, "record_type": record_type, "part": part, "leaves": hints}
    connection.execute(insert(seal_leaves_table), row)


def _signed(seal: Seal, signer: Signer) -> str:
    from elspeth.evidence.format.signatures import Envelope  # noqa: PLC0415  loads cryptography, which few runs need

    try:
        return Envelope.sign(seal.payload, SEAL_TYPE, signer).to_bytes().decode()
    except KeyFileError as error:
        raise LandscapeError(f"run {seal.run_id} cannot be sealed, and stays open: {error}") from error

"""The seal of a finished run: the Merkle root over its records, kept in the database, so that a later edit shows.

What may still change in a finished record (the schema's lifecycle says what) is left out of the sealed bytes. The root
proves; beside it the beginnings of the leaf hashes are kept, which only serve to name the record that was altered.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from secrets import token_hex

from sqlalchemy import Connection, insert, select

from elspeth.core.canonical import canonical_bytes
from elspeth.core.chunks import chunks
from elspeth.core.landscape.export.lines import chunks_of, records_of
from elspeth.core.landscape.migration.bookkeeping import run_secrets_table, seal_leaves_table, seals_table
from elspeth.evidence.merkle import TreeHasher, leaf_hash
from elspeth_schema import EPOCH
from elspeth_schema.contracts import AuditRecord
from elspeth_schema.records import RECORD_TYPES, RecordType

__all__ = ["Seal", "SealFault", "check_seal", "keep_secret", "seal_run", "sealed_runs", "secret_of"]

_HINT = 8
"""Hex digits of a leaf hash that are kept to find an altered record; the root does not depend on them."""

_PART = 4096
"""Leaf hashes kept in one row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """Root (64 hex digits) and number of the records of a run, per type too, when it was sealed."""

    run_id: str
    epoch: int
    root: str
    record_count: int
    counts: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class SealFault:
    """The first difference between a run and its seal."""

    run_id: str
    table: str
    key: str
    problem: str


def seal_run(connection: Connection, run_id: str) -> Seal:
    """Compute the seal of a finished run and keep it, within the caller's transaction."""
    tree, counts = TreeHasher(), Counter[str]()
    for name, record_type in RECORD_TYPES.items():
        for part, leaves in enumerate(chunks(map(leaf_hash, _sealed_lines(connection, record_type, run_id)), _PART)):
            tree.extend(leaves)
            counts[name] += len(leaves)
            _keep_hints(connection, run_id, name, part, [leaf.hex()[:_HINT] for leaf in leaves])
    seal = Seal(
        run_id=run_id,
        epoch=EPOCH,
        root=tree.root().hex(),
        record_count=counts.total(),
        counts=dict(counts),
    )
    connection.execute(
        insert(seals_table),
        {
            "run_id": seal.run_id,
            "epoch": seal.epoch,
            "root": seal.root,
            "record_count": seal.record_count,
            "counts_json": json.dumps(seal.counts),
            "sealed_at": datetime.now(UTC),
        },
    )
    return seal


def keep_secret(connection: Connection, run_id: str) -> None:
    """Keep a new random secret for a run: the salts of its records will be derived from it."""
    connection.execute(insert(run_secrets_table), {"run_id": run_id, "secret": token_hex(32)})


def secret_of(connection: Connection, run_id: str) -> str | None:
    """The run's secret, 64 hex digits; None for a run that was recorded before there were secrets, or imported."""
    columns = run_secrets_table.c
    found: str | None = connection.scalar(select(columns.secret).where(columns.run_id == run_id))
    return found


def sealed_runs(connection: Connection) -> list[Seal]:
    """The seals of all runs that have one, oldest first."""
    columns = seals_table.c
    statement = select(columns.run_id, columns.epoch, columns.root, columns.record_count, columns.counts_json).order_by(
        columns.sealed_at, columns.run_id
    )
    return [
        Seal(run_id=run_id, epoch=epoch, root=root, record_count=record_count, counts=json.loads(counts))
        for run_id, epoch, root, record_count, counts in connection.execute(statement)
    ]


def check_seal(connection: Connection, seal: Seal) -> SealFault | None:
    """Compute the root anew; None if it is the sealed one, else the first record that differs.

    Raises AuditIntegrityError for a record that breaks the schema, which no sealed record did.
    """
    tree = TreeHasher()
    fault: SealFault | None = None
    for name, record_type in RECORD_TYPES.items():
        hints = _hints(connection, seal.run_id, name)
        for line in _sealed_lines(connection, record_type, seal.run_id):
            leaf = leaf_hash(line)
            tree.add(leaf)
            hint = next(hints, None)
            if fault is None and hint != leaf.hex()[:_HINT]:
                problem = "is not the record that was sealed here" if hint else "was added after the seal"
                fault = _fault(record_type, line, problem)
        if fault is None and next(hints, None) is not None:
            problem = "a record is missing at the end"
            fault = SealFault(run_id=seal.run_id, table=record_type.table.name, key="", problem=problem)
    if tree.root().hex() == seal.root:
        return None
    unknown = SealFault(run_id=seal.run_id, table="", key="", problem="the records are not those that were sealed")
    return fault or unknown


def _sealed_lines(connection: Connection, record_type: RecordType[AuditRecord], run_id: str) -> Iterator[bytes]:
    """The sealed bytes of each record, in export order."""
    unsealed = record_type.lifecycle.afterwards
    if not unsealed:
        for _, lines in chunks_of(connection, record_type, run_id):
            yield from lines[:-1].split(b"\n")
        return
    for record in records_of(connection, record_type, run_id):
        yield canonical_bytes({name: value for name, value in record.items() if name not in unsealed})


def _keep_hints(connection: Connection, run_id: str, record_type: str, part: int, hints: list[str]) -> None:
    row = {"run_id": run_id, "record_type": record_type, "part": part, "leaves": "".join(hints)}
    connection.execute(insert(seal_leaves_table), row)


def _hints(connection: Connection, run_id: str, record_type: str) -> Iterator[str]:
    columns = seal_leaves_table.c
    statement = (
        select(columns.leaves)
        .where(columns.run_id == run_id, columns.record_type == record_type)
        .order_by(columns.part)
    )
    for (leaves,) in connection.execute(statement):
        for start in range(0, len(leaves), _HINT):
            yield leaves[start : start + _HINT]


def _fault(record_type: RecordType[AuditRecord], line: bytes, problem: str) -> SealFault:
    record = json.loads(line)
    key = " ".join(f"{name}={record[name]!r}" for name in record_type.key)
    return SealFault(run_id=record["run_id"], table=record_type.table.name, key=key, problem=problem)

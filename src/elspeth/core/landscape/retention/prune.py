"""Prunes runs: moves them from the database into bags.

The bag is written, synced and verified first. One transaction then compares the run with the bag, records that it is
pruned, and deletes its records. A crash before the commit leaves the run in the database, and perhaps a bag, which the
next attempt verifies and uses; a crash after it leaves the run in the bag.
"""

from __future__ import annotations

import hashlib
import operator
import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from sqlalchemy import ColumnElement, Connection, delete, func, select

from elspeth.core.canonical import timestamp_text
from elspeth.core.landscape.database import LandscapeDB, LandscapeError
from elspeth.core.landscape.database.claim import RunClaimedError, claim_run
from elspeth.core.landscape.database.pruned_runs import PrunedRun, add_pruned_run
from elspeth.core.landscape.database.run_log import Happening, append_entry, ensure_log
from elspeth.core.landscape.database.tables import load_snapshot, tool
from elspeth.core.landscape.exporting.files import ExportFormat, write_export
from elspeth.core.landscape.lines.reading import read_lines, unchanged
from elspeth.core.landscape.queries.outputs import outputs_json, recorded_outputs
from elspeth.core.landscape.sealing.check import AlteredRunError
from elspeth.evidence.format import bag
from elspeth.evidence.format.errors import EvidenceError
from elspeth.outputs.policy import OutputRefusedError
from elspeth.outputs.writing import make_directory, sync_directory
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema import EPOCH
from elspeth_schema.contracts import RunStatus
from elspeth_schema.records import RECORD_TYPES
from elspeth_schema.tables import metadata, pruned_runs_table, rows_table, runs_table

if TYPE_CHECKING:
    from elspeth.evidence.format.bag import Statement
    from elspeth.evidence.format.signatures import Signer

__all__ = ["REFUSALS", "BagRefusedError", "PrunableRun", "find_prunable", "prune_run", "vacuum"]

_runs, _rows = runs_table.c, rows_table.c


class BagRefusedError(LandscapeError):
    """A bag does not hold the records of the run."""


REFUSALS = (BagRefusedError, AlteredRunError, AuditIntegrityError, OutputRefusedError, RunClaimedError)
"""The errors that keep one run in the database, but do not concern others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunableRun:
    """A run that can be pruned, and its bag.

    `rows` counts the rows that the run read. `withheld` counts the values that no export holds, such as the content of
    rejected rows: they are lost when the run is pruned.
    """

    run_id: str
    status: RunStatus
    started_at: datetime
    completed_at: datetime
    rows: int
    withheld: int
    bag: Path


def find_prunable(db: LandscapeDB, before: datetime, archive: Path) -> list[PrunableRun]:
    """Return the runs that ended before a moment, oldest first."""
    ended = [status.value for status in RunStatus if status.is_terminal]
    rows = select(func.count()).where(_rows.run_id == _runs.run_id).scalar_subquery()
    statement = (
        select(_runs.run_id, _runs.status, _runs.started_at, _runs.completed_at, rows, _withheld_counts())
        .where(_runs.status.in_(ended), _runs.completed_at < before.astimezone(UTC))
        .order_by(_runs.started_at, _runs.run_id)
    )
    with db.snapshot() as connection:
        return [
            PrunableRun(
                run_id=run_id,
                status=RunStatus(status),
                started_at=_in_utc(started_at),
                completed_at=_in_utc(completed_at),
                rows=number,
                withheld=withheld,
                # Ids of runs that other programs recorded may contain any character.
                bag=archive.absolute() / f"{quote(run_id, safe='')}.zip",
            )
            for run_id, status, started_at, completed_at, number, withheld in connection.execute(statement)
        ]


def prune_run(
    db: LandscapeDB, run: PrunableRun, *, signer: Signer | None = None, progress: Callable[[int], None] | None = None
) -> PrunedRun:
    """Write and verify a run's bag, and delete the run.

    A bag that exists already is verified and used. With a signer, the bag must be signed by it. `progress` is called
    with the number of records written so far.

    Raises BagRefusedError for a bag that is not sound or does not hold the present records of the run, RunClaimedError
    while another process works on the run, and the errors of `write_export`. After an error, the database is unchanged.
    """
    with claim_run(db, run.run_id) as claim:
        if not run.bag.exists():
            write_export(
                db, run.run_id, run.bag, format=ExportFormat.BAG, signer=signer, archive=True, progress=progress
            )
        bag_hash = _sync_and_hash(run.bag)
        statement = _verify(run, signer)
        with claim.write_transaction() as connection:
            ensure_log(connection)
            _require_same_records(connection, run, statement)
            pruned = PrunedRun(
                run_id=run.run_id,
                status=run.status.value,
                started_at=timestamp_text(run.started_at),
                completed_at=timestamp_text(run.completed_at),
                row_count=run.rows,
                record_count=statement.record_count,
                outputs_json=outputs_json(recorded_outputs(connection, run.run_id)),
                bag_path=str(run.bag),
                bag_hash=bag_hash,
                bag_root=statement.root,
                pruned_at=timestamp_text(datetime.now(UTC)),
                tool=tool(),
            )
            add_pruned_run(connection, pruned)
            _delete_records(connection, run, statement.record_count)
            append_entry(
                connection,
                Happening.PRUNED,
                bag=run.bag.name,
                bag_hash=bag_hash,
                bag_root=statement.root,
                run_id=run.run_id,
                status=run.status.value,
            )
    return pruned


def vacuum(db: LandscapeDB) -> None:
    """Release the space of deleted records.

    SQLite rewrites the database, which needs as much free space as its content takes.
    """
    with db.engine.connect() as connection:
        connection.connection.cursor().execute("VACUUM")


def _in_utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _withheld_counts() -> ColumnElement[int]:
    """Return a query for the number of withheld values."""
    counts = [
        select(func.count(record_type.table.c[column.name])).where(record_type.table.c.run_id == _runs.run_id)
        for record_type in RECORD_TYPES.values()
        for column in record_type.columns
        if column.withheld is not None
    ]
    return reduce(operator.add, [count.scalar_subquery() for count in counts])


def _sync_and_hash(path: Path) -> str:
    """Make a bag durable, and return its SHA-256.

    The process that wrote an existing bag may have been killed before it was durable.
    """
    with path.open("rb") as file:
        os.fsync(file.fileno())
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    make_directory(path.parent)
    sync_directory(path.parent)
    return digest


def _verify(run: PrunableRun, signer: Signer | None) -> Statement:
    """Verify the bag of a run, and return its statement.

    Raises BagRefusedError if a step fails, or if the bag is not of this run.
    """
    from elspeth.evidence.verifier.procedure import Verdict  # noqa: PLC0415  loads cryptography
    from elspeth.evidence.verifier.reader import open_bag  # noqa: PLC0415
    from elspeth.evidence.verifier.statements import read_statement  # noqa: PLC0415
    from elspeth.evidence.verifier.verify import verify_files  # noqa: PLC0415

    try:
        with open_bag(run.bag) as files:
            found = verify_files(files, key=None if signer is None else signer.public_key)
            if found.verdict is not Verdict.NOT_VERIFIED and found.run_id == run.run_id:
                return read_statement(files)[0]
    except EvidenceError as error:
        raise _refused(run, error.problem if error.place == str(run.bag) else str(error)) from error
    fault = next((fault.detail for fault in found.faults), f"expected run {run.run_id}, got {found.run_id}")
    raise _refused(run, fault)


def _require_same_records(connection: Connection, run: PrunableRun, statement: Statement) -> None:
    """Raise BagRefusedError unless the bag holds the present records.

    On PostgreSQL the record of the run is locked, as by all transactions that change the run.
    """
    connection.execute(select(_runs.run_id).where(_runs.run_id == run.run_id).with_for_update())
    digest = hashlib.sha256()
    # Close the query even after an error: until then, PostgreSQL accepts no other statement on the connection.
    with closing(read_lines(connection, run.run_id, unchanged)) as chunks:
        for _, _, lines in chunks:
            digest.update(lines)
    if digest.hexdigest() != statement.subjects[bag.RECORDS]:
        raise _refused(run, "its records are not those of the database: the run was changed since, or the bag is older")


def _delete_records(connection: Connection, run: PrunableRun, expected: int) -> None:
    """Delete the records of a run, and its bookkeeping.

    Raises LandscapeError if the number of deleted records differs from that in the bag.
    """
    deleted = 0
    for table in reversed([record_type.table for record_type in RECORD_TYPES.values()]):
        deleted += connection.execute(delete(table).where(table.c.run_id == run.run_id)).rowcount
    if deleted != expected:
        raise LandscapeError(f"run {run.run_id}: expected to delete {expected:,} records, got {deleted:,}: not pruned")
    (released,) = (table.releases for table in load_snapshot(EPOCH).tables if table.name == pruned_runs_table.name)
    for table in (metadata.tables[name] for name in released):
        connection.execute(delete(table).where(table.c.run_id == run.run_id))


def _refused(run: PrunableRun, problem: str) -> BagRefusedError:
    return BagRefusedError(
        f"run {run.run_id} was not pruned: {run.bag}: {problem}. Nothing was deleted."
        " Move the bag away, and prune again"
    )

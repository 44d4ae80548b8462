"""Grades the reproducibility of runs, and purges payloads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from elspeth.core.canonical import timestamp_text
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.run_log import Happening, append_entry, ensure_log
from elspeth.core.landscape.records.store import RecordStore
from elspeth.core.payload_store import ManagedPayloadStore
from elspeth_schema import records
from elspeth_schema.contracts import Determinism, ReproducibilityGrade
from elspeth_schema.tables import nodes_table

__all__ = [
    "PurgePlan",
    "ReproducibilityGrade",
    "compute_grade",
    "grade_of",
    "plan_purge",
    "purge",
    "set_run_grade",
    "update_grade_after_purge",
]

_REPEATABLE = frozenset({Determinism.DETERMINISTIC, Determinism.SEEDED})


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgePlan:
    """Payloads last used before `cutoff`, with the runs affected.

    `size_bytes` is the total size of the payloads.
    """

    cutoff: datetime
    payloads: tuple[str, ...]
    size_bytes: int
    runs: tuple[str, ...]


def grade_of(determinisms: Iterable[Determinism | None]) -> ReproducibilityGrade:
    """Return the grade of a run by its nodes.

    None stands for a node whose determinism is unknown.
    """
    found = set(determinisms)
    if None in found:
        return ReproducibilityGrade.ATTRIBUTABLE_ONLY
    if found <= _REPEATABLE:
        return ReproducibilityGrade.FULL_REPRODUCIBLE
    return ReproducibilityGrade.REPLAY_REPRODUCIBLE


def compute_grade(db: LandscapeDB, run_id: str) -> ReproducibilityGrade:
    """Return the grade of a run, judged by its nodes."""
    nodes = RecordStore(db).select(records.NODE, nodes_table.c.run_id == run_id)
    return grade_of(node.determinism for node in nodes)


def set_run_grade(db: LandscapeDB, run_id: str, grade: ReproducibilityGrade) -> None:
    """Record a run's grade."""
    store = RecordStore(db)
    run = store.require(records.RUN, run_id, run_id=run_id)
    store.change(run, replace(run, reproducibility_grade=grade))


def update_grade_after_purge(db: LandscapeDB, run_id: str) -> None:
    """Lower a run's grade after a purge of its payloads."""
    run = RecordStore(db).require(records.RUN, run_id, run_id=run_id)
    if run.reproducibility_grade is ReproducibilityGrade.REPLAY_REPRODUCIBLE:
        set_run_grade(db, run_id, ReproducibilityGrade.ATTRIBUTABLE_ONLY)


def plan_purge(db: LandscapeDB, payloads: ManagedPayloadStore, *, days: int, now: datetime) -> PurgePlan:
    """Return the payloads that a purge would delete.

    Payloads are kept for `days`; all payloads of a run that has not ended are kept.
    """
    runs = sorted(RecordStore(db).select(records.RUN), key=lambda run: (run.started_at, run.run_id), reverse=True)
    cutoff = min(
        [now - timedelta(days=days), *(run.started_at for run in runs if not run.status.is_terminal)],
    )
    found = list(payloads.last_used_before(cutoff))
    return PurgePlan(
        cutoff=cutoff.astimezone(UTC),
        payloads=tuple(content_hash for content_hash, _ in found),
        size_bytes=sum(size for _, size in found),
        runs=tuple(run.run_id for run in runs if run.started_at < cutoff) if found else (),
    )


def purge(db: LandscapeDB, payloads: ManagedPayloadStore, plan: PurgePlan) -> None:
    """Carry out a plan, except for payloads used since.

    The records keep the hashes, which can still prove content that was kept elsewhere. After a crash, runs may be
    graded as less reproducible than they are, but never as more.
    """
    if plan.payloads:
        with db.write_transaction() as connection:
            ensure_log(connection)
            append_entry(
                connection,
                Happening.PURGED,
                cutoff=timestamp_text(plan.cutoff),
                payloads=len(plan.payloads),
                size_bytes=plan.size_bytes,
            )
    for run_id in plan.runs:
        update_grade_after_purge(db, run_id)
    payloads.delete_unused(plan.payloads, plan.cutoff)

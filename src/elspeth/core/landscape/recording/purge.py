"""Payloads that need not be kept any longer, and what is lost with them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.landscape.recording.reproducibility import update_grade_after_purge
from elspeth.core.payload_store import FilesystemPayloadStore

__all__ = ["PurgePlan", "plan_purge", "purge"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgePlan:
    """Payloads that were last used before `cutoff`, their size in bytes, and the runs whose contents they may be."""

    cutoff: datetime
    payloads: tuple[str, ...]
    size_bytes: int
    runs: tuple[str, ...]


def plan_purge(db: LandscapeDB, payloads: FilesystemPayloadStore, *, days: int, now: datetime) -> PurgePlan:
    """What may be purged when payloads are kept for so many days. A run that has not ended keeps all of its own."""
    runs = LandscapeRecorder(db).list_runs()
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


def purge(db: LandscapeDB, payloads: FilesystemPayloadStore, plan: PurgePlan) -> None:
    """Carry out a plan. The records keep the hashes, so that content kept elsewhere can still be proved.

    What a run has used since the plan was made is kept.

    A crash leaves runs that are said to be less reproducible than they are, never more.
    """
    for run_id in plan.runs:
        update_grade_after_purge(db, run_id)
    for content_hash in plan.payloads:
        payloads.delete_unless_used(content_hash, plan.cutoff)

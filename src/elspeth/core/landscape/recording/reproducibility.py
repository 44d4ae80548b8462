"""How much of a run could be repeated later, as its nodes and what is still kept of it allow."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.records.store import RecordStore
from elspeth_schema import records
from elspeth_schema.contracts import Determinism, ReproducibilityGrade
from elspeth_schema.tables import nodes_table

__all__ = ["ReproducibilityGrade", "compute_grade", "grade_of", "set_run_grade", "update_grade_after_purge"]

_REPEATABLE = frozenset({Determinism.DETERMINISTIC, Determinism.SEEDED})


def grade_of(determinisms: Iterable[Determinism]) -> ReproducibilityGrade:
    """The grade of a run whose nodes depend on these things."""
    if _REPEATABLE.issuperset(determinisms):
        return ReproducibilityGrade.FULL_REPRODUCIBLE
    return ReproducibilityGrade.REPLAY_REPRODUCIBLE


def compute_grade(db: LandscapeDB, run_id: str) -> ReproducibilityGrade:
    """The grade of a run, judged by its nodes."""
    nodes = RecordStore(db).select(records.NODE, nodes_table.c.run_id == run_id)
    return grade_of(node.determinism for node in nodes)


def set_run_grade(db: LandscapeDB, run_id: str, grade: ReproducibilityGrade) -> None:
    """Record a run's grade."""
    store = RecordStore(db)
    run = store.require(records.RUN, run_id, run_id=run_id)
    store.change(run, replace(run, reproducibility_grade=grade))


def update_grade_after_purge(db: LandscapeDB, run_id: str) -> None:
    """Lower a run's grade after its payloads were purged: what needs recorded answers can no longer be replayed."""
    run = RecordStore(db).require(records.RUN, run_id, run_id=run_id)
    if run.reproducibility_grade is ReproducibilityGrade.REPLAY_REPRODUCIBLE:
        set_run_grade(db, run_id, ReproducibilityGrade.ATTRIBUTABLE_ONLY)

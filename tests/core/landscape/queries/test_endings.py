"""How tokens ended, read from either database."""

from __future__ import annotations

from elspeth.core.landscape.queries.endings import ended_tokens, step_names
from elspeth_schema.contracts import RowOutcome
from tests.fixtures.landscapes import NewLandscape
from tests.fixtures.told_run import record_told_run


def test_both_databases_list_the_same_endings(new_landscape: NewLandscape) -> None:
    with new_landscape() as db:
        told = record_told_run(db)
        with db.snapshot() as connection:
            found = list(ended_tokens(connection, told.run_id))
            bad = list(ended_tokens(connection, told.run_id, outcomes=[RowOutcome.FAILED, RowOutcome.QUARANTINED]))
            assert step_names(connection, told.run_id)["enrich"] == "enrich"
    assert [(each.row, each.outcome, each.sink) for each in found if each.row in {0, 2, 5}] == [
        (0, "routed", "high"),
        (2, "expanded", None),
        (2, "completed", "output"),
        (2, "completed", "output"),
        (2, "failed", None),
        (5, "quarantined", None),
    ]
    assert [(each.row, each.outcome, each.step) for each in bad] == [
        (2, "failed", None),
        (5, "quarantined", "source"),
        (6, "quarantined", "source"),
    ]

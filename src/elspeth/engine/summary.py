"""The summary of a completed run, from its counts and its records."""

from __future__ import annotations

from collections.abc import Mapping

from elspeth.contracts.enums import RowOutcome
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.queries.differing_answers import count_differing_answers, first_differing_rows
from elspeth.core.landscape.queries.failed_rows import FailedRows, failed_rows
from elspeth.engine.calls.caller import Outside
from elspeth.engine.pipeline import Pipeline
from elspeth.engine.result import Ending, Reason, RunResult, count_by_outcome, count_by_sink

__all__ = ["summary_of"]

_DIFFERING_ROWS = 100


def summary_of(
    db: LandscapeDB,
    pipeline: Pipeline,
    run_id: str,
    *,
    rows: int,
    endings: Mapping[Ending, int],
    outside: Outside | None,
) -> RunResult:
    """Return what became of the rows of a run. Its records are read only if some failed, or answers were compared."""
    by_sink, by_outcome = count_by_sink(endings), count_by_outcome(endings)
    failed, quarantined = by_outcome[RowOutcome.FAILED], by_outcome[RowOutcome.QUARANTINED]
    found = failed_rows(db, run_id) if failed or quarantined else FailedRows()
    nodes = {node.node_id: f"{node.node_type} {node.name}" for node in pipeline.nodes.values()}
    refused = {name: found.visits_by_node.get(pipeline.sink_node(name).node_id, 0) for name in pipeline.sinks}
    is_compared = outside is not None and pipeline.settings.run_mode == "verify"
    return RunResult(
        run_id=run_id,
        rows=rows,
        rows_by_sink={name: by_sink[name] for name in pipeline.sinks},
        arrived=by_outcome[RowOutcome.COMPLETED] + by_outcome[RowOutcome.ROUTED],
        failed=failed,
        quarantined=quarantined,
        rows_with_failures=found.count,
        reasons=[
            Reason(
                node=nodes[each.node_id],
                kind=each.kind,
                message=each.message,
                count=each.count,
                row=each.row_index,
            )
            for each in found.reasons
        ],
        refused_by_sink={name: count for name, count in refused.items() if count and not by_sink[name]},
        differences=count_differing_answers(db, run_id) if is_compared else None,
        differing_rows=tuple(first_differing_rows(db, run_id, _DIFFERING_ROWS)) if is_compared else (),
    )

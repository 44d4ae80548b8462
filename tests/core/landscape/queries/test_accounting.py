"""The account of a run: counts, messages and progress.

Each law is tested in `test_accounting_laws`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.tables import analyze_grown_tables
from elspeth.core.landscape.queries import accounting
from elspeth.core.landscape.queries.accounting import account_for
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.evidence.format.laws import Law
from elspeth_schema.tables import metadata
from tests.engine.drawn import AskTransform
from tests.engine.pipelines import run_graph
from tests.fixtures.every_kind import every_kind_settings
from tests.fixtures.records import record_graph


@pytest.fixture
def token_id(recorder: LandscapeRecorder) -> str:
    """Record a token that visited the source and failed there."""
    record_graph(recorder)
    recorder.create_row("run", "source", 0, {}, row_id="row")
    token = recorder.create_token("row", run_id="run", token_id="token").token_id
    state = recorder.begin_node_state(token, "source", 0, {}, run_id="run", state_id="state")
    recorder.complete_node_state(state.state_id, "failed", run_id="run", error={"exception": "no", "type": "Error"})
    recorder.record_token_outcome("run", "token", "failed", error_hash="0" * 64)
    return token


def test_a_run_whose_tokens_all_ended_breaks_no_law(landscape: LandscapeDB, token_id: str) -> None:
    account = account_for(landscape, "run")
    assert (token_id, account.rows, account.breaches) == ("token", 1, ())


def second_row(recorder: LandscapeRecorder) -> None:
    recorder.create_row("run", "source", 1, {}, row_id="lonely")


def open_visit(recorder: LandscapeRecorder) -> None:
    recorder.begin_node_state("token", "aggregation", 1, {}, run_id="run", state_id="open")


def waiting_visit(recorder: LandscapeRecorder) -> None:
    open_visit(recorder)
    recorder.complete_node_state("open", "pending", run_id="run", duration_ms=1.0)


def open_batch(recorder: LandscapeRecorder) -> None:
    recorder.create_batch("run", "aggregation", batch_id="batch-1")


def batch_at_work(recorder: LandscapeRecorder) -> None:
    open_batch(recorder)
    recorder.update_batch_status("batch-1", "executing")


@pytest.mark.parametrize(
    ("record", "law", "problem"),
    [
        (second_row, Law.TOKENS, "expected a token for every row, got none for row lonely"),
        (second_row, Law.READINGS, "expected one visit to its source of every row, got none or more of lonely"),
        (open_visit, None, "expected every visit to a node to have ended, got unfinished open"),
        (waiting_visit, None, "expected every visit to a node to have ended, got unfinished open"),
        (open_batch, None, "expected every batch to be processed, got unfinished batch-1"),
        (batch_at_work, None, "expected every batch to be processed, got unfinished batch-1"),
    ],
)
def test_records_that_break_a_law_are_named(  # noqa: PLR0917  fixtures
    landscape: LandscapeDB,
    recorder: LandscapeRecorder,
    token_id: str,
    record: Callable[[LandscapeRecorder], None],
    law: Law | None,
    problem: str,
) -> None:
    assert token_id == "token"
    record(recorder)
    assert (law, problem) in [(breach.law, breach.problem) for breach in account_for(landscape, "run").breaches]


def test_progress_counts_queries(landscape: LandscapeDB, token_id: str) -> None:
    seen: list[tuple[int, int]] = []
    account_for(landscape, "run", progress=lambda done, total: seen.append((done, total)))
    assert (token_id, [done for done, _ in seen]) == ("token", list(range(1, seen[0][1] + 1)))


def rows_touched(plan: dict[str, Any]) -> int:
    """Return how many rows an executed plan handled."""
    handled = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Join Filter", 0)
    return int(handled * plan["Actual Loops"]) + sum(map(rows_touched, plan.get("Plans", [])))


@pytest.mark.postgres
def test_no_law_compares_each_record_with_all_others(tmp_path: Path, postgresql_url: str) -> None:
    settings = every_kind_settings(tmp_path)
    lines = [json.dumps({"id": number, "v": number % 5, "items": [number]}) for number in range(100, 500)]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    settings["landscape"] = {"url": postgresql_url}
    _, records = run_graph(tmp_path, settings, AskTransform)
    (run,) = records["run"]
    with LandscapeDB.from_url(postgresql_url) as db, db.connection() as connection:
        analyze_grown_tables(connection, metadata.tables.values())
        costly = {}
        for number, query in enumerate(accounting._queries(run["run_id"], "postgresql"), start=1):
            text = str(query.keys.limit(5).compile(connection, compile_kwargs={"literal_binds": True}))
            explain = f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {text}".replace("%", "%%")
            (plan,) = connection.exec_driver_sql(explain).scalar_one()
            if (touched := rows_touched(plan["Plan"])) > 6 * sum(map(len, records.values())):
                costly[number, query.problem] = touched
        assert costly == {}

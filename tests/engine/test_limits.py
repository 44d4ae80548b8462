"""A run with more failures than the settings allow fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from elspeth.contracts.rows import RowData
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.settings.problems import SettingsError
from elspeth.engine.errors import RunInterruptedError, TooManyFailuresError
from elspeth.engine.keys import load_run_keys
from elspeth.engine.orchestrator import Orchestrator
from elspeth.engine.reporting import Observer, Progress, RunResult
from tests.engine.pipelines import (
    PLUGINS,
    Settings,
    build,
    execute,
    graph_settings,
    groups_of,
    trail,
    wired_settings,
    written,
)

EXPECTED = "expected a number of rows, such as 10, or a part of them, such as '1%'"


def settings(directory: Path, url: str | None = None, *, rows: int = 10, fail: int = 2, **fail_if: object) -> Settings:
    """Return settings in which the last rows fail.

    `fail` of them fail in a transform, one in a gate.
    """
    failing = list(range(rows - fail - 1, rows - 1))
    given: list[RowData] = [{"id": number} for number in range(rows - 1)]
    found = graph_settings(
        directory,
        [*given, {}],
        row_plugins=[{"plugin": "mark", "options": {"field": "ok", "fail": failing}}],
        gates=[{"name": "known", "condition": "row['id'] >= 0", "routes": {"true": "continue", "false": "out"}}],
        fail_if=fail_if,
    )
    return found if url is None else {**found, "landscape": {"url": url}}


def run(directory: Path, given: Settings, observer: Observer | None = None) -> RunResult:
    return execute(build(directory, given, *PLUGINS), observer)


def test_a_run_within_its_limits_completes(tmp_path: Path) -> None:
    steps = {"mark_0": 2, "known": "12.5%", "given": 0, "out": 0}
    assert run(tmp_path, settings(tmp_path, failed="30%", quarantined=0, steps=steps)).failed == 3


@pytest.mark.parametrize(
    ("fail_if", "problem"),
    [
        ({"failed": 2}, "fail_if.failed allows 2, got 3 failed"),
        ({"steps": {"mark_0": 1}}, "fail_if.steps.mark_0 allows 1, got 2 failed"),
    ],
    ids=["run", "step"],
)
def test_a_run_with_more_failures_than_the_limit_fails(tmp_path: Path, fail_if: dict[str, Any], problem: str) -> None:
    with pytest.raises(TooManyFailuresError) as raised:
        run(tmp_path, settings(tmp_path, **fail_if))
    assert str(raised.value).endswith(f"has too many failures: {problem}")
    assert trail(tmp_path)["run"][0]["status"] == "failed"


def test_a_run_beyond_its_limits_publishes_nothing_and_says_why(tmp_path: Path, database_url: str) -> None:
    limits: dict[str, Any] = {"failed": "29.9%", "steps": {"mark_0": "19%", "known": "12%"}}
    with pytest.raises(TooManyFailuresError) as raised:
        run(tmp_path, settings(tmp_path, database_url, **limits))
    records = trail(tmp_path, database_url)
    run_id = records["run"][0]["run_id"]
    assert records["run"][0]["status"] == "failed"
    assert len(records["row"]) == 10  # percentages are compared at the end
    assert str(raised.value) == (
        f"run {run_id} has too many failures: fail_if.failed allows 29.9%, got 3 of 10 failed;"
        " fail_if.steps.mark_0 allows 19%, got 2 of 10 failed; fail_if.steps.known allows 12%, got 1 of 8 failed"
    )
    assert raised.value.__notes__[:2] == [
        "2 at transform mark_0: RowError: refused (first in row 7)",
        "1 at gate known: EvaluationError: the row has no field 'id' (first in row 9)",
    ]
    kept, recorded = raised.value.__notes__[-2:]
    assert Path(kept.removeprefix("Rows that were recorded as written are kept in ").removesuffix(".")).exists()
    assert recorded == f"Run {run_id} is recorded as failed."
    assert not (tmp_path / "out.jsonl").exists()
    errors = {each["error_message"] for each in records["operation"]}
    assert f"TooManyFailuresError: {raised.value}" in errors


def test_a_number_ends_the_run_at_the_row_that_exceeds_it(tmp_path: Path) -> None:
    given = settings(tmp_path, rows=20, fail=10, failed=4, steps={"known": "99%"})
    with pytest.raises(TooManyFailuresError, match="allows 4, got 5 failed"):
        run(tmp_path, given)
    assert len(trail(tmp_path)["row"]) == 14


def test_a_limit_of_no_failures_ends_the_run_at_the_first(tmp_path: Path) -> None:
    given = settings(tmp_path, rows=20, fail=10, failed=0, steps={"known": "99%"})
    with pytest.raises(TooManyFailuresError, match="allows 0, got 1 failed"):
        run(tmp_path, given)
    assert len(trail(tmp_path)["row"]) == 10


def test_a_percentage_is_exact(tmp_path: Path) -> None:
    """As a float, 29 % of 100 is less."""
    assert run(tmp_path, settings(tmp_path, rows=100, fail=28, failed="29%")).failed == 29


def test_rows_that_fail_in_a_batch_count_for_its_step(tmp_path: Path) -> None:
    batch = {"name": "pairs", "plugin": "batch_stats", "trigger": {"count": 2}, "options": {"value_field": "gone"}}
    given = graph_settings(tmp_path, [{"id": number} for number in range(8)], aggregations=[batch])
    given["fail_if"] = {"steps": {"pairs": 3}}
    with pytest.raises(TooManyFailuresError, match=r"fail_if\.steps\.pairs allows 3, got 4 failed"):
        run(tmp_path, given)
    assert len(trail(tmp_path)["row"]) == 4


def test_a_resumed_run_compares_percentages_of_all_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    groups_of(monkeypatch, 6)
    given = settings(tmp_path, failed="30%")
    seen: list[Progress] = []
    with pytest.raises(RunInterruptedError):
        run(tmp_path, given, Observer(on_rows=seen.append, is_stopped=lambda: bool(seen)))
    pipeline = build(tmp_path, given, *PLUGINS)
    with LandscapeDB.from_url(given["landscape"]["url"]) as db:
        work = Orchestrator(db, pipeline, load_run_keys(pipeline.settings, {}, source="settings.yaml"))
        assert work.resume(trail(tmp_path)["run"][0]["run_id"]).failed == 3


def wired(directory: Path, steps: dict[str, Any]) -> Settings:
    """Return wired settings in which two rows fail.

    They are of two sources, and go to the sink `bad`.
    """
    check = {"name": "check", "plugin": "mark", "input": "rows", "on_success": "out", "on_error": "bad"}
    return wired_settings(
        directory,
        {"north": [{"id": 1}, {"id": 2}], "south": [{"id": 3}]},
        *("out", "bad"),
        queues={"rows": {}},
        transforms=[check | {"options": {"field": "ok", "fail": [2, 3]}}],
        fail_if={"failed": "67%", "steps": steps},
    )


def test_limits_name_the_steps_of_wired_settings(tmp_path: Path) -> None:
    with pytest.raises(TooManyFailuresError, match=r"steps\.check allows 50%, got 2 of 3 failed"):
        run(tmp_path, wired(tmp_path, {"check": "50%", "north": 0}))


def test_rows_of_several_sources_name_their_source(tmp_path: Path) -> None:
    run(tmp_path, wired(tmp_path, {"check": "70%"}))
    found = [(row["error_row"], row["error_source"], row["error_step"]) for row in written(tmp_path, "bad")]
    assert found == [(1, "north", "check"), (2, "south", "check")]


def test_a_resumed_run_counts_earlier_failures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    groups_of(monkeypatch, 8)
    given = settings(tmp_path, steps={"mark_0": 1})
    seen: list[Progress] = []
    with pytest.raises(RunInterruptedError):
        run(tmp_path, given, Observer(on_rows=seen.append, is_stopped=lambda: bool(seen)))
    pipeline = build(tmp_path, given, *PLUGINS)
    run_id = trail(tmp_path)["run"][0]["run_id"]
    with LandscapeDB.from_url(given["landscape"]["url"]) as db:
        work = Orchestrator(db, pipeline, load_run_keys(pipeline.settings, {}, source="settings.yaml"))
        with pytest.raises(TooManyFailuresError, match=r"steps\.mark_0 allows 1, got 2 failed"):
            work.resume(run_id)
        recorded = LandscapeRecorder(db).get_run(run_id)
    assert recorded is not None
    assert recorded.status.value == "failed"


@pytest.mark.parametrize(
    ("fail_if", "problem"),
    [
        ({"quarantined": "many"}, f"fail_if.quarantined: {EXPECTED}, got 'many'"),
        (
            {"failed": -1},
            "fail_if.failed: expected a number of rows, such as 10, or a part of them, such as '1%', got -1",
        ),
        (
            {"failed": True},
            "fail_if.failed: expected a number of rows, such as 10, or a part of them, such as '1%', got True",
        ),
        (
            {"steps": {"mark": 1}},
            (
                "fail_if.steps.mark: unknown step 'mark': expected one of given, mark_0, known, out;"
                " did you mean 'mark_0'?"
            ),
        ),
    ],
    ids=["text", "negative", "boolean", "unknown step"],
)
def test_an_impossible_limit_is_a_problem(tmp_path: Path, fail_if: dict[str, Any], problem: str) -> None:
    with pytest.raises(SettingsError) as raised:
        build(tmp_path, settings(tmp_path, **fail_if), *PLUGINS)
    assert [str(each) for each in raised.value.problems] == [problem]

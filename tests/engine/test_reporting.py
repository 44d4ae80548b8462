"""The summary of a run: what failed, and why."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from elspeth.contracts.enums import RowOutcome
from elspeth.contracts.events import Event, event_of
from elspeth.contracts.plugins import Aggregation, Source, SourceOptions, Transform
from elspeth.contracts.rows import InvalidRow, RowData
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.queries.recorded import count_endings
from elspeth.engine.errors import RunInterruptedError
from elspeth.engine.keys import load_run_keys
from elspeth.engine.orchestrator import Orchestrator
from elspeth.engine.reporting import Ending, Observer, Progress, Reason, RunResult, log_completion, summarize
from tests.engine.pipelines import (
    GivenSource,
    MarkTransform,
    Settings,
    build,
    csv_settings,
    execute,
    graph_settings,
    groups_of,
    run,
)
from tests.fixtures.workers import InlineWorkers

ROWS: list[RowData] = [{"id": number} for number in range(6)]


class HalfSource(Source):
    """A source of six rows, every second one invalid."""

    name = "half"
    plugin_version = "1"
    options_model = SourceOptions

    def read(self) -> Iterator[RowData | InvalidRow]:
        """Yield the rows."""
        for number, row in enumerate(ROWS):
            yield row if number % 2 else InvalidRow(data=row, error=f"line {number + 2}: even")


class SwallowAggregation(Aggregation):
    """An aggregation that returns no rows."""

    name = "swallow"
    plugin_version = "1"

    def process(self, rows: list[RowData]) -> list[RowData]:
        """Return no rows."""
        assert rows
        return []


PLUGINS = (GivenSource, HalfSource, MarkTransform, SwallowAggregation)


def failing(directory: Path, ids: list[int], **sections: object) -> Settings:
    """Return settings whose transform fails for these ids."""
    options = {"field": "seen", "fail": ids, "on_error": "discard"}
    return graph_settings(directory, ROWS) | {"row_plugins": [{"plugin": "mark", "options": options}]} | sections


def result_of(directory: Path, settings: Settings) -> RunResult:
    result, _ = run(directory, settings, *PLUGINS)
    return result


def test_a_run_in_which_every_row_arrives_has_no_problem(tmp_path: Path) -> None:
    result = result_of(tmp_path, failing(tmp_path, []))
    assert (result.arrived, result.rows_with_failures, result.reasons, result.problems) == (6, 0, [], [])


def test_a_run_in_which_some_rows_fail_has_no_problem_but_says_why(tmp_path: Path) -> None:
    result = result_of(tmp_path, failing(tmp_path, [1, 4]))
    assert (result.arrived, result.failed, result.rows_with_failures, result.problems) == (4, 2, 2, [])
    assert result.reasons == [Reason(node="transform mark_0", kind="RowError", message="refused", count=2, row=1)]


def test_a_run_in_which_every_row_fails_has_a_problem(tmp_path: Path) -> None:
    result = result_of(tmp_path, failing(tmp_path, list(range(6))))
    assert result.problems == ["no row got through: 6 of 6 rows failed or were quarantined"]


def test_a_single_row_is_reported_in_the_singular(tmp_path: Path) -> None:
    result = replace(result_of(tmp_path, failing(tmp_path, list(range(6)))), rows=1, rows_with_failures=1)
    assert result.problems == ["no row got through: 1 of 1 row failed or was quarantined"]


def test_a_run_in_which_some_rows_fail_and_the_others_are_dropped_has_a_problem(tmp_path: Path) -> None:
    settings = failing(tmp_path, [3])
    keep_one = {"plugin": "filter", "options": {"condition": "row['id'] == 3"}}
    settings["row_plugins"].insert(0, keep_one)
    result = result_of(tmp_path, settings)
    assert (result.arrived, result.dropped, result.failed) == (0, 5, 1)
    assert result.problems == ["no row got through: 1 of 6 rows failed or was quarantined"]


def test_a_completed_run_is_logged_with_its_counts_and_problems(caplog: pytest.LogCaptureFixture) -> None:
    result = RunResult(run_id="r1", rows=1200, rows_by_sink={"out": 7}, arrived=7, failed=2, quarantined=3, dropped=4)
    facts = {
        "rows": 1200,
        "rows_by_sink": {"out": 7},
        "failed": 2,
        "quarantined": 3,
        "dropped": 4,
        "elapsed_s": 1.235,
        "problems": [],
    }
    refused = "sink 'x' took no row: it refused 2 rows"
    with caplog.at_level(logging.INFO, "elspeth.events"):
        log_completion(result, elapsed_s=1.23456)
        log_completion(replace(result, refused_by_sink={"x": 2}), elapsed_s=1.23456)
    assert [(each.levelname, each.getMessage(), event_of(each)) for each in caplog.records] == [
        ("INFO", "run r1 is complete: 1,200 rows", Event("run_completed", facts)),
        (
            "WARNING",
            f"run r1 is complete: 1,200 rows; {refused}",
            Event("run_completed", facts | {"problems": [refused]}),
        ),
    ]


def test_a_reason_is_shown_with_its_number_and_first_row() -> None:
    reason = Reason(node="gate g", kind="EvaluationError", message="division by zero", count=1234, row=5)
    assert str(reason) == "1,234 at gate g: EvaluationError: division by zero (first in row 5)"


class SplitTransform(Transform):
    """A transform that makes two rows of each."""

    name = "split"
    plugin_version = "1"
    expands = True

    def process(self, row: RowData) -> list[RowData]:
        """Return the row twice."""
        return [row, row]


@pytest.mark.parametrize("workers", [None, InlineWorkers()], ids=["alone", "workers"])
def test_the_ends_that_a_run_counts_are_those_that_it_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: InlineWorkers | None
) -> None:
    """They are read again only when a run is resumed."""
    counted: list[Mapping[Ending, int]] = []

    def noted(*arguments: Any, **options: Any) -> RunResult:  # noqa: ANN401  passed on
        counted.append(options["endings"])
        return summarize(*arguments, **options)

    monkeypatch.setattr("elspeth.engine.orchestrator.summarize", noted)
    fork = {"name": "fork", "condition": "row['id'] != 4", "routes": {"true": "fork", "false": "continue"}}
    settings = failing(tmp_path, [1])
    settings["sinks"]["a"] = {"plugin": "jsonl", "options": {"path": str(tmp_path / "a.jsonl")}}
    settings["row_plugins"] += [{"plugin": "split", "options": {}}]
    settings["row_plugins"] += [{"plugin": "filter", "options": {"condition": "row['id'] != 2"}}]
    settings["gates"] = [fork | {"fork_to": ["a", "b", "c"]}]
    settings["coalesce"] = [{"name": "meet", "branches": ["b", "c"]}]
    settings["aggregations"] = [{"name": "all", "plugin": "batch_replicate", "output_mode": "transform"}]
    pipeline = build(tmp_path, settings, *PLUGINS, SplitTransform)
    result = execute(pipeline, workers=workers)
    with LandscapeDB.from_url(pipeline.settings.landscape.url) as db:
        recorded = count_endings(db, result.run_id)
    assert counted == [recorded]
    kinds = {outcome for outcome, _ in recorded}
    names = ("COALESCED", "COMPLETED", "CONSUMED_IN_BATCH", "DROPPED", "EXPANDED", "FAILED", "FORKED", "ROUTED")
    assert kinds == {RowOutcome[name] for name in names}


def test_what_an_observer_is_told_does_not_change_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    groups_of(monkeypatch, 2)
    told: list[Progress] = []
    execute(build(tmp_path, failing(tmp_path, []), *PLUGINS), Observer(on_rows=told.append))
    assert [sum(each.endings.values()) for each in told] == [2, 4, 6]


def test_rows_that_fail_in_different_places_give_one_problem(tmp_path: Path) -> None:
    settings = failing(tmp_path, [1, 3, 5]) | {"datasource": {"plugin": "half", "options": {}}}
    result = result_of(tmp_path, settings)
    assert (result.failed, result.quarantined) == (3, 3)
    assert [(each.node, each.message, each.count, each.row) for each in result.reasons] == [
        ("source half", "even", 3, 0),
        ("transform mark_0", "refused", 3, 1),
    ]
    assert result.problems == ["no row got through: 6 of 6 rows failed or were quarantined"]


def test_rows_sent_to_an_error_sink_did_not_get_through(tmp_path: Path) -> None:
    options = {
        "on_validation_failure": "aside",
        "path": str(tmp_path / "in.csv"),
        "schema": {"mode": "free", "fields": ["id: int"]},
    }
    (tmp_path / "in.csv").write_text("id,kind\nx,a\ny,b\n")
    settings = csv_settings(tmp_path) | {"datasource": {"plugin": "csv", "options": options}}
    settings["sinks"]["aside"] = {"plugin": "jsonl", "options": {"path": str(tmp_path / "aside.jsonl")}}
    result = result_of(tmp_path, settings)
    assert (result.rows_by_sink["aside"], result.arrived) == (2, 0)
    assert result.problems == ["no row got through: 2 of 2 rows failed or were quarantined"]


def test_a_source_without_rows_is_not_a_problem(tmp_path: Path) -> None:
    assert result_of(tmp_path, graph_settings(tmp_path, [])).problems == []


def test_an_aggregation_without_results_is_not_a_problem(tmp_path: Path) -> None:
    swallow = {"name": "all", "plugin": "swallow", "trigger": {"count": 2}, "output_mode": "transform"}
    result = result_of(tmp_path, failing(tmp_path, [], aggregations=[swallow]))
    assert (result.arrived, result.problems) == (0, [])


def test_a_sink_that_accepts_no_row_is_a_problem(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "target.db")) as connection:
        connection.execute("CREATE TABLE things (other INTEGER)")
    sink = {"plugin": "database", "options": {"url": f"sqlite:///{tmp_path / 'target.db'}", "table": "things"}}
    settings = csv_settings(tmp_path)
    settings["sinks"]["x"] = sink
    (tmp_path / "in.csv").write_text("id,kind\n1,x\n2,x\n3,y\n")
    result = result_of(tmp_path, settings)
    assert (result.rows_by_sink, result.failed) == ({"rest": 1, "x": 0}, 2)
    assert result.refused_by_sink == {"x": 2}
    assert result.problems == ["sink 'x' took no row: it refused 2 rows"]


def test_a_run_that_is_resumed_has_the_summary_of_an_undisturbed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = failing(tmp_path, [1, 4])
    undisturbed = result_of(tmp_path, settings)
    groups_of(monkeypatch, 2)
    pipeline = build(tmp_path, settings, *PLUGINS)
    with pytest.raises(RunInterruptedError) as stopped:
        execute(pipeline, Observer(is_stopped=lambda: True))
    run_id = str(stopped.value).split()[1]
    assert str(stopped.value).endswith("was interrupted after 1 row")  # at once, not at the end of a group
    with LandscapeDB.from_url(pipeline.settings.landscape.url) as db:
        keys = load_run_keys(pipeline.settings, {}, source="settings.yaml")
        resumed = Orchestrator(db, build(tmp_path, settings, *PLUGINS), keys).resume(run_id)
    assert resumed == RunResult(**{name: getattr(undisturbed, name) for name in _SHARED}, run_id=run_id)


_SHARED = [name for name in RunResult.__dataclass_fields__ if name != "run_id"]

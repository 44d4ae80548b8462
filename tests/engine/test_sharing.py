"""The work of workers, and their failures."""

from __future__ import annotations

import json
import logging
import pickle
import re
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Future
from contextlib import chdir
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from elspeth.api._spool import Spool
from elspeth.contracts.plugins import JsonObject, TransformOptions
from elspeth.contracts.rows import InvalidRow, RowData
from elspeth.core.landscape.database import LandscapeDB
from elspeth.engine.calls import rates
from elspeth.engine.errors import RunInterruptedError, TooManyFailuresError, WorkerError
from elspeth.engine.keys import load_run_keys
from elspeth.engine.orchestrator import Orchestrator
from elspeth.engine.partitions import ProcessedPartition
from elspeth.engine.pipeline import Pipeline
from elspeth.engine.reporting import Observer, Progress, RunResult
from elspeth.engine.sharing import Workers
from tests.engine.drawn import AskTransform
from tests.engine.pipelines import (
    PLUGINS,
    GivenSource,
    MarkOptions,
    MarkTransform,
    assert_sound,
    build,
    graph_settings,
    groups_of,
    trail,
    written,
)
from tests.engine.told import tell
from tests.fixtures.executors import InlineExecutor
from tests.fixtures.workers import InlineWorkers

ROWS: list[RowData] = [{"id": number, "v": number % 3} for number in range(40)]
MARK = {"plugin": "mark", "options": {"field": "m", "fail": [3], "crash": [5, 30]}}


def make(directory: Path, **sections: object) -> Pipeline:
    """Build a pipeline that marks forty rows."""
    settings = graph_settings(directory, ROWS, **{"row_plugins": [MARK], **sections})
    return build(directory, settings, *PLUGINS, AskTransform, OddSource, LockedMark)


def work(pipeline: Pipeline, workers: Workers | None, observer: Observer | None = None) -> RunResult:
    """Run a pipeline with workers, or resume its last run."""
    keys = load_run_keys(pipeline.settings, {}, source="settings.yaml")
    with LandscapeDB.from_url(pipeline.settings.landscape.url) as db:
        with db.connection() as connection:
            open_run = connection.exec_driver_sql("SELECT run_id FROM runs WHERE status = 'interrupted'").scalar()
        orchestrator = Orchestrator(db, pipeline, keys, observer, workers=workers)
        return orchestrator.resume(open_run) if open_run else orchestrator.run()


def test_workers_process_every_row(tmp_path: Path) -> None:
    workers = InlineWorkers()
    assert work(make(tmp_path), workers).rows == 40
    outcomes = [pickle.loads(answer) for answer in workers.answers]  # noqa: S301
    assert all(isinstance(each, ProcessedPartition) for each in outcomes)
    assert sum(each.rows for each in outcomes) == 40


def test_failures_are_logged_and_counted_as_in_one_process(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    told = []
    for workers in (None, InlineWorkers()):
        caplog.clear()
        with caplog.at_level(logging.DEBUG, "elspeth.events"):
            assert work(make(tmp_path), workers).failed == 3
        told.append([(each.levelname, each.getMessage()) for each in caplog.records if "failed at" in each.message])
    assert told[0] == told[1]
    assert [level for level, _ in told[0]] == ["WARNING", "WARNING", "DEBUG"]  # one for each kind of error


def test_log_messages_of_plugins_in_workers_are_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def process(_: object, row: RowData) -> RowData:
        logging.getLogger("plugin").warning("row %d is odd", row["id"])
        logging.getLogger("plugin").debug("row %d was looked at", row["id"])
        return row

    monkeypatch.setattr(MarkTransform, "process", process)
    monkeypatch.setattr("elspeth.engine.orchestrator.process_name", lambda: "the process of the run")
    handlers, level = logging.getLogger().handlers.copy(), logging.getLogger("elspeth").level
    with caplog.at_level(logging.DEBUG, "plugin"):
        work(make(tmp_path), InlineWorkers())
    assert (logging.getLogger().handlers, logging.getLogger("elspeth").level) == (handlers, level)
    assert caplog.messages.count("row 39 is odd") == 2  # workers are here, too
    assert caplog.messages.count("row 39 was looked at") == 1  # the run logs warnings only


def test_a_limit_of_failures_ends_a_shared_run(tmp_path: Path) -> None:
    with pytest.raises(TooManyFailuresError, match=r"fail_if\.steps\.mark_0 allows 1, got 2 failed"):
        work(make(tmp_path, fail_if={"steps": {"mark_0": 1}}), InlineWorkers())
    assert len(trail(tmp_path)["row"]) < 40


def test_partitions_grow_while_they_are_processed_quickly(tmp_path: Path) -> None:
    sizes: list[int] = []
    observer = Observer(on_rows=lambda progress: sizes.append(progress.rows))
    work(make(tmp_path), InlineWorkers(count=1), observer)
    assert sizes[0] == 10
    assert sizes[-1] == 40


def test_rows_that_a_worker_returned_unprocessed_keep_their_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups_of(monkeypatch, 10, visits=6)  # a worker stops before the tenth row
    found = []
    for workers in (None, InlineWorkers()):
        work(make(tmp_path), workers)
        records = trail(tmp_path)
        assert [row["row_index"] for row in records["row"]] == list(range(40))
        found.append((written(tmp_path, "out"), tell(records)))
    assert found[0] == found[1]


# -- workers that fail -----------------------------------------------------------------------------------------------


def test_rows_that_kill_workers_are_named_and_one_process_can_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    groups_of(monkeypatch, 10)
    workers = InlineWorkers(count=1, deadly=range(3, 100))
    with pytest.raises(WorkerError, match="the worker that processed rows 20 to 29 died") as caught:
        work(make(tmp_path), workers)
    assert "elspeth resume" in "".join(caught.value.__notes__)
    assert "a worker died; rows 20 to 29 and unfinished ones after it are processed again" in caplog.text
    assert (workers.restarts, workers.jobs) == (5, 10)  # from the second death on, one partition at a time
    assert len(trail(tmp_path)["row"]) == 20
    work(make(tmp_path), None)
    records = trail(tmp_path)
    assert_sound(records, status="completed", resumed=True)
    assert len(records["row"]) == 40


def test_workers_may_die_any_number_of_times_if_rows_are_processed_in_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups_of(monkeypatch, 2)
    workers = InlineWorkers(count=1, deadly=range(1, 100, 2))
    assert work(make(tmp_path), workers).rows == 40
    assert workers.restarts > 10


class Refusing(InlineWorkers):
    """Workers that are dead before their first job."""

    def submit(self, *arguments: Any) -> Any:  # noqa: ANN401  passed on
        if not self.restarts:
            raise BrokenExecutor
        return super().submit(*arguments)


class Unreachable(InlineWorkers):
    """Workers whose answers are lost on the way."""

    error: Exception = TimeoutError(110, "10.0.0.7 does not answer")

    def submit(self, *arguments: Any) -> Any:  # noqa: ANN401  passed on
        super().submit(*arguments)
        future: Future[bytes] = Future()
        future.set_exception(self.error)
        return future


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (TimeoutError(110, "10.0.0.7"), "TimeoutError: Connection timed out, raised at .+"),
        (WorkerError("the cluster is gone"), "the cluster is gone"),
    ],
    ids=["system", "workers"],
)
def test_rows_whose_results_are_lost_are_named(tmp_path: Path, error: Exception, problem: str) -> None:
    workers = Unreachable()
    workers.error = error
    with pytest.raises(WorkerError) as caught:
        work(make(tmp_path), workers)
    assert re.fullmatch(f"the workers did not process rows 0 to 9: {problem}", str(caught.value))


def test_workers_that_are_dead_are_replaced(tmp_path: Path) -> None:
    workers = Refusing()
    assert work(make(tmp_path), workers).rows == 40
    assert workers.restarts == 1


def test_relative_paths_of_workers_begin_where_those_of_the_run_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    class Elsewhere(InlineWorkers):
        def submit(self, *arguments: Any) -> Any:  # noqa: ANN401  passed on
            with chdir(elsewhere):
                return super().submit(*arguments)

    ask = {"plugin": "ask", "options": {"field": "answer"}}
    work(make(tmp_path, row_plugins=[ask], payload_store={"base_path": "payloads"}), Elsewhere())
    assert (list(elsewhere.iterdir()), (tmp_path / "payloads").exists()) == ([], True)


def test_only_partitions_without_an_answer_are_processed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    groups_of(monkeypatch, 5)
    workers = InlineWorkers(count=3, deadly=[1])
    assert work(make(tmp_path), workers).rows == 40
    assert (workers.restarts, workers.jobs) == (1, 9)  # eight partitions, and the first one again


class Spooling(InlineWorkers):
    """Workers whose answers are in files, which go with them."""

    spool = Spool()

    def submit(self, *arguments: Any) -> Any:  # noqa: ANN401  passed on
        answer = super().submit(*arguments)
        return self.spool.send(InlineExecutor(), bytes, answer.result()) if answer.exception() is None else answer

    def restart(self) -> None:
        self.spool.remove()
        self.spool = Spool.new()
        super().restart()


def test_answers_that_wait_in_files_survive_the_death_of_a_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elspeth.api._spool._LARGE_RESULT", 1)
    groups_of(monkeypatch, 5)
    workers = Spooling(count=3, deadly=[1])
    workers.spool = Spool.new()
    assert work(make(tmp_path), workers).rows == 40
    assert (workers.restarts, workers.jobs) == (1, 9)
    workers.spool.remove()


def test_a_worker_that_cannot_make_calls_closes_the_database_of_the_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no rates")

    ask = {"plugin": "ask", "options": {"field": "answer"}}
    run = work(make(tmp_path, row_plugins=[ask]), None)
    replay = make(tmp_path, row_plugins=[ask], run_mode="replay", replay_source_run_id=run.run_id)
    workers = InlineWorkers()
    monkeypatch.setattr("elspeth.engine.workshop.open_external_calls", refuse)
    with (
        patch.object(LandscapeDB, "close", autospec=True, side_effect=LandscapeDB.close) as close,
        pytest.raises(WorkerError, match="OSError"),
    ):
        work(replay, workers)
    assert close.call_count == workers.jobs + 1  # one for each partition, and that of the run


def test_a_worker_whose_plugins_refuse_the_settings_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elspeth.engine.workshop.build_pipeline", lambda *_: MarkOptions.model_validate({"fail": 3}))
    with pytest.raises(WorkerError) as caught:
        work(make(tmp_path), InlineWorkers())
    assert str(caught.value).partition("rows 0 to 9: ")[2] == (
        "its plugins do not accept the settings: field: Field required; fail: Input should be a valid list"
    )


@pytest.mark.parametrize("workers", [None, InlineWorkers()], ids=["alone", "workers"])
def test_a_row_fails_whose_plugin_ends_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: Workers | None
) -> None:
    def process(_: object, row: RowData) -> RowData:
        if row["id"] == 7:
            sys.exit(0)
        return row

    monkeypatch.setattr(MarkTransform, "process", process)
    result = work(make(tmp_path), workers)
    assert (result.rows, result.failed) == (40, 1)
    (error,) = trail(tmp_path)["transform_error"]
    assert json.loads(error["error_details_json"])["type"] == "SystemExit"


def test_a_worker_that_an_import_ends_stops_the_run_with_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elspeth.engine.workshop.build_pipeline", lambda *_: sys.exit(0))
    with pytest.raises(WorkerError, match="did not process rows 0 to 9: SystemExit: raised at"):
        work(make(tmp_path), InlineWorkers())


def test_a_defect_in_a_worker_fails_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elspeth.engine.trail.TrailWriter.create_row", _defect)
    with pytest.raises(WorkerError, match=r"worker \d+ on .+ did not process rows 0 to 9: AuditIntegrityError"):
        work(make(tmp_path), InlineWorkers())
    assert trail(tmp_path)["run"][0]["status"] == "failed"


def _defect(*_: object, **__: object) -> None:
    from elspeth.contracts.errors import AuditIntegrityError  # noqa: PLC0415

    raise AuditIntegrityError(table="rows", key={}, field="row_id", expected="an id", got=None)


@pytest.mark.parametrize("what", ["version", "input"])
def test_a_worker_with_other_plugins_or_files_refuses_to_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    pipeline = make(tmp_path)

    class Elsewhere(InlineWorkers):
        def submit(self, *arguments: Any) -> Any:  # noqa: ANN401  passed on
            if what == "version":
                monkeypatch.setattr(MarkTransform, "plugin_version", "2")
            else:
                monkeypatch.setattr(MarkTransform, "prepare", lambda _: {"input": "another table"})
            return super().submit(*arguments)

    found = "the plugin's version is 2 here, recorded is 1" if what == "version" else "recorded is None"
    with pytest.raises(WorkerError, match=f"differ from those of the run: node transform_mark_0_.+: {found}"):
        work(pipeline, Elsewhere())


def test_plugins_that_no_other_process_can_import_need_a_run_without_workers(tmp_path: Path) -> None:
    class Local(MarkTransform):
        name = "local"

    settings = graph_settings(tmp_path, ROWS, row_plugins=[{"plugin": "local", "options": {"field": "m"}}])
    pipeline = build(tmp_path, settings, *PLUGINS, Local)
    with pytest.raises(
        WorkerError, match=r"the plugins of this pipeline cannot be sent to workers: .+; run it without"
    ):
        work(pipeline, InlineWorkers())
    assert work(pipeline, None).rows == 40


def test_plugins_that_cannot_be_pickled_need_a_run_without_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> bytes:
        raise TypeError("a lock")

    monkeypatch.setattr("elspeth.engine.sharing.pickle.dumps", fail)
    with pytest.raises(WorkerError) as caught:
        work(make(tmp_path), InlineWorkers())
    assert str(caught.value) == (
        "the plugins of this pipeline cannot be sent to workers: TypeError: "
        f"raised at {__name__} line {fail.__code__.co_firstlineno + 1}; run it without workers"
    )


# -- rows that cannot be sent ----------------------------------------------------------------------------------------


class OddSource(GivenSource):
    """A source whose row 7 no other process can read."""

    name = "odd"

    def read(self) -> Iterator[RowData | InvalidRow]:
        for row in super().read():
            assert isinstance(row, dict)
            yield InvalidRow(data={"lock": threading.Lock()}, error="odd") if row["id"] == 7 else row


class LockedOptions(TransformOptions):
    """No options."""


class LockedMark(MarkTransform):
    """A transform whose rows cannot be sent back."""

    name = "locked"

    def process(self, row: RowData) -> Any:  # noqa: ANN401  a row
        return super().process({**row, "text": Unpicklable("x")})


class Unpicklable(str):
    """Text that cannot be pickled."""

    __slots__ = ()

    def __reduce__(self) -> Any:  # noqa: ANN401  never returns
        raise TypeError


@pytest.mark.parametrize("where", ["source", "transform"])
def test_rows_that_cannot_be_pickled_are_processed_by_the_first_process(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    caplog.set_level(logging.DEBUG, "elspeth.events")
    locked = {"plugin": "locked", "options": {"field": "m"}}
    pipeline = make(tmp_path, row_plugins=[locked if where == "transform" else MARK])
    if where == "source":
        source = {"plugin": "odd", "options": {"rows": ROWS, "on_validation_failure": "discard"}}
        pipeline = make(tmp_path, datasource=source)
    found = []
    for workers in (None, InlineWorkers()):
        work(pipeline, workers)
        found.append((written(tmp_path, "out"), tell(trail(tmp_path))))
    assert found[0][0] == found[1][0]
    assert len(found[0][0]) > 30
    kept = [text for text in caplog.messages if text.startswith("rows 0 to 9 cannot be sent to a worker and stay in")]
    assert len(kept) == 1


# -- stopping, and calls ---------------------------------------------------------------------------------------------


def test_a_stop_between_partitions_can_be_resumed_with_any_number_of_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups_of(monkeypatch, 7)
    rows: list[int] = []

    def note(progress: Progress) -> None:
        rows.append(progress.rows)

    for workers in (InlineWorkers(), None, InlineWorkers(count=3)):
        before = len(rows)
        observer = Observer(on_rows=note, is_stopped=lambda before=before: len(rows) > before)  # type: ignore[misc]
        with pytest.raises(RunInterruptedError, match=f"after {(len(rows) + 1) * 7} rows"):
            work(make(tmp_path), workers, observer)
    work(make(tmp_path), InlineWorkers())
    records = trail(tmp_path)
    assert_sound(records, status="completed", resumed=True)
    assert [row["id"] for row in written(tmp_path, "out")] == [
        each["id"] for each in ROWS if each["id"] not in {3, 5, 30}
    ]


@dataclass
class Waiting(InlineWorkers):
    """Workers that are never ready."""

    cancelled: list[Any] = field(default_factory=list)

    def submit(self, *_: object) -> Any:  # noqa: ANN401  a future
        from concurrent.futures import Future  # noqa: PLC0415

        self.cancelled.append(Future())
        return self.cancelled[-1]


def test_a_stop_does_not_wait_for_workers(tmp_path: Path) -> None:
    workers = Waiting()
    with pytest.raises(RunInterruptedError):
        work(make(tmp_path), workers, Observer(is_stopped=lambda: bool(workers.cancelled)))
    assert all(each.cancelled() for each in workers.cancelled)


def test_rows_before_an_error_of_the_source_are_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(_: object) -> Iterator[RowData]:
        yield from ROWS[:25]
        raise ZeroDivisionError

    monkeypatch.setattr(GivenSource, "read", read)
    with pytest.raises(Exception, match="source 'given' failed: ZeroDivisionError") as caught:
        work(make(tmp_path), InlineWorkers())
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert len(trail(tmp_path)["row"]) == 25


def test_workers_share_one_temporary_count_of_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths: list[str] = []
    stored = rates._stored_bucket

    def note(path: str, *arguments: Any) -> Any:  # noqa: ANN401  passed on
        paths.append(path)
        return stored(path, *arguments)

    monkeypatch.setattr(rates, "_stored_bucket", note)
    monkeypatch.chdir(tmp_path)
    ask = {"plugin": "ask", "options": {"field": "answer"}}
    pipeline = make(tmp_path, row_plugins=[ask], rate_limit={"default_requests_per_second": 1000})
    assert work(pipeline, InlineWorkers()).calls == 40
    assert len(paths) == 1
    assert not Path(paths[0]).exists()


def test_workers_replay_recorded_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ask = {"plugin": "ask", "options": {"field": "answer", "late": [4]}}
    quick = {"retry": {"initial_delay_seconds": 0.001}, "row_plugins": [ask]}
    run = work(make(tmp_path, **quick), InlineWorkers())
    answers, sent = written(tmp_path, "out"), AskTransform.sent
    again = work(make(tmp_path, **quick, run_mode="replay", replay_source_run_id=run.run_id), InlineWorkers(twice=True))
    assert (written(tmp_path, "out"), again.calls, AskTransform.sent) == (answers, 41, sent)


def ask_usage(_: object, response: JsonObject) -> dict[str, int]:
    """Return what an answer cost."""
    return {"tokens": 1 + len(str(response)) * 0}


def test_the_costs_of_calls_are_added_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(AskTransform, "usage", ask_usage)
    monkeypatch.setattr("elspeth.engine.sharing._SECONDS", 0)  # no partition is quick
    asking = {"row_plugins": [{"plugin": "ask", "options": {"field": "answer"}}], "concurrency": {"max_workers": 3}}
    rows: list[int] = []
    observer = Observer(on_rows=lambda progress: rows.append(progress.rows))
    assert work(make(tmp_path, **asking), InlineWorkers(count=1), observer).usage == {"tokens": 40}
    assert rows == [12, 24, 36, 40]  # four rows for each call that is under way


class CountingTransform(MarkTransform):
    """A transform that numbers the rows that it gets."""

    name = "counting"
    is_row_local = False
    under_way = 0

    def process(self, row: RowData) -> RowData:
        CountingTransform.under_way += 1
        return {**row, "number": CountingTransform.under_way}


@pytest.mark.parametrize("workers", [None, InlineWorkers()], ids=["alone", "shared"])
def test_a_transform_that_is_not_row_local_gets_all_rows_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: Workers | None
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(CountingTransform, "under_way", 0)
    slow = {"plugin": "slow", "options": {"field": "answer"}}
    parts = [slow, {"plugin": "counting", "options": {"field": "m"}}]
    settings = graph_settings(tmp_path, ROWS, row_plugins=parts)
    work(build(tmp_path, settings, *PLUGINS, SlowAsk, CountingTransform), workers)
    assert [row["number"] for row in written(tmp_path, "out")] == list(range(1, 41))


class SlowAsk(AskTransform):
    """A transform whose first answers come last."""

    name = "slow"

    def send(self, request: JsonObject) -> JsonObject:
        row = request["row"]
        assert isinstance(row, dict)
        time.sleep(0.02 if row["id"] % 4 == 0 else 0)
        return super().send(request)

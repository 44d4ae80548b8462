"""Runs are sealed and checked alike by several processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Future
from pathlib import Path
from typing import ParamSpec, TypeVar

import pytest

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.connections import read_only_connection
from elspeth.core.landscape.lines import ranges
from elspeth.core.landscape.lines.ranges import Readers
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.landscape.sealing.check import SealReport, check_seals
from elspeth.core.landscape.sealing.scope import SealedRange
from elspeth_schema.contracts import RunStatus
from tests.fixtures.corruption import plant
from tests.fixtures.executors import InlineExecutor
from tests.fixtures.landscapes import NewLandscape
from tests.fixtures.records import record_everything

P = ParamSpec("P")
T = TypeVar("T")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LandscapeDB]:
    """Open a database with an open run, not in memory."""
    if request.param == "sqlite":
        with LandscapeDB(f"sqlite:///{tmp_path}/audit.db") as db:
            record_everything(LandscapeRecorder(db), rows=5)
            yield db
        return
    new: NewLandscape = request.getfixturevalue("on_postgresql")
    with new() as db:
        record_everything(LandscapeRecorder(db), rows=5)
        yield db


@pytest.fixture(autouse=True)
def _small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "_PART", 6)


class DyingExecutor(InlineExecutor):
    """An executor whose process dies of its third job."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        if self.jobs < 3:
            return super().submit(fn, *args, **kwargs)
        if self.jobs > 3:
            raise BrokenExecutor
        self.jobs += 1
        broken: Future[T] = Future()
        broken.set_exception(BrokenExecutor())
        return broken


def check(db: LandscapeDB, executor: InlineExecutor | None = None) -> SealReport:
    """Check all seals, with an executor or in this process."""
    url = db.engine.url
    with read_only_connection(url) as connection:
        return check_seals(connection, readers=None if executor is None else Readers.of(executor, url))


@pytest.mark.parametrize("kind", [InlineExecutor, DyingExecutor])
def test_several_processes_seal_the_records_of_the_transaction(stored: LandscapeDB, kind: type[InlineExecutor]) -> None:
    recorder, executor = LandscapeRecorder(stored), kind()
    with recorder.unit_of_work():
        for label in ("one", "two", "three"):
            recorder.register_edge("run", "source", "sink", label, "move")
        recorder.complete_node_state("state-open", "failed", run_id="run")
        recorder.complete_run("run", RunStatus.FAILED, readers=Readers.of(executor, stored.engine.url))
    assert executor.jobs > 3
    assert check(stored).verdict == "1 of 1 sealed runs unchanged"
    with stored.connection() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM edges WHERE label = 'three'").scalar() == 1


def test_a_seal_that_workers_cannot_complete_is_refused(stored: LandscapeDB, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = SealedRange.of(0, [])
    monkeypatch.setattr(ranges, "_read_part", lambda _, part, __: [(part.record_type, 0, nothing)])
    readers = Readers.of(InlineExecutor(), stored.engine.url)
    with pytest.raises(
        Exception, match=r"run run cannot be read by several processes, as it changes: expected 6 \w+ records, got 0"
    ):
        LandscapeRecorder(stored).complete_run("run", RunStatus.FAILED, readers=readers)


@pytest.mark.parametrize(
    "change",
    [
        None,
        "UPDATE node_states SET output_hash = 'ff' WHERE state_id = (SELECT max(state_id) FROM node_states)",
        "DELETE FROM token_outcomes WHERE outcome_id = (SELECT max(outcome_id) FROM token_outcomes)",
        "UPDATE seals SET scope_json = 'x'",
        "UPDATE seals SET record_count = 1",
        "UPDATE validation_errors SET row_data_json = '{}'",
        "UPDATE seal_leaves SET leaves = 'no prefixes' WHERE record_type = 'edge'",
    ],
)
def test_several_processes_find_the_same_as_one(stored: LandscapeDB, change: str | None) -> None:
    LandscapeRecorder(stored).complete_run("run", RunStatus.FAILED)
    if change is not None:
        plant(stored, change)
    executor = InlineExecutor()
    alone = check(stored)
    assert (alone.faults == ()) == (change is None or "seal_leaves" in change)  # these only help to find a record
    assert check(stored, executor) == alone
    if change is None:
        assert executor.jobs > 3
        assert check(stored, DyingExecutor()) == alone

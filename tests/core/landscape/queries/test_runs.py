"""Finding the run that a name stands for."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.errors import RunNotFoundError
from elspeth.core.landscape.database.pruned_runs import PrunedRunError
from elspeth.core.landscape.queries.runs import AmbiguousRunError, list_runs, newest_run, resolve_run
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.landscape.records.store import RecordStore
from elspeth_schema.contracts import Run, RunStatus
from tests.core.landscape.queries.test_outputs import prune
from tests.fixtures.corruption import edit_unseen
from tests.fixtures.rich_run import recorded, rich_run


def begin(db: LandscapeDB, run_id: str, *, after: int) -> None:
    run = rich_run(run_id)[0]
    assert isinstance(run, Run)
    RecordStore(db).add(replace(run, started_at=run.started_at + timedelta(microseconds=after)))


def test_latest_is_the_run_that_began_last(landscape: LandscapeDB) -> None:
    for run_id, after in (("b", 1), ("c", 2), ("a", 0)):
        begin(landscape, run_id, after=after)
    assert resolve_run(landscape, "latest") == "c"


def test_a_full_id_is_found(landscape: LandscapeDB) -> None:
    begin(landscape, "a", after=0)
    assert resolve_run(landscape, "a") == "a"


def test_a_unique_prefix_of_an_id_is_found(landscape: LandscapeDB) -> None:
    for run_id, after in (("abc", 1), ("ABd", 2), ("b_", 3), ("bxé", 4)):
        begin(landscape, run_id, after=after)
    assert [resolve_run(landscape, name) for name in ("ab", "AB", "b_", "bxé")] == ["abc", "ABd", "b_", "bxé"]


def test_a_full_id_that_is_the_prefix_of_another_is_found(landscape: LandscapeDB) -> None:
    for run_id, after in (("run-1", 1), ("run-10", 2)):
        begin(landscape, run_id, after=after)
    assert resolve_run(landscape, "run-1") == "run-1"


def test_a_prefix_matches_a_pruned_run_only_if_it_matches_no_other(landscape: LandscapeDB) -> None:
    begin(landscape, "run-1", after=0)
    for day, run_id in enumerate(("run-22", "run-2"), start=1):
        prune(landscape, run_id, "x.csv", day)
    assert resolve_run(landscape, "run") == "run-1"
    with pytest.raises(PrunedRunError, match=r"^run run-2 was pruned"):
        resolve_run(landscape, "run-2")


def test_the_newest_run_may_be_a_pruned_one(landscape: LandscapeDB) -> None:
    for run_id, after in (("c", 0), ("a", 1)):
        begin(landscape, run_id, after=after - 5 * 86_400_000_000)
    assert newest_run(landscape)[0] == "a"
    prune(landscape, "b", "x.csv", 31)
    assert newest_run(landscape)[0] == "b"


def test_an_ambiguous_prefix_lists_the_newest_runs(landscape: LandscapeDB) -> None:
    for number in range(7):
        begin(landscape, f"run-{number}", after=number + 1)
    with pytest.raises(AmbiguousRunError) as refused:
        resolve_run(landscape, "run")
    began = "2026-02-01T00:00:00."
    listed = ", ".join(f"run-{number} (completed, began {began}{number:06}Z)" for number in (6, 5, 4, 3, 2))
    assert str(refused.value) == (
        f"audit database {landscape.url} holds 7 runs 'run'...: {listed} and 2 more; give more of the id"
    )


def test_a_run_with_an_invalid_start_time_is_listed_too(database_url: str) -> None:
    with LandscapeDB.from_url(database_url) as db:
        for run_id, after in (("run-1", 1), ("run-2", 2)):
            begin(db, run_id, after=after)
        edit_unseen(db, "runs", "UPDATE runs SET started_at = 'infinity' WHERE run_id = 'run-1'")
        with pytest.raises(
            AmbiguousRunError, match=r"run-1 \(completed, began infinity\), run-2 \(completed, began 20"
        ):
            resolve_run(db, "run")
    assert [(run.run_id, run.started_at) for run in list_runs(database_url)] == [
        ("run-2", "2026-02-01T00:00:00.000001Z"),
        ("run-1", "infinity"),
    ]


@pytest.mark.parametrize(
    ("name", "problem"),
    [("latest", "holds no run"), ("a", "holds no run 'a'"), ("", "holds no run ''"), ("%", "holds no run '%'")],
)
def test_an_unknown_run_is_refused(landscape: LandscapeDB, name: str, problem: str) -> None:
    if name != "latest":
        begin(landscape, "b", after=0)
    with pytest.raises(RunNotFoundError) as refused:
        resolve_run(landscape, name)
    assert str(refused.value) == f"audit database {landscape.url} {problem}"


def test_each_run_is_listed_with_its_own_rows(database_url: str) -> None:
    with LandscapeDB.from_url(database_url) as db:
        recorded(db, rich_run("run-1"))
        begin(db, "run-2", after=1)
    assert [(run.run_id, run.rows) for run in list_runs(database_url)] == [("run-1", 2), ("run-2", 0)]


def test_of_a_run_without_a_secret_nobody_knows_whether_it_is_at_work(database_url: str) -> None:
    run = rich_run("imported")[0]
    assert isinstance(run, Run)
    with LandscapeDB.from_url(database_url) as db:
        RecordStore(db).add(replace(run, status=RunStatus.RUNNING, completed_at=None))
        LandscapeRecorder(db).begin_run({}, "v1", run_id="recorded")
    assert {each.run_id: each.at_work for each in list_runs(database_url)} == {"imported": None, "recorded": False}

"""Which run a person means."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.exporter import RunNotFoundError
from elspeth.core.landscape.select_run import resolve_run
from elspeth.core.landscape.store import RecordStore
from elspeth_schema.contracts import Run
from tests.fixtures.rich_run import rich_run


def begin(db: LandscapeDB, run_id: str, *, after: int) -> None:
    run = rich_run(run_id)[0]
    assert isinstance(run, Run)
    RecordStore(db).add(replace(run, started_at=run.started_at + timedelta(microseconds=after)))


def test_latest_is_the_run_that_began_last(landscape: LandscapeDB) -> None:
    for run_id, after in (("b", 1), ("c", 2), ("a", 0)):
        begin(landscape, run_id, after=after)
    assert resolve_run(landscape, "latest") == "c"


def test_an_id_is_itself(landscape: LandscapeDB) -> None:
    begin(landscape, "a", after=0)
    assert resolve_run(landscape, "a") == "a"


@pytest.mark.parametrize(("name", "problem"), [("latest", "holds no run"), ("a", "holds no run 'a'")])
def test_no_such_run(landscape: LandscapeDB, name: str, problem: str) -> None:
    with pytest.raises(RunNotFoundError) as refused:
        resolve_run(landscape, name)
    assert str(refused.value) == f"audit database {landscape.url} {problem}"

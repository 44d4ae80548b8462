"""Creating the tables of a new database."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import URL

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database import landscape_db as module
from elspeth.core.landscape.database.state import DatabaseState, read_state
from elspeth.core.landscape.database.tables import read_migrations
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth_schema import EPOCH


def test_a_new_database_records_the_epoch_of_its_creation(database_url: str) -> None:
    with LandscapeDB(database_url) as database, database.connection() as connection:
        (step,) = read_migrations(connection)
    assert (step.from_epoch, step.to_epoch, step.tables_json) == (0, EPOCH, "{}")


def test_several_processes_may_create_the_same_database(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    everybody = threading.Barrier(3)

    def read_state_together(url: URL) -> DatabaseState:
        state = read_state(url)
        everybody.wait(60)
        return state

    monkeypatch.setattr(module, "read_state", read_state_together)

    def record(number: int) -> str:
        with LandscapeDB(database_url) as database:
            return LandscapeRecorder(database).begin_run({}, "v1", run_id=f"run {number}").run_id

    with ThreadPoolExecutor(3) as pool:
        runs = list(pool.map(record, range(3)))
    monkeypatch.undo()
    with LandscapeDB(database_url, create_tables=False) as database:
        assert sorted(run.run_id for run in LandscapeRecorder(database).list_runs()) == runs

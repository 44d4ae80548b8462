"""An adoption that is interrupted anywhere adopts nothing."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import make_url

from elspeth.core.landscape.database import LandscapeDB, LandscapeError
from elspeth.core.landscape.database.state import StateKind, read_state
from elspeth.core.landscape.migration.adoption import adopt
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth_schema.contracts import RunStatus
from tests.core.landscape.migration.statements import before_each_statement, cut_at, do_nothing
from tests.fixtures.legacy import rows_of
from tests.fixtures.predecessor import releases

KILLED = """
import os, sys
from elspeth.core.landscape.migration.adoption import adopt
from tests.core.landscape.migration.statements import before_each_statement, kill_at

old, *attempts = sys.argv[1:]
for attempt in attempts:
    number, _, new = attempt.partition(":")
    child = os.fork()
    if child == 0:
        with before_each_statement(kill_at(int(number))):
            adopt(old, new)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.fixture
def old(predecessor_files: Path, tmp_path: Path) -> Path:
    """Copy a small database of the predecessor."""
    return Path(shutil.copy(next(releases(predecessor_files)), tmp_path / "old.db"))


def test_a_killed_process_leaves_the_target_unchanged(old: Path, tmp_path: Path) -> None:
    with before_each_statement(do_nothing) as statements:
        adopt(f"sqlite:///{old}", f"sqlite:///{tmp_path / 'whole.db'}")
    existing, last = tmp_path / "existing.db", len(statements)
    with LandscapeDB(f"sqlite:///{existing}") as db:
        recorder = LandscapeRecorder(db)
        recorder.begin_run({}, "v1", run_id="mine")
        recorder.complete_run("mine", RunStatus.COMPLETED)
    before = rows_of(existing)
    points = [(tmp_path / "new.db", last // 2), (tmp_path / "new.db", last - 1), (existing, last // 2)]
    source = old.read_bytes()
    arguments = [f"sqlite:///{old}", *(f"{number}:sqlite:///{path}" for path, number in points)]
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments], capture_output=True, text=True, check=True)
    assert old.read_bytes() == source
    assert done.stdout.split() == [str(-signal.SIGKILL)] * len(points)
    assert read_state(make_url(f"sqlite:///{tmp_path / 'new.db'}")).kind is StateKind.EMPTY
    assert rows_of(existing) == before
    assert len(adopt(f"sqlite:///{old}", f"sqlite:///{existing}").runs) == 1


@pytest.mark.postgres
def test_a_lost_connection_leaves_the_target_unchanged(old: Path, postgresql_url: str) -> None:
    source = f"sqlite:///{old}"
    for number in (5, 100):
        with before_each_statement(cut_at(number, postgresql_url)), pytest.raises(LandscapeError, match="terminating"):
            adopt(source, postgresql_url)
        assert read_state(make_url(postgresql_url)).kind is StateKind.EMPTY
    assert len(adopt(source, postgresql_url).runs) == 1
    with LandscapeDB(postgresql_url, create_tables=False) as db:
        recorder = LandscapeRecorder(db)
        recorder.begin_run({}, "v1", run_id="another")
        recorder.complete_run("another", RunStatus.COMPLETED)

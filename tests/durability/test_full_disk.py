"""A full disk: a clear message, and nothing damaged."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.durability.checks import differences, inspect_job, read_trail
from tests.durability.pipeline import SINKS, Job, elspeth
from tests.durability.shadow import Shadow
from tests.fixtures.ids import ID
from tests.fixtures.legacy import LEGACY

ROWS = 1100  # three groups


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """Run a job to its end."""
    job = Job(directory=tmp_path_factory.mktemp("finished") / "job", rows=ROWS)
    job.write()
    assert job.run().returncode == 0
    return job


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("full", "room"),
    [("*/audit/*", 2_600_000), ("*/out/*", 20_000), ("*", 2_000_000)],
    ids=["database", "output", "both"],
)
def test_a_run_stops_and_can_be_resumed_when_there_is_room(
    library: Path, finished: Job, tmp_path: Path, full: str, room: int
) -> None:
    job = Job(directory=tmp_path / "job", rows=ROWS)
    job.write()
    result = job.run(Shadow(preloaded=library, root=job.directory, full=full, room=room))
    problem = (
        f"{job.output('rest').parent}/.[a-z]+.csv.{ID}.partial cannot be written: No space left on device"
        if full == "*/out/*"
        else f"audit database {job.database_url}: database or disk is full"
    )
    assert result.returncode == 1
    assert re.fullmatch(f"error: {problem}", result.stderr.splitlines()[0]), result.stderr
    assert "Traceback" not in result.stderr
    assert "sqlalche.me" not in result.stderr
    assert [job.output(sink).exists() for sink in SINKS] == [False, False]
    trail, findings = inspect_job(job)
    assert findings.bad == []
    listed = elspeth("landscape", "runs", "-d", str(job.database))
    assert (listed.returncode, listed.stderr) == (0, "")
    assert trail.run_id is not None
    assert trail.run_id in listed.stdout
    resumed = job.resume(trail.run_id)
    assert (resumed.returncode, resumed.stderr) == (0, "")
    assert differences(job, read_trail(job), read_trail(finished)) == []


@pytest.mark.thorough
def test_a_run_that_stops_before_its_first_row_is_run_again(library: Path, tmp_path: Path) -> None:
    job = Job(directory=tmp_path / "job", rows=ROWS)
    job.write()
    result = job.run(Shadow(preloaded=library, root=job.directory, full="*/out/*", room=100))
    (run,) = json.loads(elspeth("landscape", "runs", "-d", str(job.database), "--json").stdout)
    staged = f"{job.output('rest').parent}/.rest.csv.{run['run_id']}.partial"
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        f"error: {staged} cannot be written: No space left on device\nRun {run['run_id']} is recorded as failed.\n"
    )
    assert (run["status"], run["rows"]) == ("failed", 0)
    assert list(job.output("rest").parent.iterdir()) == []
    assert job.run().returncode == 0
    assert {sink: job.output(sink).read_bytes() for sink in SINKS} == {sink: job.expected(sink) for sink in SINKS}


def test_a_database_that_cannot_be_created_is_left_empty(library: Path, tmp_path: Path) -> None:
    job = Job(directory=tmp_path / "job", rows=ROWS)
    job.write()
    result = job.run(Shadow(preloaded=library, root=job.directory, full="*/audit/*", room=200_000))
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == f"error: audit database {job.database_url}: database or disk is full\n"
    assert job.run().returncode == 0
    assert inspect_job(job)[1].bad == []


@pytest.mark.parametrize(
    "form", ["jsonl", *(pytest.param(form, marks=pytest.mark.thorough) for form in ("json", "csv", "parquet")), "bag"]
)
def test_an_export_leaves_the_existing_file(library: Path, finished: Job, tmp_path: Path, form: str) -> None:
    directory = tmp_path / "exports"
    directory.mkdir()
    arguments = ("export", "latest", "-d", str(finished.database), "-o", str(directory / "out"), "--format", form)
    result = elspeth(*arguments, shadow=Shadow(preloaded=library, root=directory, room=100_000))
    assert (result.returncode, result.stdout) == (1, "")
    assert re.fullmatch(f"error: {directory}/out[^:]*: .*No space left on device", result.stderr.rstrip("\n")), (
        result.stderr
    )
    assert list(directory.iterdir()) == []
    assert elspeth(*arguments).returncode == 0


@pytest.mark.parametrize(
    ("room", "problem"),
    [
        (100_000, "backup {backup} cannot be written: database or disk is full."),
        (600_000, "database or disk is full. The backup {backup} was written."),
    ],
    ids=["backup", "migration"],
)
def test_a_migration_leaves_the_database_as_it_was(library: Path, tmp_path: Path, room: int, problem: str) -> None:
    directory = tmp_path / "old"
    directory.mkdir()
    path = Path(shutil.copy(LEGACY / "epoch4-rich.db", directory / "audit.db"))
    result = elspeth(
        "landscape", "migrate", "-d", str(path), shadow=Shadow(preloaded=library, root=directory, room=room)
    )
    assert (result.returncode, result.stdout) == (1, "")
    named = re.sub("epoch4-[0-9TZ.]+Z", "epoch4-TIME", result.stderr)
    backup = f"{path}.epoch4-TIME.bak"
    assert named == (
        f"error: audit database sqlite:///{path} was not migrated and not changed: {problem.format(backup=backup)}\n"
    )
    assert path.read_bytes() == (LEGACY / "epoch4-rich.db").read_bytes()
    assert len(list(directory.iterdir())) == 1 + ("was written" in problem)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert elspeth("landscape", "migrate", "-d", str(path)).returncode == 0

"""Runs with workers, whose processes are killed at any moment."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from elspeth.cli import main
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from tests.cli.processes import start_command, workers_of

ROWS = 4000
PATIENCE_S = 60

SETTINGS = """
datasource: {plugin: csv, options: {path: in.csv}}
row_plugins: [{plugin: value_transform, options: {fields: {twice: "row['id'] + row['id']"}}}]
gates: [{name: odd, condition: "row['id'] > '5'", routes: {"true": large, "false": continue}}]
output_sink: small
sinks:
  small: {plugin: csv, options: {path: small.csv}}
  large: {plugin: jsonl, options: {path: large.jsonl}}
landscape: {url: "sqlite:///audit.db"}
"""
RUN = ("run", "-s", "settings.yaml", "-x", "--no-dotenv")


def is_running(pid: int) -> bool:
    """Return whether a process is there and no zombie."""
    with suppress(OSError):
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    return False


@pytest.mark.thorough
@pytest.mark.parametrize("attempt", range(20))
def test_killed_workers_and_killed_runs_leave_what_a_calm_run_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attempt: int
) -> None:
    chance = random.Random(attempt)  # noqa: S311  not secret
    monkeypatch.chdir(tmp_path)
    Path("settings.yaml").write_text(SETTINGS)
    Path("in.csv").write_text("id\n" + "".join(f"{number}\n" for number in range(ROWS)))
    assert main([*RUN]) == 0
    expected = [Path(name).read_bytes() for name in ("small.csv", "large.jsonl")]
    seen: set[int] = set()
    with start_command(*RUN, "--workers", "2", directory=tmp_path) as process:
        for _ in range(3):
            end = time.monotonic() + chance.uniform(0.5, 3)
            while time.monotonic() < end and process.poll() is None:
                seen.update(workers := workers_of(process.pid))
                time.sleep(0.01)
            if process.poll() is None and workers:
                with suppress(ProcessLookupError):
                    os.kill(chance.choice(workers), signal.SIGKILL)
        process.kill()
        process.communicate()
    end = time.monotonic() + PATIENCE_S
    while any(map(is_running, seen)):
        assert time.monotonic() < end, "a worker outlives its run"
        time.sleep(0.01)
    with LandscapeDB.from_url("sqlite:///audit.db") as db:
        runs = [run.run_id for run in LandscapeRecorder(db).list_runs() if not run.status.is_terminal]
    again = ["resume", *runs, *RUN[1:]] if runs else [*RUN]
    assert main([*again, "--workers", str(chance.randint(1, 3))]) == 0
    assert [Path(name).read_bytes() for name in ("small.csv", "large.jsonl")] == expected
    assert main(["landscape", "check", "-d", "audit.db"]) == 0

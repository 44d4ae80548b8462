"""Several processes that use one SQLite database.

Two record runs, and a third exports meanwhile.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from elspeth.core.landscape.queries.runs import list_runs
from tests.durability.pipeline import SINKS, Job, command, elspeth

ROWS = 2000
HALT = 1200  # in the third group of rows: two are committed

HALTING = """
from elspeth.plugins.csv import CsvSource

def read(self, rows=CsvSource.read):
    for index, row in enumerate(rows(self)):
        if index == {halt}:
            open({gate!r}, "rb").read()
        yield row

CsvSource.read = read
"""
"""What a process executes first to wait in the middle of its source until somebody opens and closes a named pipe."""


@contextmanager
def recording(job: Job, gate: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a process that waits amid its run."""
    os.mkfifo(gate)
    arguments = command(*job.run_arguments, before=HALTING.format(halt=HALT, gate=str(gate)))
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def reached(gate: Path, process: subprocess.Popen[str]) -> int:
    """Wait for the process, and return the gate's descriptor."""
    while True:
        try:
            return os.open(gate, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO or process.poll() is not None:
                raise
        time.sleep(0.01)


def exported(run_id: str, url: str, directory: Path) -> tuple[str, int]:
    """Export a run in another process; return status and rows.

    The exported records must belong together.
    """
    path = directory / "export.jsonl"
    result = elspeth("export", run_id, "-d", url, "-o", str(path), "--format", "jsonl")
    assert result.returncode == 0, result.stderr
    records = [json.loads(line) for line in path.read_bytes().splitlines()]
    types = Counter(record["record_type"] for record in records)
    rows = types["row"]
    ended = [record for record in records if record["record_type"] == "token_outcome" and record["is_terminal"]]
    states = [record for record in records if record["record_type"] == "node_state"]
    assert (types["token"], len(ended), len(states)) == (rows, rows, 3 * rows)
    assert {state["status"] for state in states} <= {"completed"}
    indexes = sorted(record["row_index"] for record in records if record["record_type"] == "row")
    assert indexes == list(range(rows))
    (status,) = [record["status"] for record in records if record["record_type"] == "run"]
    return status, rows


@pytest.mark.thorough
def test_two_processes_record_and_a_third_exports(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    url = f"sqlite:///{tmp_path / 'audit.db'}"
    jobs = [Job(directory=tmp_path / name, rows=ROWS, url=url) for name in ("one", "two")]
    for job in jobs:
        job.write()
    with ExitStack() as stack:
        gates = [job.directory / "gate" for job in jobs]
        writers = [stack.enter_context(recording(job, gate)) for job, gate in zip(jobs, gates, strict=True)]
        waiting = [reached(gate, writer) for gate, writer in zip(gates, writers, strict=True)]
        run_ids = [run.run_id for run in list_runs(url)]
        halted = [exported(run_id, url, tmp_path) for run_id in run_ids]
        for descriptor in waiting:
            os.close(descriptor)
        exports = 0
        while any(writer.poll() is None for writer in writers):
            assert all(exported(run_id, url, tmp_path)[1] >= 1000 for run_id in run_ids)
            exports += len(run_ids)
        ended = [(writer.returncode, writer.stderr.read()) for writer in writers if writer.stderr is not None]
    assert halted == [("running", 1000)] * 2
    assert ended == [(0, "")] * 2
    assert [exported(run_id, url, tmp_path) for run_id in run_ids] == [("completed", ROWS)] * 2
    for job in jobs:
        assert {sink: job.output(sink).read_bytes() for sink in SINKS} == {sink: job.expected(sink) for sink in SINKS}
    record_property("durability", f"2 processes recorded {2 * ROWS:,} rows, a third exported them {exports + 4} times")

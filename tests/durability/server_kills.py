"""Runs whose PostgreSQL server is killed, and which are resumed.

The server gets SIGQUIT, which is an immediate shutdown.

python -m tests.durability.server_kills --kills 20
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg import errors
from sqlalchemy import make_url

from tests.durability.checks import Count, Trail, differences, inspect_job
from tests.durability.pipeline import Job, command
from tests.fixtures.postgres import UNAVAILABLE, Cluster, find_binaries, new_cluster

__all__ = ["ServerHarness"]

_JITTER_S = 0.1  # so that kills fall between two commits, too
_POLL_S = 0.005
_ROWS = "SELECT count(*) FROM rows"
_ARTIFACTS = "SELECT count(*) FROM artifacts"


class ServerHarness:
    """Kills the server while runs of one job record."""

    def __init__(self, scratch: Path, cluster: Cluster, *, rows: int, seed: int = 0) -> None:
        self.count = Count()
        self._cluster = cluster
        self._scratch = scratch
        self._random = random.Random(seed)  # noqa: S311  reproducible, not secret
        self._rows = rows
        self.undisturbed = self._disturb(0)

    def disturb(self, kills: int) -> None:
        """Kill the server during one run, at most this often."""
        self.count.runs += 1
        trail = self._disturb(kills)
        found = differences(self._job, trail, self.undisturbed)
        self.count.bad += [f"run {self.count.runs}, at its end: {problem}" for problem in found]

    def _disturb(self, kills: int) -> Trail:
        job = self._new_job()
        trail = Trail()
        for _ in range(kills):
            process = self._until_killed(job, trail)
            with self._cluster.running():
                trail, findings = inspect_job(job)
            if process.returncode == 0:
                break
            where = f"run {self.count.runs}, kill {self.count.kills + 1}"
            if process.returncode != 1 or not process.stderr.startswith("error: audit database "):
                self.count.bad.append(f"{where}: exit code {process.returncode}: {process.stderr}")
            self.count.add(findings, where)
        with self._cluster.running():
            if trail.status != "completed":
                done = subprocess.run(_next(job, trail), capture_output=True, text=True, check=False)
                self.count.bad += [f"not resumed: {done.stderr}"] * (done.returncode != 0)
            return inspect_job(job)[0]

    @property
    def _job(self) -> Job:
        return Job(directory=self._scratch / "job", rows=self._rows, url=self._url)

    @property
    def _url(self) -> str:
        return self._cluster.url.render_as_string(hide_password=False)

    def _new_job(self) -> Job:
        job = self._job
        shutil.rmtree(job.directory, ignore_errors=True)
        job.write()
        with self._cluster.running(), self._connection() as connection:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")
        return job

    def _connection(self) -> psycopg.Connection[tuple[int]]:
        url = make_url(self._url).set(drivername="postgresql")
        return psycopg.connect(url.render_as_string(hide_password=False), autocommit=True)

    def _until_killed(self, job: Job, trail: Trail) -> subprocess.CompletedProcess[str]:
        """Run or resume the job until the server is killed.

        That happens at a random row, or while the outputs are published.
        """
        rows = self._random.randint(len(trail.endings), job.rows)
        statement, number = self._random.choice([(_ROWS, rows), (_ARTIFACTS, 1)])
        with self._cluster.running() as server:
            arguments = _next(job, trail)
            process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            with self._connection() as connection:
                while process.poll() is None and _count(connection, statement) < number:
                    time.sleep(_POLL_S)
            time.sleep(self._random.random() * _JITTER_S)
            server.send_signal(signal.SIGQUIT)
            server.wait()
        stdout, stderr = process.communicate()
        return subprocess.CompletedProcess(arguments, process.returncode, stdout, stderr)


def _next(job: Job, trail: Trail) -> list[str]:
    return command(*(job.run_arguments if trail.run_id is None else job.resume_arguments(trail.run_id)))


def _count(connection: psycopg.Connection[tuple[int]], statement: LiteralString) -> int:
    try:
        row = connection.execute(statement).fetchone()
    except errors.UndefinedTable:
        return -1
    return row[0] if row else 0


def main(arguments: list[str]) -> int:
    """Run the loop and print the counts.

    Returns 1 if anything was wrong.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.durability.server_kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="how many kills at least")
    parser.add_argument("--rows", type=int, default=5000, help="rows of the source")
    parser.add_argument("--seed", type=int, default=0, help="where the kills fall")
    options = parser.parse_args(arguments)
    binaries = find_binaries()
    if binaries is None:
        sys.stderr.write(f"{UNAVAILABLE}\n")
        return 2
    with tempfile.TemporaryDirectory(prefix="elspeth-kills-") as scratch, new_cluster(binaries) as cluster:
        harness = ServerHarness(Path(scratch), cluster, rows=options.rows, seed=options.seed)
        while harness.count.kills < options.kills and not harness.count.bad:
            harness.disturb(3)
    for problem in harness.count.bad:
        sys.stdout.write(f"{problem}\n")
    sys.stdout.write(f"PostgreSQL, {options.rows:,} rows, seed {options.seed}: {harness.count}\n")
    return 1 if harness.count.bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The same work by an earlier commit and today.

The earlier one is installed into an environment of its own. Both are measured in turn, so that other work on the
machine slows them alike.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import venv
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg
from sqlalchemy import make_url

from benchmarks.floors import libpq
from benchmarks.measuring import REPEATS, Ratio, Timing, alternate, timed
from benchmarks.pipeline import arguments, write_pipeline
from benchmarks.recording import RECORDS_PER_ROUTED_ROW
from elspeth.core.landscape.database.urls import sqlite_path

__all__ = ["EARLIER", "Size", "comparisons", "install_earlier"]

EARLIER = "f1f16e9"
"""The first release: the commit that today's is measured against."""

_ROOT = Path(__file__).parents[1]

_RECORD = """\
import sys, time
from benchmarks.recording import record_rows
seconds, processor = time.perf_counter(), time.process_time()
record_rows(sys.argv[1], int(sys.argv[2]))
print(time.perf_counter() - seconds, time.process_time() - processor)
"""

_TABLES = """\
SELECT sum(pg_total_relation_size(oid)) FROM pg_class
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """An installed elspeth.

    `tree` holds the benchmarks that belong to it.
    """

    python: Path
    tree: Path

    def run(self, pipeline: Path) -> Timing:
        """Run a pipeline as a user does, with the start."""
        command = [str(self.python.with_name("elspeth")), *arguments(pipeline)]
        return timed(lambda: self._start(command))

    def record(self, url: str, records: int) -> Timing:
        """Record a run of `records` records, in another process.

        Its start does not count.
        """
        found = self._start([str(self.python), "-c", _RECORD, url, str(records)])
        seconds, processor = map(float, found.split())
        return Timing(seconds=seconds, processor=processor)

    def _start(self, command: list[str]) -> str:
        # Compiled modules are kept: without them, a start would take longer than a small run.
        environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=self.tree, env=environ)  # noqa: S603 - ours
        return done.stdout


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Bytes of a database per record, before and now.

    `reach` is the part of the former that is wanted.
    """

    work: str
    records: int
    before: float
    now: float
    reach: float

    @property
    def ratio(self) -> float:
        """The bytes of now divided by those of before."""
        return self.now / self.before


def comparisons(
    before: Installation, new_urls: Mapping[str, Callable[[str], str]], records: int, directory: Path
) -> Iterator[Ratio | Size]:
    """Compare running, recording and the size of databases.

    `new_urls` holds, for each database's name, a function that returns URLs of new databases.
    """
    now = Installation(python=Path(sys.executable), tree=_ROOT)
    yield _running(before, now, records // 3, directory)
    reaches = {"SQLite": 0.55 / 0.31, "PostgreSQL": 0.40 / 0.26}
    for name, new_url in new_urls.items():
        old, new = ([new_url(f"{age}{attempt}") for attempt in range(REPEATS)] for age in ("before", "now"))
        floor, taken = alternate(
            lambda attempt, urls=old: before.record(urls[attempt], records),  # type: ignore[misc]
            lambda attempt, urls=new: now.record(urls[attempt], records),  # type: ignore[misc]
        )
        yield Ratio(
            work=f"record in units of work, {name}", records=records, floor=floor, taken=taken, reach=reaches[name]
        )
        sizes = [_database_bytes(urls[0]) / records for urls in (old, new)]
        yield Size(work=f"database, {name}", records=records, before=sizes[0], now=sizes[1], reach=0.6)


def install_earlier(directory: Path) -> Installation:
    """Install the earlier commit, with its locked dependencies.

    It must be in the repository: a shallow clone may lack it.
    """
    tree, place = directory / "tree", directory / "env"
    command = ["git", "archive", EARLIER]
    archive = subprocess.run(command, check=True, capture_output=True, cwd=_ROOT)  # noqa: S603 - ours
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(tree, filter="data")
    venv.create(place, with_pip=True)
    python = place / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "-qq", "-c", str(tree / "requirements.lock")]
    subprocess.run([*install, f"{tree}[postgres]"], check=True)  # noqa: S603 - ours
    return Installation(python=python, tree=tree)


def _running(before: Installation, now: Installation, rows: int, directory: Path) -> Ratio:
    old, new = (directory / "before", directory / "now")
    for place in (old, new):
        place.mkdir()
        for attempt in range(REPEATS):
            write_pipeline(place / str(attempt), rows)
    floor, taken = alternate(
        lambda attempt: before.run(old / str(attempt)), lambda attempt: now.run(new / str(attempt))
    )
    records = rows * RECORDS_PER_ROUTED_ROW
    return Ratio(work="elspeth run, csv to two sinks", records=records, floor=floor, taken=taken, reach=2.5)


def _database_bytes(url: str) -> int:
    """Return the bytes of all tables and indexes."""
    if url.startswith("sqlite"):
        return sqlite_path(make_url(url)).stat().st_size
    with closing(psycopg.connect(libpq(url))) as connection:
        ((size,),) = connection.execute(_TABLES)
    return int(size)

"""Measuring time and memory of work, and describing the machine.

This module imports nothing large: jobs that run in a process of their own pay for what they import themselves.
"""

from __future__ import annotations

import os
import platform
import resource
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

__all__ = ["REPEATS", "Cost", "Ratio", "Timing", "alternate", "best", "in_process", "machine", "timed"]

REPEATS = 3
"""Attempts, of which the best counts: other work can only make one slower."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Seconds by the clock, and seconds of processor time.

    Processor time counts this process and those it waited for. Other work on the machine affects it less.
    """

    seconds: float
    processor: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """Work beside its floor, measured in the same run.

    `reach` is the ratio of their speeds that is wanted.
    """

    work: str
    records: int
    floor: Timing
    taken: Timing
    reach: float

    @property
    def ratio(self) -> float:
        """The floor's time divided by the work's."""
        return self.floor.seconds / self.taken.seconds

    @property
    def processor_ratio(self) -> float:
        """The ratio of processor times, without a database server's."""
        return self.floor.processor / self.taken.processor


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The peak memory and time of a job.

    Memory is in MB above that of the new process.
    """

    memory: float
    seconds: float


def best(job: Callable[[int], object], repeats: int = REPEATS) -> Timing:
    """Return the shortest time of several attempts.

    The job receives the number of the attempt.
    """
    return _shortest([timed(lambda attempt=attempt: job(attempt)) for attempt in range(repeats)])  # type: ignore[misc]


def alternate(*jobs: Callable[[int], Timing], repeats: int = REPEATS) -> list[Timing]:
    """Return the shortest time of each job, measured in turn."""
    attempts = [[job(attempt) for job in jobs] for attempt in range(repeats)]
    return [_shortest(timings) for timings in zip(*attempts, strict=True)]


def timed(job: Callable[[], object]) -> Timing:
    """Return the time of one attempt."""
    start, used = time.perf_counter(), sum(os.times()[:4])
    job()
    return Timing(seconds=time.perf_counter() - start, processor=sum(os.times()[:4]) - used)


def in_process(job: Callable[..., None], *arguments: object) -> Cost:
    """Run the job in a process of its own."""
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as process:
        return process.submit(_measured, job, *arguments).result()


def machine(*, postgresql: str | None = None) -> str:
    """Describe the machine on one line."""
    parts = [f"{os.cpu_count()} cores", _processor(), f"Python {platform.python_version()}"]
    parts.append(f"SQLite {sqlite3.sqlite_version}")
    if postgresql is not None:
        parts.append(f"PostgreSQL {postgresql}")
    return ", ".join(parts)


def _shortest(timings: Sequence[Timing]) -> Timing:
    seconds, processor = [each.seconds for each in timings], [each.processor for each in timings]
    return Timing(seconds=min(seconds), processor=min(processor))


def _measured(job: Callable[..., None], *arguments: object) -> Cost:
    start = time.perf_counter()
    job(*arguments)
    seconds = time.perf_counter() - start
    # The memory of the job's modules counts, too: everything above an idle process.
    command = [sys.executable, "-c", "from benchmarks.measuring import _peak; print(_peak())"]
    bare = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - the command is ours
    return Cost(memory=_peak() - float(bare.stdout), seconds=seconds)


def _peak() -> float:
    """Return the peak memory of this process in MB."""
    status = Path("/proc/self/status")
    if status.exists():
        # Unlike getrusage, this excludes the process that this one was forked from.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        if models:
            return models[0]
    return platform.machine()

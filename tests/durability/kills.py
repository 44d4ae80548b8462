"""Real runs, killed and resumed until they end.

    python -m tests.durability.kills --kills 60 --mode power-cut

Modes: `kill` is kill -9, after which the machine lives on; after `power-cut` only what was synced is there; after
`torn-power-cut` each change that was not synced is there or not, by chance. Whatever the mode, a run that was reported
as done is followed by a power cut, which must not change its output.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from tests.durability.checks import Count, Findings, Trail, differences, inspect_job
from tests.durability.disk import Disk, Entry, Survives, journal_entries, nothing
from tests.durability.pipeline import Job
from tests.durability.shadow import NO_COMPILER, Shadow, build_library

__all__ = ["MODES", "NORMAL", "Harness", "Stop"]

MODES = ("kill", "power-cut", "torn-power-cut")

NORMAL = "from elspeth.core.landscape.database import connections; connections._SQLITE_PRAGMAS['synchronous'] = 1"
"""What a process executes first to record with less than full synchronisation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Where a process is killed.

    `event` is the number of a change or sync, `barrier` that of a sync or change of names; the kill comes right before
    it.
    """

    event: int | None = None
    barrier: int | None = None


class Harness:
    """Kills runs of one job in a scratch directory."""

    def __init__(self, scratch: Path, library: Path, *, rows: int, seed: int = 0, before: str = "") -> None:
        self.count = Count()
        self.job = Job(directory=scratch / "job", rows=rows)
        self.journal = scratch / "journal"
        self.random = random.Random(seed)  # noqa: S311  reproducible, not secret
        self._fresh = scratch / "fresh"
        self._library = library
        self._before = before
        self.job.write()
        shutil.copytree(self.job.directory, self._fresh)
        result = self._process(Trail(), Stop())
        assert result.returncode == 0, result.stderr
        trail, findings = inspect_job(self.job)
        assert (trail.status, findings.bad, findings.published) == ("completed", [], rows)
        assert differences(self.job, trail, trail) == []
        self.undisturbed = trail
        self._undisturbed_journal = self.journal.rename(scratch / "undisturbed")
        self.barriers = [entry for entry in self.entries() if entry.is_barrier]
        self.changes = len(self.barriers) + sum(entry.kind in "wt" for entry in self.entries())

    def entries(self) -> Iterator[Entry]:
        """Read the journal of the undisturbed run."""
        return journal_entries(self._undisturbed_journal)

    def random_stops(self) -> Iterator[Stop]:
        """Draw places to kill at.

        Half are between any two changes, half at the syncs and renames, which are few and matter most.
        """
        while True:
            yield Stop(event=self.random.randint(1, self.changes))
            yield Stop(barrier=self.random.randint(1, len(self.barriers)))

    def disturb(self, stops: Iterator[Stop], mode: str) -> None:
        """Kill one run at each stop, resuming it after each."""
        self.count.runs += 1
        disk, trail = self.new_disk(), Trail()
        while trail.status != "completed":
            stop = next(stops, Stop())
            result = self._process(trail, stop)
            disk.follow(journal_entries(self.journal))
            where = f"run {self.count.runs}, {mode} at {stop}"
            if result.returncode not in (0, -signal.SIGKILL):
                self.count.bad.append(f"{where}: exit code {result.returncode}: {result.stderr}")
                return
            if result.returncode != 0:
                if mode != "kill":
                    disk = self.cut_power(disk, nothing if mode == "power-cut" else self._half)
                trail, findings = inspect_job(self.job)
                self.count.add(findings, where)
            if result.returncode == 0 or trail.status == "completed":
                disk = self.cut_power(disk, nothing)
                trail, findings = inspect_job(self.job)
                self.count.bad += [f"{where}, power cut at the end: {problem}" for problem in findings.bad]
            if result.returncode == 0:
                break
        found = differences(self.job, trail, self.undisturbed)
        self.count.bad += [f"run {self.count.runs}, at its end: {problem}" for problem in found]

    def after_each_barrier(self, survives: Survives) -> Iterator[tuple[Entry | None, Findings]]:
        """Yield what a power cut leaves, barrier after barrier.

        Each finding comes with the barrier that comes next in the undisturbed run.
        """
        disk = self.new_disk()
        for entry in chain(self.entries(), [None]):
            if entry is None or entry.is_barrier:
                self.cut_power(disk, survives)
                _, findings = inspect_job(self.job)
                self.count.add(findings, f"before {entry.kind if entry else 'the end'}")
                yield entry, findings
            if entry is not None:
                disk.take(entry)

    def new_disk(self) -> Disk:
        """Make a disk with the job before its first run."""
        shutil.rmtree(self.job.directory)
        shutil.copytree(self._fresh, self.job.directory)
        return Disk(self.job.directory)

    def _process(self, trail: Trail, stop: Stop) -> subprocess.CompletedProcess[str]:
        shadow = Shadow(
            preloaded=self._library,
            root=self.job.directory,
            journal=self.journal,
            stop_event=stop.event,
            stop_barrier=stop.barrier,
        )
        if trail.run_id is None:
            return self.job.run(shadow, before=self._before)
        return self.job.resume(trail.run_id, shadow, before=self._before)

    def cut_power(self, disk: Disk, survives: Survives) -> Disk:
        """Cut the power, and return the disk from then on.

        The job's directory holds what the disk held.
        """
        shutil.rmtree(self.job.directory)
        disk.cut_power(self.job.directory, survives)
        return Disk(self.job.directory)

    def _half(self) -> bool:
        return self.random.random() < 0.5


def main(arguments: list[str]) -> int:
    """Run the loop and print the counts.

    Returns 1 if anything was wrong.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.durability.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=60, help="how many kills at least")
    parser.add_argument("--mode", choices=MODES, default="power-cut")
    parser.add_argument("--rows", type=int, default=5000, help="rows of the source")
    parser.add_argument("--seed", type=int, default=0, help="where the kills fall")
    parser.add_argument("--every-barrier", action="store_true", help="instead, one run for each sync and rename")
    parser.add_argument("--normal", action="store_true", help="record with synchronous=NORMAL: this must fail")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="elspeth-kills-") as scratch:
        library = build_library(Path(scratch))
        if library is None:
            sys.stderr.write(f"{NO_COMPILER}\n")
            return 2
        before = NORMAL if options.normal else ""
        harness = Harness(Path(scratch), library, rows=options.rows, seed=options.seed, before=before)
        if options.every_barrier:
            for number in range(1, len(harness.barriers) + 1):
                harness.disturb(iter([Stop(barrier=number)]), options.mode)
                _show(harness.count)
        else:
            stops = harness.random_stops()
            while harness.count.kills < options.kills:
                harness.disturb(stops, options.mode)
                _show(harness.count)
    for problem in harness.count.bad:
        sys.stdout.write(f"{problem}\n")
    sys.stdout.write(f"{options.mode}, {options.rows:,} rows, seed {options.seed}: {harness.count}\n")
    return 1 if harness.count.bad else 0


def _show(count: Count) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{count}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

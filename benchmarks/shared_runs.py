"""Runs by one process and by several workers.

`python -m benchmarks.shared_runs` prints how many times faster workers are, with their start. It is worth reading only
on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.slow_plugins import HashTransform, WaitTransform
from elspeth.contracts.plugins import Transform

__all__ = ["Case", "measure"]

_SETTINGS = """\
datasource: {{plugin: csv, options: {{path: {directory}/input.csv}}}}
row_plugins: [{plugin}]
output_sink: out
sinks: {{out: {{plugin: csv, options: {{path: {directory}/out.csv}}}}}}
landscape: {{url: "sqlite:///{directory}/audit.db"}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What a row takes, and how many rows and workers."""

    work: str
    transform: type[Transform] | None
    rows: int
    workers: int
    wanted: float


CASES = (
    Case(work="5 ms of hashing", transform=HashTransform, rows=4000, workers=2, wanted=1.8),
    Case(work="50 ms of waiting", transform=WaitTransform, rows=800, workers=4, wanted=3.6),
    Case(work="nothing but recording", transform=None, rows=20_000, workers=2, wanted=1.0),
)


def measure(case: Case, rows: int, workers: int) -> float:
    """Return the seconds that a run takes."""
    # Each worker imports this module again, as it does the script `elspeth`, which imports little either.
    from elspeth.api.workers import run_workers  # noqa: PLC0415
    from elspeth.core.landscape.database import LandscapeDB  # noqa: PLC0415
    from elspeth.core.settings import load_settings  # noqa: PLC0415
    from elspeth.engine.keys import load_run_keys  # noqa: PLC0415
    from elspeth.engine.orchestrator import Orchestrator  # noqa: PLC0415
    from elspeth.engine.pipeline import build_pipeline  # noqa: PLC0415
    from elspeth.plugins.csv import CsvSink, CsvSource  # noqa: PLC0415
    from elspeth.plugins.manager import PluginManager  # noqa: PLC0415

    with TemporaryDirectory() as name:
        directory = Path(name)
        plugin = "" if case.transform is None else f"{{plugin: {case.transform.name}}}"
        (directory / "settings.yaml").write_text(_SETTINGS.format(directory=directory, plugin=plugin))
        (directory / "input.csv").write_text("id\n" + "".join(f"{number}\n" for number in range(rows)))
        plugins = PluginManager([CsvSource, CsvSink, HashTransform, WaitTransform])
        pipeline = build_pipeline(load_settings(directory / "settings.yaml", environ={}, plugins=plugins), plugins)
        keys = load_run_keys(pipeline.settings, {}, source="settings.yaml")
        began = time.perf_counter()
        with LandscapeDB.from_url(pipeline.settings.landscape.url) as db, run_workers(workers) as shared:
            Orchestrator(db, pipeline, keys, workers=shared).run()
        return time.perf_counter() - began


def _measure_apart(number: int, rows: int, workers: int) -> float:
    """Measure a case in a new process, without workers yet."""
    command = [sys.executable, "-m", "benchmarks.shared_runs", "--measure", str(number), str(rows), str(workers)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)  # noqa: S603  this program


def measure_option(rows: int) -> tuple[float, float]:
    """Return the seconds without, and with, `--workers 1`.

    Its rows need nothing but recording.
    """
    from benchmarks.measuring import alternate, timed  # noqa: PLC0415
    from benchmarks.workers import run_command  # noqa: PLC0415

    with TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "settings.yaml").write_text(_SETTINGS.format(directory=directory, plugin=""))
        (directory / "input.csv").write_text("id\n" + "".join(f"{number}\n" for number in range(rows)))
        run = ("run", "-s", str(directory / "settings.yaml"), "--execute", "--no-dotenv")
        plain, one = alternate(
            lambda _: timed(lambda: run_command(*run)), lambda _: timed(lambda: run_command(*run, "--workers", "1"))
        )
    return plain.seconds, one.seconds


def main() -> None:
    """Print a table of all cases."""
    from benchmarks.measuring import machine  # noqa: PLC0415

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", type=float, default=1.0, help="the part of the rows to run, for a first look")
    parser.add_argument("--measure", type=int, nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        number, rows, workers = given.measure
        print(measure(CASES[number], rows, workers))  # noqa: T201
        return
    part = given.part
    print(machine())  # noqa: T201
    print("| a row takes | rows | one process | workers | | times faster | wanted |\n|---|---|---|---|---|---|---|")  # noqa: T201
    for number, case in enumerate(CASES):
        rows = max(1, int(case.rows * part))
        one, many = (_measure_apart(number, rows, workers) for workers in (1, case.workers))
        cells = [
            case.work,
            f"{rows:,}",
            f"{one:.1f} s",
            case.workers,
            f"{many:.1f} s",
            f"{one / many:.2f}",
            case.wanted,
        ]
        print(f"| {' | '.join(map(str, cells))} |")  # noqa: T201
    plain, one = measure_option(max(1, int(20_000 * part)))
    print(f"\n--workers 1 takes {one:.2f} s, {one / plain:.2f} times as long as no option (at most 1.05)")  # noqa: T201


if __name__ == "__main__":
    main()

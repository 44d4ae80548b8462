"""The same run by one process and by several workers.

`python -m benchmarks.shared_runs` measures whole commands, and takes seven minutes. It is worth reading only on a
machine that does nothing else.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measuring import Timing, alternate, machine, timed
from benchmarks.workers import ONE_WORKER, run_command

__all__ = ["CASES", "Case", "measure"]

_SETTINGS = """\
datasource: {{plugin: csv, options: {{path: input.csv}}}}
row_plugins: [{step}]
output_sink: out
sinks: {{out: {{plugin: csv, options: {{path: out.csv}}}}}}
landscape: {{url: "sqlite:///audit.db"}}
"""

_REPEATS = 2  # these runs are long


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What a row takes, and how many rows and workers.

    `function` is one of `benchmarks.slow_functions`, or None for no transform.
    """

    work: str
    function: str | None
    rows: int
    workers: int
    wanted: float


CASES = (
    Case(work="5 ms of hashing", function="compute", rows=8000, workers=2, wanted=1.8),
    Case(work="50 ms of waiting", function="wait", rows=1600, workers=4, wanted=3.6),
    Case(work="nothing but recording", function=None, rows=20_000, workers=2, wanted=1.0),
)


def measure(case: Case, rows: int, *counts: int | None) -> list[Timing]:
    """Return the times of the command by number of workers.

    None stands for the command without the option.
    """
    jobs: list[Callable[[int], Timing]] = [partial(_measure, case, rows, count) for count in counts]
    return alternate(*jobs, repeats=_REPEATS)


def _measure(case: Case, rows: int, workers: int | None, attempt: int) -> Timing:  # noqa: ARG001  as `alternate` asks
    step = ""
    if case.function is not None:
        options = f'{{function: "slow_functions:{case.function}", directory: "{Path(__file__).parent}"}}'
        step = f"{{plugin: python, options: {options}}}"
    with TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "settings.yaml").write_text(_SETTINGS.format(step=step))
        (directory / "input.csv").write_text("id\n" + "".join(f"{number}\n" for number in range(rows)))
        option = () if workers is None else ("--workers", str(workers))
        run = ("run", "-s", "settings.yaml", "--execute", "--no-dotenv", *option)
        return timed(lambda: run_command(*run, directory=directory))


def main() -> None:
    """Print a table of all cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", type=float, default=1.0, help="the part of the rows to run, for a first look")
    part = parser.parse_args().part
    print(machine())  # noqa: T201
    print("| a row takes | rows | one process | workers | | times as fast | wanted |\n|---|---|---|---|---|---|---|")  # noqa: T201
    for case in CASES:
        rows = max(1, int(case.rows * part))
        plain, many = (each.seconds for each in measure(case, rows, None, case.workers))
        faster = f"{plain / many:.2f}"
        cells = (case.work, f"{rows:,}", f"{plain:.1f} s", case.workers, f"{many:.1f} s", faster, case.wanted)
        print(f"| {' | '.join(map(str, cells))} |")  # noqa: T201
    plain, one = (each.seconds for each in measure(CASES[-1], max(1, int(CASES[-1].rows * part)), None, 1))
    print(f"\n--workers 1 takes {one:.2f} s, {one / plain:.2f} times as long as no option (at most {ONE_WORKER})")  # noqa: T201


if __name__ == "__main__":
    main()

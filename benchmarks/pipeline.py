"""The speed of `elspeth run`, beside recording without the engine.

The pipeline is csv -> gate -> two csv sinks.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

from benchmarks.measuring import REPEATS, Ratio, best
from benchmarks.recording import RECORDS_PER_ROUTED_ROW, record_routed_rows

__all__ = ["arguments", "engine_ratio", "run_here", "run_pipeline", "write_pipeline"]

_SETTINGS = """\
datasource:
  plugin: csv
  options:
    path: {directory}/input.csv
    schema: {{mode: strict, fields: ["id: int", "amount: float"]}}
gates:
  - name: band
    condition: "row['amount'] >= 500"
    routes: {{"true": large, "false": continue}}
output_sink: small
sinks:
  small: {{plugin: csv, options: {{path: {directory}/small.csv}}}}
  large: {{plugin: csv, options: {{path: {directory}/large.csv}}}}
landscape:
  url: sqlite:///{directory}/audit.db
"""


def engine_ratio(rows: int, directory: Path) -> Ratio:
    """Measure a run of `rows` rows, including the program's start."""
    places = [directory / f"engine{attempt}" for attempt in range(REPEATS)]
    for place in places:
        write_pipeline(place, rows)
    running = best(lambda attempt: run_pipeline(places[attempt]))
    recording = best(lambda attempt: record_routed_rows(f"sqlite:///{directory}/routed{attempt}.db", rows))
    records = rows * RECORDS_PER_ROUTED_ROW
    return Ratio(work="elspeth run, csv to two sinks", records=records, floor=recording, taken=running, reach=0.50)


def write_pipeline(directory: Path, rows: int) -> None:
    """Write settings and input of a pipeline."""
    directory.mkdir()
    (directory / "settings.yaml").write_text(_SETTINGS.format(directory=directory))
    with (directory / "input.csv").open("w") as file:
        file.write("id,amount\n")
        file.writelines(f"{number},{number % 1000}.5\n" for number in range(rows))


def run_pipeline(directory: Path) -> None:
    """Run the pipeline as a user does."""
    command = [str(Path(sys.executable).with_name("elspeth")), *arguments(directory)]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - the command is ours


def run_here(directory: Path) -> None:
    """Run the pipeline in this process.

    Raises RuntimeError if it fails.
    """
    from elspeth.cli import main  # noqa: PLC0415  the job pays for its imports

    with redirect_stdout(StringIO()), redirect_stderr(StringIO()) as said:
        code = main(arguments(directory))
    if code:
        raise RuntimeError(said.getvalue())


def arguments(directory: Path) -> list[str]:
    """Return the arguments that run the pipeline."""
    return ["run", "-s", str(directory / "settings.yaml"), "--execute"]

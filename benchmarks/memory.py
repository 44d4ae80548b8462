"""Peak memory and time of exporting and importing runs.

Run with the project and its `parquet` extra installed: python -m benchmarks.memory
"""
# ruff: noqa: PLC0415, T201 - a script, which prints; its jobs import what they need themselves

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.measuring import Cost, in_process
from benchmarks.recording import RUN, record_rows

SIZES = (10_000, 200_000)
"""Records of each run."""

FORMS = ("jsonl", "json", "nt", "csv", "parquet")


def export_run(url: str, path: Path, form: str) -> None:
    """Export the run."""
    from elspeth.core.landscape.database import LandscapeDB
    from elspeth.core.landscape.exporting.files import ExportFormat, write_export

    with LandscapeDB.from_url(url, create_tables=False) as db:
        write_export(db, RUN, path, format=ExportFormat(form))


def import_run(path: Path, url: str) -> None:
    """Import the export into a new database."""
    from elspeth.core.landscape.exporting.importer import import_into

    import_into(url, path)


def main() -> None:
    """Print a line for each job and size."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        print(f"{'job':<16} {'records':>8} {'MB over start':>14} {'seconds':>8}")
        for size in SIZES:
            url = f"sqlite:///{directory}/{size}.db"
            record_rows(url, size)
            for form in FORMS:
                path = directory / f"{size}.{form}"
                report(f"export {form}", size, in_process(export_run, url, path, form))
                if form == "nt":  # which is not imported
                    continue
                target = f"sqlite:///{directory}/{size}-{form}.db"
                report(f"import {form}", size, in_process(import_run, path, target))


def report(label: str, size: int, cost: Cost) -> None:
    """Print what a job took."""
    print(f"{label:<16} {size:>8,} {cost.memory:>14.0f} {cost.seconds:>8.1f}")


if __name__ == "__main__":
    main()

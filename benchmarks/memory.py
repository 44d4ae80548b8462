"""Peak memory and time of exporting and importing a small and a large run, in every form.

Run with the project and its `parquet` extra installed: python benchmarks/memory.py
"""
# ruff: noqa: PLC0415, T201 - a script, which prints; its jobs import what they need themselves

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

SIZES = (10_000, 200_000)
"""Records of each run."""

FORMS = ("jsonl", "json", "csv", "parquet")

# Nothing large is imported here: on Linux the peak of a process includes that of the one it was forked from.


def record_run(database: Path, size: int) -> None:
    """Make a database with a run of at least `size` records: rows with a token, a state and an outcome each."""
    from datetime import UTC, datetime

    from elspeth.core.canonical import CANONICAL_VERSION, stable_hash
    from elspeth.core.chunks import chunks
    from elspeth.core.landscape.database import LandscapeDB
    from elspeth.core.landscape.store import RecordStore
    from elspeth_schema import contracts

    now, data_hash, run_id = datetime(2026, 1, 1, tzinfo=UTC), stable_hash({}), "benchmark"
    run = contracts.Run(
        run_id=run_id,
        started_at=now,
        config_hash=data_hash,
        settings_json="{}",
        canonical_version=CANONICAL_VERSION,
        status=contracts.RunStatus.RUNNING,
    )
    node = contracts.Node(
        run_id=run_id,
        node_id="source",
        plugin_name="csv",
        node_type=contracts.NodeType.SOURCE,
        plugin_version="1",
        determinism=contracts.Determinism.DETERMINISTIC,
        config_hash=data_hash,
        config_json="{}",
        registered_at=now,
    )
    with LandscapeDB(f"sqlite:///{database}") as db:
        store = RecordStore(db)
        store.add(run, node)
        for numbers in chunks(range(size // 4), 1000):
            with store.unit():
                for number in numbers:
                    name = f"{number:032d}"
                    store.add(
                        contracts.Row(
                            run_id=run_id,
                            row_id=name,
                            source_node_id="source",
                            row_index=number,
                            source_data_hash=data_hash,
                            created_at=now,
                        ),
                        contracts.Token(run_id=run_id, token_id=name, row_id=name, created_at=now),
                        contracts.NodeStateCompleted(
                            run_id=run_id,
                            state_id=name,
                            token_id=name,
                            node_id="source",
                            step_index=0,
                            attempt=0,
                            input_hash=data_hash,
                            output_hash=data_hash,
                            duration_ms=0.1,
                            started_at=now,
                            completed_at=now,
                        ),
                        contracts.TokenOutcome(
                            run_id=run_id,
                            outcome_id=name,
                            token_id=name,
                            outcome=contracts.RowOutcome.COMPLETED,
                            is_terminal=True,
                            recorded_at=now,
                        ),
                    )


def export_run(database: Path, path: Path, form: str) -> None:
    """Export the run."""
    from elspeth.core.landscape.database import LandscapeDB
    from elspeth.core.landscape.export.files import ExportFormat, write_export

    with LandscapeDB(f"sqlite:///{database}", create_tables=False) as db:
        write_export(db, "benchmark", path, format=ExportFormat(form))


def import_run(path: Path, database: Path) -> None:
    """Import the export into a new database."""
    from elspeth.core.landscape.importer import import_into

    import_into(f"sqlite:///{database}", path)


def measured(job: Callable[..., None], *arguments: object) -> tuple[float, float]:
    """Run the job in a process of its own: its peak memory in MB, and its time in seconds."""
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as process:
        return process.submit(_measure, job, *arguments).result()


def _measure(job: Callable[..., None], *arguments: object) -> tuple[float, float]:
    start = time.perf_counter()
    job(*arguments)
    elapsed = time.perf_counter() - start
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, elapsed


def main() -> None:
    """Print a line for each job and size."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        print(f"{'job':<16} {'records':>8} {'peak MB':>8} {'seconds':>8}")
        for size in SIZES:
            database = directory / f"{size}.db"
            measured(record_run, database, size)
            for form in FORMS:
                path = directory / f"{size}.{form}"
                report(f"export {form}", size, measured(export_run, database, path, form))
                if form != "csv":
                    report(f"import {form}", size, measured(import_run, path, directory / f"{size}-{form}.db"))


def report(label: str, size: int, result: tuple[float, float]) -> None:
    """Print what a job took."""
    memory, seconds = result
    print(f"{label:<16} {size:>8,} {memory:>8.0f} {seconds:>8.1f}")


if __name__ == "__main__":
    main()

"""Speed of exporting, verifying and recording, each beside the floor that it is measured against.

Run with: nox -s bench, or python -m benchmarks.speed [RECORDS] [RESULT.json]
"""
# ruff: noqa: T201 - a script, which prints

from __future__ import annotations

import hashlib
import json
import os
import platform
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.memory import record_run
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.export.bag_form import write_bag_of_run
from elspeth.core.landscape.export.files import write_export
from elspeth.core.landscape.export.format import ExportFormat
from elspeth.core.landscape.importer import import_into
from elspeth.evidence.keys import generate, load_public_key, load_signer
from elspeth.evidence.verify import verify_bag
from elspeth_schema.records import RECORD_TYPES

RUN = "benchmark"
REPEATS = 3


def best(job: Callable[[int], object]) -> float:
    """Seconds of the fastest of several attempts; the job is told which one it is."""
    times = []
    for attempt in range(REPEATS):
        start = time.perf_counter()
        job(attempt)
        times.append(time.perf_counter() - start)
    return min(times)


def read_with_the_driver(database: Path) -> None:
    """Iterate over the rows of the run in export order, and do nothing with them."""
    connection = sqlite3.connect(database)
    for record_type in RECORD_TYPES.values():
        order = ", ".join(record_type.order)
        statement = f"SELECT * FROM {record_type.table.name} WHERE run_id = ? ORDER BY {order}"  # noqa: S608
        for _ in connection.execute(statement, (RUN,)):
            pass
    connection.close()


def hash_lines(records: Path) -> None:
    """SHA-256 over each line of the file."""
    with records.open("rb") as file:
        for line in file:
            hashlib.sha256(line).digest()


def insert_with_the_driver(source: Path, target: Path) -> None:
    """Write the same rows with raw executemany, 1,000 per transaction, all indexes and triggers, FULL."""
    LandscapeDB(f"sqlite:///{target}").close()
    reading, writing = sqlite3.connect(source), sqlite3.connect(target, isolation_level=None)
    for pragma in ("synchronous = FULL", "foreign_keys = ON", "recursive_triggers = ON"):
        writing.execute(f"PRAGMA {pragma}")
    for record_type in RECORD_TYPES.values():
        cursor = reading.execute(f"SELECT * FROM {record_type.table.name}")  # noqa: S608
        marks = ", ".join("?" * len(record_type.columns))
        while rows := cursor.fetchmany(1000):
            writing.execute("BEGIN IMMEDIATE")
            writing.executemany(f"INSERT INTO {record_type.table.name} VALUES ({marks})", rows)  # noqa: S608
            writing.execute("COMMIT")
    writing.close()


def measure(size: int, directory: Path) -> dict[str, tuple[float, float]]:
    """Seconds of the floor and of the work itself, by kind of work."""
    database = directory / "run.db"
    recording = best(lambda attempt: record_run(directory / f"recorded{attempt}.db", size))
    raw = best(lambda attempt: insert_with_the_driver(directory / "recorded0.db", directory / f"raw{attempt}.db"))
    (directory / "recorded0.db").rename(database)
    generate(directory / "keys")
    signer = load_signer(str(directory / "keys" / "elspeth.key.pem"))
    public = load_public_key(directory / "keys" / "elspeth.pub.pem")
    reading = best(lambda _: read_with_the_driver(database))
    with LandscapeDB(f"sqlite:///{database}", create_tables=False) as db:
        path = directory / "trail.jsonl"
        plain = best(lambda _: write_export(db, RUN, path, format=ExportFormat.JSONL))
        hmac = best(lambda _: write_export(db, RUN, path, format=ExportFormat.JSONL, signing_key=b"k" * 32))
        bag = best(lambda attempt: write_bag_of_run(db, RUN, directory / f"bag{attempt}", signer=signer))
    hashing = best(lambda _: hash_lines(directory / "bag0" / "data" / "records.jsonl"))
    verifying = best(lambda _: verify_bag(directory / "bag0", key=public))
    targets = [f"sqlite:///{directory}/import{attempt}.db" for attempt in range(REPEATS)]
    importing = best(lambda attempt: import_into(targets[attempt], path, signing_key=b"k" * 32))
    return {
        "export to jsonl": (reading, plain),
        "export to jsonl, HMAC per record": (reading, hmac),
        "export to bag": (reading, bag),
        "verify a bag": (hashing, verifying),
        "record in units of work": (raw, recording),
        "import from jsonl, HMAC checked": (raw, importing),
    }


def main() -> None:
    """Print a table, and write it as JSON if a file is named."""
    size, *result = sys.argv[1:] or ["100000"]
    records = int(size)
    with tempfile.TemporaryDirectory() as name:
        found = measure(records, Path(name))
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{records:,} records, SQLite {sqlite3.sqlite_version}, {machine}; best of {REPEATS}")
    print(f"{'work':<34} {'floor/s':>10} {'work/s':>10} {'ratio':>6}")
    for work, (floor, taken) in found.items():
        print(f"{work:<34} {records / floor:>10,.0f} {records / taken:>10,.0f} {floor / taken:>6.2f}")
    if result:
        ratios = {work: floor / taken for work, (floor, taken) in found.items()}
        Path(result[0]).write_text(json.dumps({"records": records, "machine": machine, "ratios": ratios}, indent=2))


if __name__ == "__main__":
    main()

"""Exports beside what people would use instead, in one run.

Run with: nox -s rivals, or python -m benchmarks.rivals [--records N]
"""
# ruff: noqa: T201 - a script, which prints

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measuring import Cost, in_process, machine
from benchmarks.recording import RUN, record_rows
from elspeth_schema.records import RECORD_TYPES

__all__ = ["RIVALS", "Measured", "Rival", "measured"]

_TABLES = [kind.table.name for kind in RECORD_TYPES.values()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """One way to get the records of a run.

    `checked` says what is compared with the rules of the schema on the way. `missing` returns what is not installed.
    """

    tool: str
    checked: str
    job: Callable[[Path, Path], None]
    missing: Callable[[], str | None] = lambda: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one way cost, or what it lacked."""

    rival: Rival
    cost: Cost | None
    missing: str | None


def main() -> None:
    """Measure all ways, and print them as a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=500_000)
    records: int = parser.parse_args().records
    print(f"{machine()}, load {os.getloadavg()[0]:.1f}; {records:,} records, each way in a process of its own")
    print(f"{'way':<44} {'seconds':>8} {'records/s':>10} {'MB':>5}  checked")
    with tempfile.TemporaryDirectory() as name:
        for each in measured(records, Path(name)):
            if each.cost is None:
                print(f"{each.rival.tool:<44} {each.missing}")
                continue
            rate = f"{records / each.cost.seconds:,.0f}"
            figures = f"{each.cost.seconds:8.2f} {rate:>10} {each.cost.memory:5.0f}"
            print(f"{each.rival.tool:<44} {figures}  {each.rival.checked}")


def measured(records: int, directory: Path) -> Iterator[Measured]:
    """Yield what each way costs."""
    database = directory / "audit.db"
    record_rows(f"sqlite:///{database}", records)
    for number, rival in enumerate(RIVALS):
        lacking = rival.missing()
        place = directory / str(number)
        place.mkdir()
        cost = None if lacking else in_process(rival.job, database, place)
        shutil.rmtree(place)
        yield Measured(rival=rival, cost=cost, missing=lacking)


# -- ours ------------------------------------------------------------------------------------------------------------


def _export(database: Path, directory: Path, form: str, name: str) -> None:
    from elspeth.core.landscape.database import LandscapeDB  # noqa: PLC0415  the job pays for its imports
    from elspeth.core.landscape.exporting.files import ExportFormat, write_export  # noqa: PLC0415

    with LandscapeDB.from_url(f"sqlite:///{database}", create_tables=False) as db:
        write_export(db, RUN, directory / name, format=ExportFormat(form))


def _jsonl(database: Path, directory: Path) -> None:
    _export(database, directory, "jsonl", "run.jsonl")


def _parquet(database: Path, directory: Path) -> None:
    _export(database, directory, "parquet", "run")


def _bag(database: Path, directory: Path) -> None:
    _export(database, directory, "bag", "run")


# -- others ----------------------------------------------------------------------------------------------------------


def _driver(database: Path, _: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        for table in _TABLES:
            for _row in connection.execute(f"SELECT * FROM {table}"):  # noqa: S608 - names of the schema
                pass


def _by_hand(database: Path, directory: Path) -> None:
    with closing(sqlite3.connect(database)) as connection, (directory / "run.jsonl").open("w") as file:
        connection.row_factory = sqlite3.Row
        for table in _TABLES:
            for row in connection.execute(f"SELECT * FROM {table}"):  # noqa: S608
                file.write(json.dumps(dict(row)) + "\n")


def _shell(database: Path, directory: Path) -> None:
    for table in _TABLES:
        with (directory / f"{table}.json").open("w") as file:
            subprocess.run(["sqlite3", "-json", str(database), f"SELECT * FROM {table}"], check=True, stdout=file)  # noqa: S603, S607, S608


def _sqlite_utils(database: Path, directory: Path) -> None:
    for table in _TABLES:
        with (directory / f"{table}.jsonl").open("w") as file:
            command = [sys.executable, "-m", "sqlite_utils", "rows", str(database), table, "--nl"]
            subprocess.run(command, check=True, stdout=file)  # noqa: S603 - the command is ours


def _adbc(database: Path, directory: Path) -> None:
    import adbc_driver_sqlite.dbapi as adbc  # noqa: PLC0415  the job pays for its imports
    import pyarrow.parquet as pq  # noqa: PLC0415

    with adbc.connect(str(database)) as connection, connection.cursor() as cursor:
        for table in _TABLES:
            cursor.execute(f"SELECT * FROM {table}")  # noqa: S608
            pq.write_table(cursor.fetch_arrow_table(), directory / f"{table}.parquet")


def _duckdb(database: Path, directory: Path) -> None:
    import duckdb  # noqa: PLC0415  the job pays for its imports
    from duckdb_extensions import import_extension  # noqa: PLC0415

    import_extension("sqlite_scanner")
    with duckdb.connect() as connection:
        connection.execute("LOAD sqlite_scanner")
        connection.execute(f"ATTACH '{database}' AS audit (TYPE sqlite, READ_ONLY)")
        for table in _TABLES:
            connection.execute(f"COPY audit.{table} TO '{directory}/{table}.parquet' (FORMAT parquet)")


def _needs(*modules: str) -> Callable[[], str | None]:
    from importlib.util import find_spec  # noqa: PLC0415

    def missing() -> str | None:
        lacking = [module for module in modules if find_spec(module) is None]
        return f"not installed: {', '.join(lacking)}" if lacking else None

    return missing


def _needs_shell() -> str | None:
    return None if shutil.which("sqlite3") else "not installed: sqlite3"


_NOTHING = "nothing"
_LINES = "every value, order, one run"

RIVALS = (
    Rival(tool="Python's sqlite3, rows read and dropped", checked=_NOTHING, job=_driver),
    Rival(tool="sqlite3 -json", checked=_NOTHING, job=_shell, missing=_needs_shell),
    Rival(tool="Python's sqlite3 and json, by hand", checked=_NOTHING, job=_by_hand),
    Rival(tool="sqlite-utils rows --nl", checked=_NOTHING, job=_sqlite_utils, missing=_needs("sqlite_utils")),
    Rival(tool="elspeth export --format jsonl", checked=_LINES, job=_jsonl),
    Rival(tool="ADBC to Parquet", checked=_NOTHING, job=_adbc, missing=_needs("adbc_driver_sqlite", "pyarrow")),
    Rival(tool="DuckDB to Parquet", checked=_NOTHING, job=_duckdb, missing=_needs("duckdb", "duckdb_extensions")),
    Rival(tool="elspeth export --format parquet", checked=_LINES, job=_parquet, missing=_needs("pyarrow")),
    Rival(tool="elspeth export --format bag", checked=f"{_LINES}; Merkle tree, seal", job=_bag),
)
"""The floor first, then text, then Parquet, then evidence."""


if __name__ == "__main__":
    main()

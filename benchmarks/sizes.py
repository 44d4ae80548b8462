"""Bytes of a database per record, by table and index.

Two pipelines are run. Their records are then written again, with ids of 32 characters, into the tables of epoch 5: that
is what a database took before, at commit f1f16e9.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg
from sqlalchemy import MetaData, create_engine

from benchmarks.floors import libpq
from benchmarks.pipeline import run_here, write_pipeline
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.tables import epoch_tables
from elspeth.core.landscape.recording.ids import DIGITS, ID_LENGTH
from elspeth_schema import EPOCH
from elspeth_schema.records import RECORD_TYPES

__all__ = ["Breakdown", "sizes"]

_BEFORE = 5
"""The epoch of databases at commit f1f16e9."""

_CHUNK = 1000
_NEW_ID = re.compile(rf"[a-z][0-9a-z]{{{ID_LENGTH - 2}}}[0-9]").fullmatch

_AS_BASE_32 = str.maketrans(DIGITS, "0123456789abcdefghijklmnopqrstuv")

_JOINED = """\
datasource:
  plugin: csv
  options:
    path: {directory}/input.csv
    schema: {{mode: strict, fields: ["order: int", "name: str", "amount: float"]}}
row_plugins:
  - {{plugin: field_mapper, branch: price, options: {{computed: {{gross: "row['amount'] * 1.2"}}}}}}
  - {{plugin: field_mapper, branch: risk, options: {{computed: {{risky: "row['amount'] > 900"}}}}}}
gates:
  - {{name: split, condition: "True", routes: {{"true": fork, "false": continue}}, fork_to: [price, risk, totals]}}
coalesce:
  - {{name: joined, branches: [price, risk], policy: require_all, merge: union}}
aggregations:
  - name: sums
    plugin: batch_stats
    branch: totals
    trigger: {{count: 100}}
    output_mode: transform
    options: {{value_field: amount, schema: {{mode: free, fields: ["amount: float"]}}}}
output_sink: orders
sinks:
  orders: {{plugin: csv, options: {{path: {directory}/orders.csv}}}}
  totals: {{plugin: csv, options: {{path: {directory}/totals.csv}}}}
landscape: {{url: "sqlite:///{directory}/audit.db"}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakdown:
    """What the records of a run take in a database.

    `before` and `now` are bytes per record, by table and index.
    """

    work: str
    records: int
    before: Mapping[str, float]
    now: Mapping[str, float]
    reach: float = 0.6

    @property
    def ratio(self) -> float:
        """What is taken now, over what was taken before."""
        return sum(self.now.values()) / sum(self.before.values())


def sizes(rows: int, directory: Path, new_url: Callable[[str], str] | None) -> Iterator[Breakdown]:
    """Measure two pipelines of `rows` rows.

    `new_url` returns the URL of a new PostgreSQL database; without it, only SQLite is measured.
    """
    for name, write in (("csv, gate, two csv sinks", write_pipeline), ("fork, join, aggregation", _write_joined)):
        place = directory / name.replace(", ", "-").replace(" ", "-")
        write(place, rows)
        run_here(place)
        source = place / "audit.db"
        records = _count_records(source)
        per_record = {epoch: _in_sqlite(place / f"{epoch}.db", source, epoch, records) for epoch in (_BEFORE, EPOCH)}
        yield Breakdown(work=f"{name}, SQLite", records=records, before=per_record[_BEFORE], now=per_record[EPOCH])
        if new_url is not None:
            urls = {epoch: new_url(f"{place.name.replace('-', '_')}_{epoch}") for epoch in (_BEFORE, EPOCH)}
            per_record = {epoch: _in_postgresql(url, source, epoch, records) for epoch, url in urls.items()}
            yield Breakdown(
                work=f"{name}, PostgreSQL", records=records, before=per_record[_BEFORE], now=per_record[EPOCH]
            )


def _write_joined(directory: Path, rows: int) -> None:
    directory.mkdir()
    (directory / "settings.yaml").write_text(_JOINED.format(directory=directory))
    with (directory / "input.csv").open("w") as file:
        file.write("order,name,amount\n")
        file.writelines(
            f"{number},a customer of the house number {number % 977},{number % 1000}.5\n" for number in range(rows)
        )


def _count_records(source: Path) -> int:
    with closing(sqlite3.connect(source)) as connection:
        counts = (
            connection.execute(f"SELECT count(*) FROM {record_type.table.name}").fetchone()  # noqa: S608 - our own names
            for record_type in RECORD_TYPES.values()
        )
        return sum(int(count) for (count,) in counts)


def _in_sqlite(target: Path, source: Path, epoch: int, records: int) -> dict[str, float]:
    """Return the bytes per record of a SQLite file."""
    tables = _create(f"sqlite:///{target}", epoch)
    with closing(sqlite3.connect(target)) as connection:
        for name, columns, rows in _rows(source, tables, epoch):
            marks = ", ".join("?" * len(columns))
            connection.executemany(f"INSERT INTO {name} ({', '.join(columns)}) VALUES ({marks})", rows)  # noqa: S608
            connection.commit()
        found = connection.execute("SELECT name, pgsize FROM dbstat WHERE aggregate = 1 AND name <> 'sqlite_schema'")
        return {name: size / records for name, size in found}


def _in_postgresql(url: str, source: Path, epoch: int, records: int) -> dict[str, float]:
    """Return the bytes per record of a PostgreSQL database."""
    tables = _create(url, epoch)
    with psycopg.connect(libpq(url)) as server:
        server.execute("SET TIME ZONE 'UTC'")
        for name, columns, rows in _rows(source, tables, epoch):
            with server.cursor().copy(f"COPY {name} ({', '.join(columns)}) FROM STDIN".encode()) as copy:
                for row in rows:
                    copy.write_row(row)
        found = server.execute(
            "SELECT relname, CASE relkind WHEN 'r' THEN pg_table_size(oid) ELSE pg_relation_size(oid) END"
            " FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'i')"
        )
        return {name: size / records for name, size in found}


def _create(url: str, epoch: int) -> MetaData:
    if epoch == EPOCH:
        LandscapeDB.from_url(url).close()
        return epoch_tables(epoch)
    engine, tables = create_engine(url), epoch_tables(epoch)
    tables.create_all(engine)
    engine.dispose()
    return tables


_Rows = Sequence[tuple[object, ...]]


def _rows(source: Path, tables: MetaData, epoch: int) -> Iterator[tuple[str, list[str], _Rows]]:
    """Yield a database's rows, table by table, as recorded."""
    with closing(sqlite3.connect(source)) as connection:
        for name, table in tables.tables.items():
            if name == "schema_migrations":
                continue
            columns = table.columns.keys()
            cursor = connection.execute(f"SELECT {', '.join(columns)} FROM {name} ORDER BY rowid")  # noqa: S608
            while rows := cursor.fetchmany(_CHUNK):
                yield name, columns, rows if epoch == EPOCH else [tuple(map(_lengthened, row)) for row in rows]


def _lengthened(value: object) -> object:
    """Return an id in 32 characters, as before.

    Their order stays.
    """
    if not isinstance(value, str) or _NEW_ID(value) is None:
        return value
    return f"{int(value.translate(_AS_BASE_32), 32):017x}{'0' * 15}"

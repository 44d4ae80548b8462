"""Exports of databases as found, on both engines."""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import jsonschema
import pytest
from sqlalchemy import NullPool, create_engine, make_url

from elspeth.core.landscape.database import LandscapeError
from elspeth.core.landscape.exporting.format import ExportFormat
from elspeth.core.landscape.exporting.found.export import export_found
from elspeth.core.landscape.exporting.found.reading import find_found_lines
from elspeth.evidence.format.found import record_schema
from elspeth.evidence.verifier.procedure import Verdict
from elspeth.evidence.verifier.verify import verify_bag
from elspeth.outputs.compression import Compression
from elspeth.outputs.policy import OutputRefusedError
from tests.fixtures.effort import THOROUGH
from tests.fixtures.found_exports import (
    export_lines,
    quoted,
    tables_of,
    values_of,
    verify_lines,
    without_time,
)
from tests.fixtures.legacy import EPOCHS, IMPOSSIBLE, KEPT, LEGACY, OldDatabaseMaker, record_rows_of
from tests.fixtures.untouched import untouched


@pytest.fixture
def some_url(database_url: str) -> str:
    """Return the URL of a database with two tables."""
    statements = [
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT)",
        "INSERT INTO t VALUES (2, 'b'), (1, NULL)",
        "CREATE TABLE u (x TEXT)",
        "INSERT INTO u VALUES ('same'), ('same'), ('other')",
    ]
    with create_engine(database_url, poolclass=NullPool).begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    connection.engine.dispose()
    return database_url


def test_two_exports_of_a_database_differ_only_in_their_time(some_url: str, tmp_path: Path) -> None:
    contents = []
    for name in ("one.jsonl", "two.jsonl"):
        export_found(make_url(some_url), tmp_path / name, format=ExportFormat.JSONL)
        contents.append((tmp_path / name).read_bytes())
    assert contents[0] != contents[1]
    assert without_time(contents[0]) == without_time(contents[1])


def test_all_text_forms_hold_the_same_records(some_url: str, tmp_path: Path) -> None:
    for form in (ExportFormat.JSON, ExportFormat.JSONL):
        export_found(make_url(some_url), tmp_path / f"x.{form}", format=form)
        assert verify_lines(tmp_path / f"x.{form}").verdict is Verdict.UNSIGNED
    listed = json.loads((tmp_path / "x.json").read_bytes())
    lines = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()]
    assert [each for each in listed if each["record_type"] == "row"] == [
        each for each in lines if each["record_type"] == "row"
    ]


def test_a_bag_holds_the_same_lines_with_salts_of_its_own(some_url: str, tmp_path: Path) -> None:
    contents, salts = [], set()
    for name in ("one", "two"):
        export_found(make_url(some_url), tmp_path / name, format=ExportFormat.BAG)
        assert verify_bag(tmp_path / name).verdict is Verdict.UNSIGNED
        contents.append(without_time((tmp_path / name / "data/records.jsonl").read_bytes()))
        salts.add((tmp_path / name / "data/salts.json").read_bytes())
    export_found(make_url(some_url), tmp_path / "x.jsonl", format=ExportFormat.JSONL)
    lines = without_time((tmp_path / "x.jsonl").read_bytes())
    assert contents[0] == contents[1] == [*lines[:-2], b""]
    assert len(salts) == 2


def test_the_rows_fit_the_schema_of_their_table(some_url: str, tmp_path: Path) -> None:
    records = export_lines(some_url, tmp_path)
    validator = jsonschema.Draft202012Validator(json.loads(record_schema()))
    for record in records:
        validator.validate(record)
        if record["record_type"] == "row":
            schema = tables_of(records)[str(record["table"])]["row_schema"]
            jsonschema.Draft202012Validator(schema).validate(record["values"])  # type: ignore[arg-type]


def test_an_export_that_fails_leaves_the_existing_file(
    some_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "x.jsonl"
    export_found(make_url(some_url), target, format=ExportFormat.JSONL)
    before = target.read_bytes()
    monkeypatch.setattr("elspeth.core.landscape.exporting.found.lines.MAX_LINE", 10)
    with pytest.raises(LandscapeError, match=r"database : expected a record of less than 10 bytes, got \d+"):
        export_found(make_url(some_url), target, format=ExportFormat.JSONL)
    assert target.read_bytes() == before


@pytest.mark.postgres
@pytest.mark.parametrize(
    "name", sorted({name for name in EPOCHS if (name, "postgresql") not in IMPOSSIBLE})[:: 1 if THOROUGH else 3]
)
def test_our_own_databases_are_exported_from_postgresql(
    name: str, old_database_of: OldDatabaseMaker, tmp_path: Path
) -> None:
    database = old_database_of(name, "postgresql")
    records = export_lines(database.url, tmp_path)
    expected = {table: len(rows) for table, rows in record_rows_of(database).items()}
    counts = Counter(str(each["table"]) for each in records if each["record_type"] == "row")
    assert {table: counts[table] for table in expected} == expected
    assert verify_lines(tmp_path / "found.jsonl").verdict is Verdict.UNSIGNED


@pytest.mark.parametrize("name", KEPT)
def test_our_own_databases_are_exported_whatever_their_epoch(name: str, tmp_path: Path) -> None:
    check_export_of_file(LEGACY / f"{name}.db", tmp_path)


def test_databases_of_the_predecessor_are_exported(predecessor_files: Path, tmp_path: Path) -> None:
    files = sorted(path for path in predecessor_files.rglob("*") if path.is_file() and is_database(path))
    assert files
    for number, path in enumerate(files[:: 1 if THOROUGH else 10]):
        check_export_of_file(path, tmp_path / str(number))


def is_database(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(6) == b"SQLite"


def check_export_of_file(source: Path, directory: Path) -> None:
    """Check that an export has every row, and changes nothing."""
    directory.mkdir(exist_ok=True)
    path = directory / "copy.db"
    path.write_bytes(source.read_bytes())
    (directory / "out").mkdir()
    with untouched(path):
        summary = export_found(make_url(f"sqlite:///{path}"), directory / "out" / "bag", format=ExportFormat.BAG)
    assert verify_bag(directory / "out" / "bag").verdict is Verdict.UNSIGNED
    with closing(sqlite3.connect(path)) as lite:
        names = [
            name
            for (name,) in lite.execute("SELECT name FROM pragma_table_list WHERE type = 'table' AND schema = 'main'")
        ]
        rows = sum(lite.execute(f"SELECT count(*) FROM {quoted(name)}").fetchone()[0] for name in names)  # noqa: S608
    assert (summary.tables, summary.rows) == (len(names), rows)


@pytest.mark.parametrize("form", [ExportFormat.JSONL, ExportFormat.JSON, ExportFormat.CSV, ExportFormat.PARQUET])
def test_every_row_of_a_large_table_is_exported_and_counted(tmp_path: Path, form: ExportFormat) -> None:
    with closing(sqlite3.connect(tmp_path / "x.db")) as lite:
        lite.execute("CREATE TABLE t (i)")
        lite.executemany("INSERT INTO t VALUES (?)", [(number,) for number in range(2500, 0, -1)])
        lite.commit()
    counts: list[int] = []
    url = make_url(f"sqlite:///{tmp_path / 'x.db'}")
    summary = export_found(url, tmp_path / "found", format=form, progress=counts.append)
    assert (summary.name, summary.tables, summary.rows, summary.records) == ("x.db", 2, 2501, 2504)
    assert counts == [1000, 2000, 2504]
    lines = find_found_lines(tmp_path / "found")
    assert lines is not None
    rows = [record for record in (json.loads(line) for _, line in lines) if record.get("table") == "t"][1:]
    assert [(row["number"], row["values"]["i"]) for row in rows] == [(i, 2501 - i) for i in range(1, 2501)]


def test_rows_are_in_the_order_of_all_columns_of_the_key(database_url: str, tmp_path: Path) -> None:
    with create_engine(database_url, poolclass=NullPool).begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t (c INT, a VARCHAR(9), b INT, PRIMARY KEY (b, a, c))")
        connection.exec_driver_sql(
            "INSERT INTO t VALUES (2, 'x', 1), (1, 'y', 1), (1, 'x', 2), (1, 'x', 1), (3, 'X', 1)"
        )
    connection.engine.dispose()
    records = export_lines(database_url, tmp_path)
    rows = [(each["b"], each["a"], each["c"]) for each in values_of(records, "t")]
    assert rows == [(1, "X", 3), (1, "x", 1), (1, "x", 2), (1, "y", 1), (2, "x", 1)]
    assert tables_of(records)["t"]["key"] == ["b", "a", "c"]


@pytest.mark.parametrize(
    "form", [form for form in ExportFormat if form not in {ExportFormat.NT, ExportFormat.OPENLINEAGE}]
)
def test_a_database_is_never_replaced_by_its_own_export(tmp_path: Path, form: ExportFormat) -> None:
    path = tmp_path / "x.db"
    with closing(sqlite3.connect(path)) as lite:
        lite.execute("CREATE TABLE t (i)")
    before = path.read_bytes()
    with pytest.raises(OutputRefusedError) as refused:
        export_found(make_url(f"sqlite:///{path}"), path, format=form, force=True)
    assert (
        str(refused.value) == f"{path}: is the database that is exported, which no output may touch: name another path"
    )
    assert path.read_bytes() == before


@pytest.mark.parametrize("form", [ExportFormat.JSON, ExportFormat.JSONL])
def test_a_compressed_export_has_the_same_content(some_url: str, tmp_path: Path, form: ExportFormat) -> None:
    for name, compression in (("plain", None), ("packed", Compression.GZIP)):
        export_found(make_url(some_url), tmp_path / name, format=form, compression=compression)
    packed = gzip.decompress((tmp_path / "packed").read_bytes())
    assert without_time(packed) == without_time((tmp_path / "plain").read_bytes())
    assert packed.startswith(b"[\n{" if form is ExportFormat.JSON else b"{")

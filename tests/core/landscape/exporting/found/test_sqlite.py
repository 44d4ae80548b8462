"""SQLite databases as found."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import make_url

from elspeth.core.landscape.database import LandscapeError
from elspeth.core.landscape.exporting.format import ExportFormat
from elspeth.core.landscape.exporting.found._sqlite import SqliteDatabase
from elspeth.core.landscape.exporting.found.export import export_found
from elspeth.core.landscape.exporting.found.source import FoundTable, Row
from elspeth.evidence.format.found import UndecodableText, Value
from elspeth.evidence.verifier.procedure import Verdict
from tests.fixtures.effort import law
from tests.fixtures.found_exports import (
    HOSTILE,
    check_directories,
    export_lines,
    quoted,
    tables_of,
    values_of,
    verify_lines,
    written_values,
)
from tests.fixtures.untouched import untouched


@pytest.fixture
def lite(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Return a connection to a new SQLite file, `x.db`."""
    with closing(sqlite3.connect(tmp_path / "x.db")) as connection:
        yield connection


@pytest.fixture
def lite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'x.db'}"


def same(left: Value, right: Value) -> bool:
    if isinstance(left, float) and isinstance(right, float):
        return left == right and math.copysign(1, left) == math.copysign(1, right)
    return type(left) is type(right) and left == right


CELL = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.binary(),
)


DECLARED = st.sampled_from(
    ["", "INTEGER", "REAL", "TEXT", "BLOB", "NUMERIC", "VARCHAR(3)", "DOUBLE", "DATETIME", "odd"]
)


NAME = st.sampled_from(HOSTILE)


@st.composite
def lite_tables(draw: st.DrawFn) -> tuple[str, list[tuple[str, str]], list[list[object]], int]:
    """Draw name, columns, rows, and size of the key."""
    names = draw(st.lists(NAME, min_size=1, max_size=4, unique_by=str.lower))
    columns = [(name, draw(DECLARED)) for name in names]
    rows = draw(st.lists(st.tuples(*(CELL for _ in names)).map(list), max_size=5))
    return draw(NAME), columns, rows, draw(st.integers(0, len(names)))


@law(100)
@given(lite_tables())
def test_sqlite_values_are_exported_as_stored(
    tmp_path_factory: pytest.TempPathFactory, table: tuple[str, list[tuple[str, str]], list[list[object]], int]
) -> None:
    name, columns, rows, key_size = table
    path = tmp_path_factory.mktemp("found") / "x.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as lite:
        key = [quoted(column) for column, _ in columns[:key_size]]
        primary = f", PRIMARY KEY ({', '.join(key)})" if key else ""
        declared = ", ".join(f"{quoted(column)} {kind}" for column, kind in columns)
        lite.execute(f"CREATE TABLE {quoted(name)} ({declared}{primary})")
        marks = ", ".join("?" for _ in columns)
        for row in rows:
            with suppress(sqlite3.IntegrityError):  # an INTEGER PRIMARY KEY takes nothing else
                lite.execute(f"INSERT OR IGNORE INTO {quoted(name)} VALUES ({marks})", row)  # noqa: S608
        order = ", ".join([*(f"{each} COLLATE BINARY" for each in key), "rowid"])
        stored = lite.execute(f"SELECT * FROM {quoted(name)} ORDER BY {order}").fetchall()  # noqa: S608
    records = export_lines(f"sqlite:///{path}", path.parent)
    found = values_of(records, name)
    assert len(found) == len(stored)
    for got, expected in zip(found, stored, strict=True):
        assert all(same(got[column], value) for (column, _), value in zip(columns, expected, strict=True))
    assert verify_lines(path.parent / "found.jsonl").verdict is Verdict.UNSIGNED
    check_directories(f"sqlite:///{path}", path.parent)


def test_every_kind_of_table_is_listed_and_those_that_store_rows_are_read(
    lite: sqlite3.Connection, lite_url: str, tmp_path: Path
) -> None:
    lite.executescript(
        """
        CREATE TABLE plain (a, b INTEGER GENERATED ALWAYS AS (a + 1) VIRTUAL, c GENERATED ALWAYS AS (a * 2) STORED);
        INSERT INTO plain (a) VALUES (20), (10);
        CREATE TABLE keyed (k TEXT PRIMARY KEY COLLATE NOCASE) WITHOUT ROWID;
        INSERT INTO keyed VALUES ('b'), ('A'), ('C');
        CREATE TABLE empty (a);
        CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT);
        INSERT INTO counted DEFAULT VALUES;
        CREATE VIEW broken AS SELECT * FROM missing;
        CREATE VIRTUAL TABLE words USING fts5(word);
        INSERT INTO words VALUES ('one');
        CREATE TABLE nothing_else (RowID, _rowid_, oid);
        CREATE TABLE Zoo (b, a);
        INSERT INTO nothing_else VALUES (2, 1, 1), (1, 1.0, 1), (1, 1, 1), (1, 1, 1);
        """
    )
    records = export_lines(lite_url, tmp_path)
    tables = tables_of(records)
    assert {name: (each["kind"], each["order"]) for name, each in tables.items() if not name.startswith("words_")} == {
        "plain": ("table", "rowid"),
        "keyed": ("table", "primary key"),
        "empty": ("table", "rowid"),
        "Zoo": ("table", "rowid"),
        "counted": ("table", "primary key"),
        "broken": ("view", None),
        "words": ("virtual table", None),
        "nothing_else": ("table", "all columns"),
        "sqlite_schema": ("table", "rowid"),
        "sqlite_sequence": ("table", "rowid"),
    }
    assert list(tables) == sorted(tables)
    assert written_values(records, "plain") == [{"a": 20, "b": 21, "c": 40}, {"a": 10, "b": 11, "c": 20}]
    assert written_values(records, "keyed") == [{"k": "A"}, {"k": "C"}, {"k": "b"}]
    assert written_values(records, "sqlite_sequence") == [{"name": "counted", "seq": 1}]
    assert [each["_rowid_"] for each in values_of(records, "nothing_else")] == [1, 1, 1.0, 1]
    assert [type(each["_rowid_"]) for each in values_of(records, "nothing_else")] == [int, int, float, int]
    check_directories(lite_url, tmp_path)
    assert tables["words_content"]["kind"] == "table"
    assert written_values(records, "words_content") == [{"id": 1, "c0": "one"}]
    assert verify_lines(tmp_path / "found.jsonl").verdict is Verdict.UNSIGNED


def test_text_that_is_not_utf8_keeps_its_bytes(lite: sqlite3.Connection, lite_url: str, tmp_path: Path) -> None:
    lite.executescript("CREATE TABLE t (a TEXT); INSERT INTO t VALUES (CAST(x'ff00' AS TEXT)), ('\u20ac')")
    (row, text) = values_of(export_lines(lite_url, tmp_path), "t")
    assert isinstance(row["a"], UndecodableText)
    assert (row["a"], text["a"]) == (b"\xff\x00", "\u20ac")


@pytest.mark.parametrize("mode", ["delete", "wal", "persist", "truncate"])
@pytest.mark.parametrize("form", [ExportFormat.JSONL, ExportFormat.BAG])
def test_nothing_is_written_to_a_sqlite_file(
    lite: sqlite3.Connection, lite_url: str, tmp_path: Path, mode: str, form: ExportFormat
) -> None:
    lite.executescript(f"PRAGMA journal_mode = {mode}; CREATE TABLE t (a); INSERT INTO t VALUES (1)")  # noqa: S608
    lite.close()
    (tmp_path / "out").mkdir()
    with untouched(tmp_path / "x.db"):
        export_found(make_url(lite_url), tmp_path / "out" / "found", format=form)


def test_rows_in_a_log_are_exported_and_the_log_stays(lite_url: str, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "x.db")) as lite:
        lite.executescript("PRAGMA journal_mode = wal; CREATE TABLE t (a); INSERT INTO t VALUES (1)")
        (tmp_path / "out").mkdir()
        with untouched(tmp_path / "x.db", tmp_path / "x.db-wal"):
            assert written_values(export_lines(lite_url, tmp_path / "out"), "t") == [{"a": 1}]


def test_a_log_that_a_crash_left_is_exported_and_stays(lite_url: str, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "new.db")) as lite:
        lite.executescript("PRAGMA journal_mode = wal; CREATE TABLE t (a); INSERT INTO t VALUES (1)")
        for end in ("", "-wal"):
            (tmp_path / f"x.db{end}").write_bytes((tmp_path / f"new.db{end}").read_bytes())
    before = {path.name: path.read_bytes() for path in tmp_path.glob("x.db*")}
    (tmp_path / "out").mkdir()
    assert written_values(export_lines(lite_url, tmp_path / "out"), "t") == [{"a": 1}]
    assert {path.name: path.read_bytes() for path in tmp_path.glob("x.db*") if path.name != "x.db-shm"} == before


@pytest.mark.parametrize("form", [ExportFormat.JSONL, ExportFormat.CSV, ExportFormat.BAG])
def test_a_file_that_changes_while_read_as_immutable_is_refused(
    lite: sqlite3.Connection, lite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: ExportFormat
) -> None:
    lite.executescript("CREATE TABLE t (a); INSERT INTO t VALUES (1)")
    monkeypatch.setattr("elspeth.core.landscape.database.connections._is_immutable", lambda _: True)
    read = SqliteDatabase.rows

    def watched(database: SqliteDatabase, table: FoundTable) -> Iterator[Row]:
        lite.execute("INSERT INTO t VALUES (2)")
        lite.commit()
        return read(database, table)

    monkeypatch.setattr(SqliteDatabase, "rows", watched)
    with pytest.raises(LandscapeError, match="was changed while it was read"):
        export_found(make_url(lite_url), tmp_path / "found", format=form)
    assert not (tmp_path / "found").exists()


def test_a_sqlite_file_is_read_in_one_transaction(
    lite: sqlite3.Connection, lite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lite.executescript("PRAGMA journal_mode = wal; CREATE TABLE a (n); CREATE TABLE b (n); INSERT INTO b VALUES (1)")
    read = SqliteDatabase.rows

    def watched(database: SqliteDatabase, table: FoundTable) -> Iterator[Row]:
        if table.name == "a":
            lite.execute("INSERT INTO b VALUES (2)")
            lite.commit()
        return read(database, table)

    monkeypatch.setattr(SqliteDatabase, "rows", watched)
    assert written_values(export_lines(lite_url, tmp_path), "b") == [{"n": 1}]
    assert lite.execute("SELECT count(*) FROM b").fetchone() == (2,)


def test_text_in_utf_16_is_read(lite: sqlite3.Connection, lite_url: str, tmp_path: Path) -> None:
    lite.executescript("PRAGMA encoding = 'UTF-16le'; CREATE TABLE t (a); INSERT INTO t VALUES ('\u2603\U0001f600')")
    records = export_lines(lite_url, tmp_path)
    assert records[0]["encoding"] == "UTF-16le"
    assert written_values(records, "t") == [{"a": "\u2603\U0001f600"}]


def test_a_name_that_is_not_utf8_is_refused(lite: sqlite3.Connection, lite_url: str, tmp_path: Path) -> None:
    lite.executescript("CREATE TABLE t (abc); PRAGMA writable_schema = ON")
    lite.execute("UPDATE sqlite_schema SET sql = CAST(x'435245415445205441424c4520742028ff29' AS TEXT)")
    lite.commit()
    with pytest.raises(LandscapeError, match=r"expected names in UTF-8, got b'\\xff': rename it"):
        export_lines(lite_url, tmp_path)


def test_a_transaction_that_a_crash_cut_short_is_left_alone(lite_url: str, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "new.db", isolation_level=None)) as lite:
        lite.executescript("CREATE TABLE t (a); INSERT INTO t VALUES (1); PRAGMA cache_size = 1")
        lite.execute("BEGIN")
        for _ in range(6):
            lite.execute("INSERT INTO t SELECT randomblob(9000) FROM t")
        for end in ("", "-journal"):
            (tmp_path / f"x.db{end}").write_bytes((tmp_path / f"new.db{end}").read_bytes())
    (tmp_path / "out").mkdir()
    with (
        untouched(tmp_path / "x.db", tmp_path / "x.db-journal"),
        pytest.raises(LandscapeError, match="a crash cut short a transaction"),
    ):
        export_lines(lite_url, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_damaged_file_is_refused_with_its_name(lite: sqlite3.Connection, lite_url: str, tmp_path: Path) -> None:
    lite.executescript("CREATE TABLE t (a); INSERT INTO t SELECT randomblob(9000) FROM pragma_function_list LIMIT 20")
    lite.close()
    content = bytearray((tmp_path / "x.db").read_bytes())
    content[8192:] = b"\xff" * len(content[8192:])
    (tmp_path / "x.db").write_bytes(content)
    with pytest.raises(LandscapeError, match=r"x\.db cannot be read \(table 't' of schema 'main'\): .*malformed"):
        export_lines(lite_url, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".found.jsonl.lock", "x.db"][1:]


def test_declared_types_are_read_in_any_case(lite: sqlite3.Connection, lite_url: str, tmp_path: Path) -> None:
    lite.executescript(
        "CREATE TABLE t (a real, b Double precision, c fLOAT, d float_int, e text);INSERT INTO t VALUES (1, 2, 3, 4, 5)"
    )
    records = export_lines(lite_url, tmp_path)
    forms = {each["name"]: each["form"] for each in tables_of(records)["t"]["columns"]}  # type: ignore[attr-defined]
    assert forms == {"a": "any_real", "b": "any_real", "c": "any_real", "d": "any", "e": "any"}
    assert values_of(records, "t") == [{"a": 1.0, "b": 2.0, "c": 3.0, "d": 4, "e": "5"}]

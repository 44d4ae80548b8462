"""Databases of a predecessor become a chain of differences."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from codegen.predecessor import main, shapes_of
from elspeth.schema.predecessor import parse_shapes, shapes_to_text
from elspeth.schema.snapshots import (
    CheckSnapshot,
    ColumnSnapshot,
    IndexSnapshot,
    KeySnapshot,
    Kind,
    ReferenceSnapshot,
)

RUNS = "CREATE TABLE runs (run_id VARCHAR(64) NOT NULL, PRIMARY KEY (run_id));"
ROWS = """
CREATE TABLE rows (
  row_id VARCHAR(64) NOT NULL, run_id VARCHAR(64), note TEXT, size INTEGER, share FLOAT, ready BOOLEAN, at DATETIME,
  CONSTRAINT pk_rows PRIMARY KEY (row_id),
  CONSTRAINT fk_run FOREIGN KEY (run_id) REFERENCES runs (run_id) ON DELETE CASCADE,
  CONSTRAINT uq_note UNIQUE (run_id, note),
  CONSTRAINT ck_size CHECK (size > 0)
);
CREATE UNIQUE INDEX ix_size ON rows (size) WHERE size IS NOT NULL;
CREATE INDEX ix_at ON rows (at, run_id);
"""
LATER = "CREATE TABLE runs (run_id VARCHAR(64) NOT NULL, status TEXT, PRIMARY KEY (run_id, status));"
MOVED = "CREATE TABLE runs (status TEXT, run_id VARCHAR(64) NOT NULL, PRIMARY KEY (run_id, status));"
OTHER = "CREATE TABLE runs (run_id VARCHAR(64) NOT NULL, status TEXT, PRIMARY KEY (run_id)); PRAGMA user_version = 3;"

DATABASES = {
    "2026-01-12-2t-8c-aaaa.db": RUNS + ROWS,
    "2026-01-20-1t-2c-bbbb.db": LATER,
    "rc1-0121__run.db": LATER,
    "rc2-0122__run.db": MOVED,
    "0123__run.db": LATER,
    "rc3-0304__run.db": OTHER,
    "rc4-0305__run.db": OTHER,
}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name, script in DATABASES.items():
        with closing(sqlite3.connect(tmp_path / name)) as connection:
            connection.executescript(script)
    return tmp_path


def test_shapes_are_in_the_order_of_their_days_with_the_releases_that_have_them(directory: Path) -> None:
    assert [(shape.name, shape.user_version) for shape in shapes_of(directory)] == [
        ("2026-01-12 (2 tables, 8 columns)", 0),
        ("2026-01-20 (1 tables, 2 columns, in rc1, rc2)", 0),
        ("2026-03-04 (1 tables, 2 columns, in rc3, rc4)", 3),
    ]


def test_a_table_is_described_with_all_its_constraints(directory: Path) -> None:
    rows, runs = shapes_of(directory)[0].tables
    assert (rows.name, runs.name) == ("rows", "runs")
    assert rows.columns == tuple(
        ColumnSnapshot(name=name, type=word, nullable=name != "row_id", kind=kind)
        for name, word, kind in (
            ("row_id", "varchar(64)", Kind.TEXT),
            ("run_id", "varchar(64)", Kind.TEXT),
            ("note", "text", Kind.TEXT),
            ("size", "integer", Kind.INTEGER),
            ("share", "float", Kind.REAL),
            ("ready", "boolean", Kind.BOOLEAN),
            ("at", "timestamp", Kind.TIMESTAMP),
        )
    )
    assert (rows.primary_key, runs.primary_key) == (
        KeySnapshot(name="pk_rows", columns=("row_id",)),
        KeySnapshot(name=None, columns=("run_id",)),
    )
    (reference,) = rows.foreign_keys
    assert reference == ReferenceSnapshot(
        name="fk_run", columns=("run_id",), table="runs", target_columns=("run_id",), on_delete="CASCADE"
    )
    assert rows.uniques == (KeySnapshot(name="uq_note", columns=("run_id", "note")),)
    assert rows.checks == (CheckSnapshot(name="ck_size", condition="size > 0"),)
    assert rows.indexes == (
        IndexSnapshot(name="ix_at", columns=("at", "run_id")),
        IndexSnapshot(name="ix_size", columns=("size",), unique=True, where="size IS NOT NULL"),
    )


def test_the_chain_holds_what_changed_and_leads_back_to_the_shapes(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shapes = shapes_of(directory)
    assert main([str(directory)]) == 0
    chain = capsys.readouterr().out
    assert chain == shapes_to_text(shapes)
    assert parse_shapes(chain) == tuple(shapes)
    first, second, third = json.loads(chain)["shapes"]
    assert {change["table"] for change in first["changes"]} == {"rows", "runs"}
    assert second == {
        "date": "2026-01-20",
        "releases": ["rc1", "rc2"],
        "changes": [
            {"table": "rows", "remove": "table"},
            {"table": "runs", "add": "columns", "item": {"name": "status", "type": "text", "nullable": True}},
            {"table": "runs", "primary_key": {"name": None, "columns": ["run_id", "status"]}},
        ],
    }
    assert third == {
        "date": "2026-03-04",
        "releases": ["rc3", "rc4"],
        "user_version": 3,
        "changes": [{"table": "runs", "primary_key": {"name": None, "columns": ["run_id"]}}],
    }


def test_a_database_of_another_name_is_refused(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "audit.db").close()
    with pytest.raises(ValueError, match=r"^audit\.db: not named by date or release$"):
        shapes_of(tmp_path)

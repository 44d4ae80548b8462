"""The queries of the page give the same answers everywhere."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

import elspeth
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.exporting.files import ExportFormat, write_export
from tests.fixtures.example_runs import ExampleRun
from tests.fixtures.rich_run import recorded, rich_run

PAGE = (Path(__file__).parent.parent / "docs" / "questions.md").read_text(encoding="utf-8")
[VIEWS, *_] = re.findall(r"^```sql\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
QUESTIONS = re.findall(r"^## ([^\n]+\?)\n.*?^```sql\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
Rows = list[tuple[object, ...]]


def plain(rows: Rows) -> Rows:
    """Return rows with numbers of one type, as drivers differ."""
    return [tuple(float(value) if isinstance(value, Decimal) else value for value in row) for row in rows]


def answered(db: LandscapeDB, run_id: str) -> set[str]:
    """Return the questions that a run answers, with rows.

    Both answers must be the same.
    """
    write_export(db, run_id, Path("trail"), format=ExportFormat.PARQUET)
    found = set()
    with duckdb.connect() as files, db.snapshot() as connection:
        there = [line for line in VIEWS.splitlines() if Path(line.split("'")[1]).exists()]
        files.execute("\n".join(there))
        for question, statement in QUESTIONS:
            asked = statement.replace("'RUN'", f"'{run_id}'")
            rows = plain([tuple(row) for row in connection.exec_driver_sql(asked)])
            if rows:
                found.add(question)
                assert plain(files.execute(asked).fetchall()) == rows, question
    return found


OF_SINKS = {"Which rows are in an output?"}
"""The run with every type of record has no visits to its sink."""


def test_the_page_has_all_questions() -> None:
    assert len(QUESTIONS) >= 10


def test_duckdb_gives_the_answers_of_the_database(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with LandscapeDB.from_url(database_url) as db:
        assert answered(db, recorded(db, rich_run())) == {question for question, _ in QUESTIONS} - OF_SINKS


def test_a_run_of_an_example_answers_the_other_questions(
    example_run: ExampleRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = example_run("boolean_routing").database
    with elspeth.open(database) as trail:
        run_id = trail.run().run_id
    monkeypatch.chdir(tmp_path)
    with LandscapeDB.from_url(f"sqlite:///{database}") as db:
        assert answered(db, run_id) >= OF_SINKS

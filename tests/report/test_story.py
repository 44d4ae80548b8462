"""The page tells what `elspeth explain --json` tells."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from elspeth.cli import main
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.migration.private_copy import open_for_reading
from elspeth.core.landscape.queries.story.model import story_json
from elspeth.core.landscape.queries.story.reader import row_story, token_story
from elspeth.core.landscape.queries.story.trail import DatabaseTrail
from elspeth.report.embed import Embed
from elspeth_schema.tables import rows_table, tokens_table
from tests.examples.running import names
from tests.fixtures.browser import Tab
from tests.fixtures.effort import some_of
from tests.fixtures.example_runs import ExampleRun
from tests.fixtures.landscapes import in_memory
from tests.fixtures.legacy import LEGACY
from tests.fixtures.rich_run import recorded, rich_run
from tests.fixtures.told_run import RUN_ID, record_told_run
from tests.report.pages import ask_all, hostile, open_page, report_on


@pytest.fixture
def told() -> Iterator[LandscapeDB]:
    with in_memory() as db:
        record_told_run(db)
        yield db


def assert_same_stories(tab: Tab, db: LandscapeDB, run_id: str) -> int:
    """Compare the stories of all rows; return their number."""
    with db.snapshot() as connection:
        found = connection.scalars(select(rows_table.c.row_index).where(rows_table.c.run_id == run_id)).all()
        trail = DatabaseTrail(connection, run_id)
        expected = [json.loads(story_json(row_story(trail, index))) for index in found]
    assert ask_all(tab, "story", [{"row": index} for index in found]) == expected
    return len(found)


@pytest.mark.parametrize("name", some_of(names(), 2))
def test_the_page_tells_every_row_of_an_example_like_explain(
    name: str, example_run: ExampleRun, tab: Tab, tmp_path: Path
) -> None:
    url = f"sqlite:///{example_run(name).database}"
    page = tmp_path / "report.html"
    assert main(["report", "latest", "-d", url, "-o", str(page)]) == 0
    open_page(tab, page)
    with LandscapeDB.from_url(url) as db, db.connection() as connection:
        (run_id,) = connection.scalars(select(rows_table.c.run_id).distinct())
        assert assert_same_stories(tab, db, run_id) > 0


def test_the_page_tells_chosen_rows_like_explain(example_run: ExampleRun, tab: Tab, tmp_path: Path) -> None:
    with LandscapeDB.from_url(f"sqlite:///{example_run('batch_aggregation').database}") as db:
        written = report_on(db, tmp_path / "report.html", embed=Embed.FAILURES)
        open_page(tab, tmp_path / "report.html")
        assert assert_same_stories(tab, db, written.run_id) > 0


def test_the_page_tells_every_kind_of_story_like_explain(told: LandscapeDB, tab: Tab, tmp_path: Path) -> None:
    report_on(told, tmp_path / "report.html")
    open_page(tab, tmp_path / "report.html")
    assert_same_stories(tab, told, RUN_ID)
    with told.snapshot() as connection:
        trail = DatabaseTrail(connection, RUN_ID)
        tokens = connection.scalars(select(tokens_table.c.token_id)).all()
        expected = [json.loads(story_json(token_story(trail, token_id))) for token_id in tokens]
    assert ask_all(tab, "story", [{"token": token_id} for token_id in tokens]) == expected


def test_the_page_tells_rows_of_older_epochs_like_explain(tab: Tab, tmp_path: Path) -> None:
    with open_for_reading(f"sqlite:///{LEGACY / 'epoch5-rich.db'}") as db:
        written = report_on(db, tmp_path / "report.html")
        open_page(tab, tmp_path / "report.html")
        assert assert_same_stories(tab, db, written.run_id) > 0


def test_the_page_tells_a_run_with_hostile_texts_like_explain(tab: Tab, tmp_path: Path) -> None:
    with in_memory() as db:
        run_id = recorded(db, hostile(rich_run()))
        report_on(db, tmp_path / "report.html")
        open_page(tab, tmp_path / "report.html")
        assert assert_same_stories(tab, db, run_id) > 0


def test_missing_records_are_reported(told: LandscapeDB, tab: Tab, tmp_path: Path) -> None:
    report_on(told, tmp_path / "report.html")
    open_page(tab, tmp_path / "report.html")
    tab.evaluate("location.hash = 'row=99'")
    tab.wait_for("told.querySelector('.problem')?.textContent === 'row 99 is not among these records'")
    tab.evaluate("location.hash = 'token=nobody'")
    tab.wait_for("told.querySelector('.problem')?.textContent === 'token nobody is not among these records'")

"""Which records a page holds, on both databases."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.exporting.exporter import LandscapeExporter
from elspeth.core.landscape.queries.story.model import exported_record, records_in
from elspeth.core.landscape.queries.story.reader import row_story
from elspeth.core.landscape.queries.story.trail import DatabaseTrail
from elspeth.report import embedding, writing
from elspeth.report.embed import Embed
from elspeth.report.embedding import chosen_lines
from elspeth.report.records import open_database_records
from tests.fixtures.landscapes import NewLandscape, in_memory
from tests.fixtures.other_runs import record_other_run
from tests.fixtures.told_run import (
    BATCHED,
    DISCARDED,
    EXPANDED,
    MERGED,
    QUARANTINED,
    RETRIED,
    ROWS,
    RUN_ID,
    record_told_run,
)
from tests.report.pages import report_on

WITH_FAILURES = {EXPANDED, QUARANTINED, DISCARDED, RETRIED}
WITH_CALLS = {MERGED}


@pytest.fixture(scope="module")
def told(new_landscape: NewLandscape) -> Iterator[LandscapeDB]:
    with new_landscape() as db:
        record_told_run(db)
        yield db


def chosen(db: LandscapeDB, most: int = embedding.MOST_RECORDS) -> list[dict[str, Any]]:
    with db.snapshot() as connection:
        return [json.loads(line) for batch in chosen_lines(connection, RUN_ID, most) for line in batch]


def exported(db: LandscapeDB) -> list[dict[str, Any]]:
    *lines, _ = LandscapeExporter(db).export_lines(RUN_ID)
    return [json.loads(line) for line in lines]


def test_the_stories_of_failures_calls_and_first_rows_are_chosen_once(
    told: LandscapeDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "_FIRST_ROWS", 1)
    found = chosen(told)
    with told.snapshot() as connection:
        trail = DatabaseTrail(connection, RUN_ID)
        for index in {0} | WITH_FAILURES | WITH_CALLS:
            for record in records_in(row_story(trail, index)):
                assert exported_record(record) in found
    every = exported(told)
    assert all(record in every for record in found)
    assert len({json.dumps(record) for record in found}) == len(found) < len(every)
    told_rows = {record["row_index"] for record in found if record["record_type"] == "row"}
    assert {0} | WITH_FAILURES | WITH_CALLS <= told_rows
    assert BATCHED not in told_rows


def test_rows_with_failures_are_chosen_before_the_others(told: LandscapeDB, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "_ROWS_AT_ONCE", 1)
    rows = [record["row_index"] for record in chosen(told) if record["record_type"] == "row"]
    assert set(rows[: len(WITH_FAILURES)]) == WITH_FAILURES
    few = [record["row_index"] for record in chosen(told, most=5) if record["record_type"] == "row"]
    assert few == rows[:1]


@pytest.mark.parametrize("most", [9, 15, 21])
def test_no_further_row_is_chosen_when_there_are_enough_records(
    told: LandscapeDB, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(embedding, "_ROWS_AT_ONCE", 1)
    with told.snapshot() as connection:
        batches = [list(map(json.loads, batch)) for batch in chosen_lines(connection, RUN_ID, most)]
    stories = [len(batch) for batch in batches if any(record["record_type"] == "row" for record in batch)]
    assert sum(stories[:-1]) < most <= sum(stories)


def test_another_run_with_the_same_ids_changes_nothing(
    new_landscape: NewLandscape, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "_FIRST_ROWS", 1)
    monkeypatch.setattr(embedding, "_ROWS_AT_ONCE", 1)
    with new_landscape() as db:
        record_told_run(db)
        alone = chosen(db)
        record_other_run(db, RUN_ID)
        assert chosen(db) == alone


def test_every_row_of_a_small_run_is_among_the_chosen(told: LandscapeDB) -> None:
    assert {record["row_index"] for record in chosen(told) if record["record_type"] == "row"} == set(range(ROWS))


@pytest.fixture(scope="module")
def in_sqlite() -> Iterator[LandscapeDB]:
    with in_memory() as db:
        record_told_run(db)
        yield db


@pytest.mark.parametrize("embed", Embed)
def test_the_page_says_which_records_it_holds(in_sqlite: LandscapeDB, embed: Embed, tmp_path: Path) -> None:
    told = in_sqlite
    written = report_on(told, tmp_path / "report.html", embed=embed)
    total = len(exported(told))
    held = {Embed.ALL: total, Embed.FAILURES: len(chosen(told)), Embed.NONE: 0}[embed]
    assert (written.embed, written.records, written.embedded) == (embed, total, held)
    said = {
        Embed.ALL: f"This page holds all {total} records of the run.",
        Embed.FAILURES: f"This page holds {held} of the {total} records of the run: the stories of rows that failed",
        Embed.NONE: f"This page holds none of the {total} records of the run.",
    }[embed]
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert said in page
    assert ('class="block"' in page) is bool(held)


def test_a_larger_run_is_embedded_in_part_unless_all_is_requested(
    in_sqlite: LandscapeDB, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = in_sqlite
    total = len(exported(told))
    monkeypatch.setattr(writing, "MOST_RECORDS", total)
    written = report_on(told, tmp_path / "report.html")
    assert (written.embed, written.embedded) == (Embed.ALL, total)
    monkeypatch.setattr(writing, "MOST_RECORDS", total - 1)
    seen: list[int] = []
    with open_database_records(told, "latest") as records:
        path = tmp_path / "report.html"
        written = writing.write_report(records, path, writing.check_target(path), progress=seen.append)
    assert (written.embed, written.records, written.embedded) == (Embed.FAILURES, total, len(chosen(told)))
    assert (seen, seen[-1]) == (sorted(seen), total)
    assert report_on(told, tmp_path / "report.html", embed=Embed.ALL).embedded == total

"""`explain` tells everything that the predecessor recorded about a row."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from elspeth.cli.story_text import story_text
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.exporting.files import write_export
from elspeth.core.landscape.exporting.format import ExportFormat
from elspeth.core.landscape.migration._old_rows import plain
from elspeth.core.landscape.migration.adoption import adopt
from elspeth.core.landscape.migration.migrate import migrate
from elspeth.core.landscape.migration.private_copy import open_for_reading
from elspeth.core.landscape.queries.story.model import RowStory, story_json
from elspeth.core.landscape.queries.story.reader import row_story, token_story
from elspeth.core.landscape.queries.story.trail import DatabaseTrail, open_export
from elspeth.schema.predecessor import Shape
from elspeth_schema.records import RECORD_TYPES
from tests.fixtures.legacy import OldDatabaseMaker, rows_of
from tests.fixtures.predecessor import SHAPES, create_filled, releases

NEWEST = list(SHAPES.values())[-1]

THOROUGH_ON_POSTGRESQL = [pytest.mark.thorough, pytest.mark.postgres]


def create_newest(path: Path) -> None:
    """Create a filled database of the newest shape.

    Its tokens have no parents: those that `create_filled` makes are their own.
    """
    create_filled(f"sqlite:///{path}", NEWEST)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM token_parents")
        connection.commit()


TABLES = {record_type.name: record_type.table.name for record_type in RECORD_TYPES.values()}

Story = Mapping[str, object]


def story_of(db: LandscapeDB, run_id: str, token_id: str) -> RowStory:
    with db.snapshot() as connection:
        return token_story(DatabaseTrail(connection, run_id), token_id)


def told(story: RowStory) -> dict[str, list[Mapping[str, object]]]:
    """Return the contents of a story by the predecessor's tables."""
    found: dict[str, list[Mapping[str, object]]] = {}
    for record in _records(json.loads(story_json(story))):
        if record["record_type"] == "adopted_value":
            found.setdefault(str(record["source_table"]), []).append(json.loads(str(record["values_json"])))
        else:
            found.setdefault(TABLES[str(record["record_type"])], []).append(record)
    return found


def _records(value: object) -> Iterator[Mapping[str, object]]:
    if isinstance(value, list):
        for item in value:
            yield from _records(item)
    elif isinstance(value, dict):
        if "record_type" in value:
            yield value
        else:
            yield from _records(list(value.values()))


def require_told(story: RowStory, old: Mapping[str, list[dict[str, object]]], token_id: str, shape: Shape) -> None:
    """Look for every value of a token's rows."""
    found = told(story)
    states = {row["state_id"] for row in old["node_states"] if row["token_id"] == token_id}
    for table in shape.tables:
        times = {column.name for column in table.columns if column.type == "timestamp"}
        for row in old[table.name]:
            if row.get("token_id") == token_id or row.get("state_id") in states:
                cells = [cell for each in found.get(table.name, ()) for cell in each.values()]
                for name, value in row.items():
                    wanted = plain(value, is_time=name in times)
                    withheld = name in {"row_data_json", "row_payload_json", "coalesce_state_json"}
                    assert withheld or value is None or wanted in cells, (table.name, name, value)


@pytest.mark.parametrize("engine", ["sqlite", pytest.param("postgresql", marks=THOROUGH_ON_POSTGRESQL)])
def test_a_story_tells_every_value_that_the_old_database_has_of_a_token(
    tmp_path: Path, engine: str, request: pytest.FixtureRequest
) -> None:
    old, database_url = tmp_path / "old.db", request.getfixturevalue(f"{engine}_url")
    create_newest(old)
    adopt(f"sqlite:///{old}", database_url)
    rows = rows_of(old)
    with LandscapeDB(database_url, create_tables=False) as db:
        for token in rows["tokens"]:
            token_id = str(token["token_id"])
            story = story_of(db, str(token["run_id"]), token_id)
            require_told(story, rows, token_id, NEWEST)
            assert {"token_work_items", "scheduler_events"} <= {value.source_table for value in story.adopted_values}
            text = story_text(story)
            for value in story.adopted_values:
                assert f"{value.source_table} {value.source_key} also had " in text


@pytest.mark.thorough
def test_an_export_gives_the_same_adopted_values(tmp_path: Path) -> None:
    old, new, trail = (tmp_path / name for name in ("old.db", "new.db", "trail.jsonl"))
    create_newest(old)
    adopt(f"sqlite:///{old}", f"sqlite:///{new}")
    with LandscapeDB(f"sqlite:///{new}", create_tables=False) as db:
        write_export(db, "run-0", trail, format=ExportFormat.JSONL)
        with db.snapshot() as connection, open_export(trail, keep=False) as exported:
            story = row_story(DatabaseTrail(connection, "run-0"), 0)
            assert story.adopted_values
            assert row_story(exported, 0) == story


def stories(db: LandscapeDB) -> list[str]:
    """Return the stories of all rows as JSON."""
    with db.snapshot() as connection:
        rows = connection.exec_driver_sql("SELECT run_id, row_index FROM rows ORDER BY run_id, row_index").all()
        return [story_json(row_story(DatabaseTrail(connection, run_id), index)) for run_id, index in rows]


@pytest.mark.parametrize("every", [pytest.param(1, marks=pytest.mark.thorough), 12])
def test_each_row_that_a_release_left_has_the_same_story_before_and_after(
    predecessor_files: Path, tmp_path: Path, every: int
) -> None:
    for path in [*releases(predecessor_files)][::every]:
        old, new = f"sqlite:///{path}", f"sqlite:///{tmp_path / path.name}"
        with open_for_reading(old) as db:
            before = stories(db)
        adopt(old, new)
        with LandscapeDB(new, create_tables=False) as db:
            assert stories(db) == before
            rows = rows_of(path)
            shape = SHAPES[db_shape(db)]
            for token in rows["tokens"]:
                (run,) = rows["runs"]
                token_id = str(token["token_id"])
                require_told(story_of(db, str(run["run_id"]), token_id), rows, token_id, shape)
        assert len(before) == len(rows["rows"])


def db_shape(db: LandscapeDB) -> str:
    with db.connection() as connection:
        return str(connection.exec_driver_sql("SELECT shape FROM adoptions").scalar_one())


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["epoch1-rich", "epoch4-rich"])
def test_each_row_of_an_epoch_has_the_same_story_before_and_after(
    old_database_of: OldDatabaseMaker, engine_name: str, name: str
) -> None:
    old = old_database_of(name, engine_name)
    with open_for_reading(old.url) as db:
        before = stories(db)
    assert before
    migrate(old.url, no_backup=True)
    with LandscapeDB(old.url, create_tables=False) as db:
        assert stories(db) == before

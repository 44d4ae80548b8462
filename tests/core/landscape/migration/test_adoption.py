"""Runs of the predecessor are adopted without loss."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select

from elspeth.core.landscape.database import LandscapeDB, LandscapeError
from elspeth.core.landscape.exporting.exporter import LandscapeExporter
from elspeth.core.landscape.migration import adoption
from elspeth.core.landscape.migration._old_rows import plain
from elspeth.core.landscape.migration._places import remainder_of
from elspeth.core.landscape.migration.adoption import adopt
from elspeth.core.landscape.queries.lineage import explain
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.landscape.sealing.check import check_seals
from elspeth.schema.predecessor import Shape
from elspeth_schema.contracts import RunStatus
from elspeth_schema.predecessor import COLUMNS
from elspeth_schema.tables import adopted_values_table, adoptions_table, metadata
from tests.fixtures.databases import create_database, drop_database
from tests.fixtures.legacy import rows_of
from tests.fixtures.predecessor import RUNS, SHAPES, create_filled, releases
from tests.fixtures.untouched import untouched

OLDEST, *_, NEWEST = SHAPES.values()

SMALL = SHAPES["2026-05-13 (21 tables, 217 columns)"]
"""The first with a table that has no place among our records."""


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def old_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Return the URL of an empty source."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'old.db'}"
        return
    server = request.getfixturevalue("postgresql_server")
    url = create_database(server)
    yield url.render_as_string(hide_password=False)
    drop_database(server, url)


def require_every_value(source: dict[str, list[dict[str, object]]], db: LandscapeDB, shape: Shape) -> None:
    """Look for every cell of the source in the target.

    Nothing of the code that wrote it is used.
    """
    with db.connection() as connection:
        target = {
            name: [dict(row) for row in connection.execute(select(table)).mappings()]
            for name, table in metadata.tables.items()
        }
    kept = [
        (
            row["source_table"],
            json.loads(row["source_key"]),
            json.loads(row["values_json"]) | json.loads(row["contents_json"] or "{}"),
        )
        for row in target["adopted_values"]
    ]
    loose = [json.loads(row["values_json"]) for row in target["adoptions"]]
    for table in shape.tables:
        times = {column.name for column in table.columns if column.type == "timestamp"}
        key = table.primary_key.columns if table.primary_key is not None else tuple(c.name for c in table.columns)
        for old in source[table.name]:
            row = {name: plain(value, is_time=name in times) for name, value in old.items()}
            wanted = [row[name] for name in key]
            held = [values for name, found, values in kept if (name, found) == (table.name, wanted)]
            records = [
                record
                for record in target.get(table.name, ())
                if all(plain(record.get(name), is_time=name in times) == row[name] for name in key)
            ]
            spare = [each for some in loose for each in some.get(table.name, ())]
            for name, value in row.items():
                places = [*(values.get(name) for values in held), *(each.get(name) for each in spare)]
                places += [plain(cell, is_time=name in times) for record in records for cell in record.values()]
                assert value is None or value in places, (shape.name, table.name, name, value)


def require_progress_to_the_end(progress: list[tuple[int, int]]) -> None:
    """Check that counts grow to their one total."""
    counts = [done for done, _ in progress]
    assert counts == sorted(counts)
    assert {total for _, total in progress} == {counts[-1]}


EVERY_SHAPE = [
    pytest.param(name, marks=[] if number % 30 == 0 else [pytest.mark.thorough]) for number, name in enumerate(SHAPES)
]
"""All shapes; the ordinary tests try the first, the middle one and the newest."""


@pytest.mark.parametrize("name", EVERY_SHAPE)
def test_every_value_of_every_shape_is_kept(tmp_path: Path, name: str) -> None:
    old, new = tmp_path / "old.db", f"sqlite:///{tmp_path / 'new.db'}"
    counts = create_filled(f"sqlite:///{old}", SHAPES[name])
    before = hashlib.sha256(old.read_bytes()).hexdigest()
    progress: list[tuple[int, int]] = []
    done = adopt(f"sqlite:///{old}", new, report=lambda _, *numbers: progress.append(numbers))
    assert (done.rows, len(done.runs)) == (counts, RUNS)
    require_progress_to_the_end(progress)
    with LandscapeDB(new, create_tables=False) as db:
        require_every_value(rows_of(old), db, SHAPES[name])
        with db.snapshot() as connection:
            assert check_seals(connection).faults == ()
        recorder = LandscapeRecorder(db)
        recorder.begin_run({}, "v1", run_id="another")
        recorder.complete_run("another", RunStatus.COMPLETED)
    again = adopt(f"sqlite:///{old}", new)
    assert (again.runs, again.changed) == ((), ())
    assert hashlib.sha256(old.read_bytes()).hexdigest() == before


@pytest.mark.parametrize(
    "name",
    [
        NEWEST.name,
        pytest.param("2026-01-12 (9 tables, 76 columns)", marks=pytest.mark.thorough),
        pytest.param("2026-04-03 (20 tables, 199 columns, in rc5)", marks=pytest.mark.thorough),
    ],
)
def test_runs_are_adopted_from_and_into_each_database(old_url: str, database_url: str, name: str) -> None:
    counts = create_filled(old_url, SHAPES[name])
    done = adopt(old_url, database_url)
    assert (done.rows, len(done.runs)) == (counts, RUNS)
    with LandscapeDB(database_url, create_tables=False) as db, db.snapshot() as connection:
        report = check_seals(connection)
    assert (report.sealed, report.faults) == (RUNS, ())


def test_values_that_today_does_not_allow_are_kept_unchanged(tmp_path: Path) -> None:
    old, new = tmp_path / "old.db", f"sqlite:///{tmp_path / 'new.db'}"
    create_filled(f"sqlite:///{old}", NEWEST, words={"outcome": "astonished", "path": "nowhere", "status": "completed"})
    done = adopt(f"sqlite:///{old}", new)
    assert set(done.records) < set(done.rows)
    with LandscapeDB(new, create_tables=False) as db:
        require_every_value(rows_of(old), db, NEWEST)


@pytest.mark.thorough
def test_databases_of_releases_are_adopted_as_records(predecessor_files: Path, tmp_path: Path) -> None:
    for path in releases(predecessor_files):
        new = f"sqlite:///{tmp_path / path.name}"
        with untouched(path):
            done = adopt(f"sqlite:///{path}", new)
        assert {name: count for name, count in done.rows.items() if count} == dict(done.records), path.name
        with LandscapeDB(new, create_tables=False) as db, db.snapshot() as connection:
            assert check_seals(connection).faults == ()


def test_the_story_of_an_adopted_row_agrees_with_the_old_database(predecessor_files: Path, tmp_path: Path) -> None:
    old, new = predecessor_files / "0.5.1-0511__batch_aggregation.db", f"sqlite:///{tmp_path / 'new.db'}"
    adopt(f"sqlite:///{old}", new)
    rows = rows_of(old)
    with LandscapeDB(new, create_tables=False) as db:
        recorder = LandscapeRecorder(db)
        for token in rows["tokens"]:
            story = explain(recorder, str(token["run_id"]), token_id=str(token["token_id"]))
            assert story is not None
            states = [state for state in rows["node_states"] if state["token_id"] == token["token_id"]]
            assert {state.state_id for state in story.node_states} == {state["state_id"] for state in states}


def test_adopted_values_are_exported(predecessor_files: Path, tmp_path: Path) -> None:
    new = f"sqlite:///{tmp_path / 'new.db'}"
    done = adopt(f"sqlite:///{predecessor_files / '0.5.1-0511__batch_aggregation.db'}", new)
    with LandscapeDB(new, create_tables=False) as db:
        records = list(LandscapeExporter(db).export_run(done.runs[0]))
    found = [json.loads(str(r["values_json"])) for r in records if r["record_type"] == "adopted_value"]
    assert {each.get("path") for each in found} == {"batch_consumed", "default_flow", None}


def test_contents_of_adopted_rows_are_withheld(tmp_path: Path) -> None:
    old, new = f"sqlite:///{tmp_path / 'old.db'}", f"sqlite:///{tmp_path / 'new.db'}"
    create_filled(old, NEWEST)
    adopt(old, new)
    with LandscapeDB(new, create_tables=False) as db, db.connection() as connection:
        table = adopted_values_table.c
        items = connection.execute(
            select(table.values_json, table.contents_json, table.contents_hash).where(
                table.source_table == "token_work_items"
            )
        ).all()
    assert items
    for values, contents, digest in items:
        assert "row_payload_json" not in json.loads(values)
        assert json.loads(contents).keys() == {"row_payload_json"}
        assert hashlib.sha256(contents.encode()).hexdigest() == digest


def test_every_predecessor_name_in_the_schema_exists() -> None:
    known = {
        f"{table.name}.{column.name}" for shape in SHAPES.values() for table in shape.tables for column in table.columns
    }
    named = {
        name if "." in name else f"{table}.{name}"
        for table, columns in COLUMNS.items()
        for names in columns.values()
        for name in names
    }
    assert named - known == set()


@pytest.mark.parametrize("text", ["2026-05-01T00:00:00.5", "2026-05-01", "20260501T000000"])
def test_a_time_in_another_spelling_is_kept_unchanged(tmp_path: Path, text: str) -> None:
    old, new = tmp_path / "old.db", f"sqlite:///{tmp_path / 'new.db'}"
    create_filled(f"sqlite:///{old}", SMALL)
    with closing(sqlite3.connect(old)) as connection:
        changed = connection.execute("UPDATE rows SET created_at = ?", (text,)).rowcount
        connection.commit()
    adopt(f"sqlite:///{old}", new)
    with LandscapeDB(new, create_tables=False) as db, db.connection() as connection:
        of_rows = adopted_values_table.c.source_table == "rows"
        found = [
            json.loads(each) for each in connection.scalars(select(adopted_values_table.c.values_json).where(of_rows))
        ]
    assert [each["created_at"] for each in found] == [text] * changed
    assert changed


def test_rows_of_no_run_are_kept_with_the_adoption(tmp_path: Path) -> None:
    old, new = f"sqlite:///{tmp_path / 'old.db'}", f"sqlite:///{tmp_path / 'new.db'}"
    create_filled(old, NEWEST)
    adopt(old, new)
    with LandscapeDB(new, create_tables=False) as db, db.connection() as connection:
        loose = json.loads(connection.execute(select(adoptions_table.c.values_json)).scalar_one())
    assert {"auth_events", "elspeth_schema_identity", "sidecar_journal_outbox"} <= loose.keys()


def delete_runs(path: Path, condition: str) -> None:
    """Delete runs, but keep the rows that refer to them."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"DELETE FROM runs WHERE {condition}")  # noqa: S608 - conditions of tests
        connection.commit()


def test_rows_of_a_run_that_does_not_exist_are_kept_with_the_adoption(tmp_path: Path, database_url: str) -> None:
    old = tmp_path / "old.db"
    counts = create_filled(f"sqlite:///{old}", SMALL)
    delete_runs(old, "run_id = 'run-1'")
    done = adopt(f"sqlite:///{old}", database_url)
    assert (done.runs, done.rows) == (("run-0",), counts | {"runs": 1})
    source = rows_of(old)
    with LandscapeDB(database_url, create_tables=False) as db:
        require_every_value(source, db, SMALL)
        with db.connection() as connection:
            loose = json.loads(connection.execute(select(adoptions_table.c.values_json)).scalar_one())
    dangling = {name: [row for row in rows if row.get("run_id") == "run-1"] for name, rows in source.items()}
    assert {name: len(rows) for name, rows in dangling.items() if rows}.items() <= {
        name: sum(row.get("run_id") == "run-1" for row in rows) for name, rows in loose.items()
    }.items()


def test_rows_of_a_database_without_runs_are_kept_once(tmp_path: Path, database_url: str) -> None:
    old = tmp_path / "old.db"
    counts = create_filled(f"sqlite:///{old}", OLDEST)
    delete_runs(old, "TRUE")
    assert adopt(f"sqlite:///{old}", database_url).rows == counts | {"runs": 0}
    assert adopt(f"sqlite:///{old}", database_url).rows == {}
    with closing(sqlite3.connect(old)) as connection:
        connection.execute("DELETE FROM artifacts")
        connection.commit()
    assert adopt(f"sqlite:///{old}", database_url).rows == counts | {"runs": 0, "artifacts": 0}


def test_the_order_of_rows_does_not_matter_to_what_was_kept(tmp_path: Path, database_url: str) -> None:
    old = tmp_path / "old.db"
    create_filled(f"sqlite:///{old}", OLDEST)
    delete_runs(old, "TRUE")
    assert adopt(f"sqlite:///{old}", database_url).rows["artifacts"] > 1
    with closing(sqlite3.connect(old)) as connection:
        connection.execute("CREATE TABLE turned AS SELECT * FROM artifacts ORDER BY artifact_id DESC")
        connection.execute("DELETE FROM artifacts")
        connection.execute("INSERT INTO artifacts SELECT * FROM turned")
        connection.execute("DROP TABLE turned")
        connection.commit()
    assert adopt(f"sqlite:///{old}", database_url).rows == {}


def test_rows_of_several_tables_may_have_the_same_key(tmp_path: Path, database_url: str) -> None:
    old = tmp_path / "old.db"
    counts = create_filled(f"sqlite:///{old}", NEWEST)
    with closing(sqlite3.connect(old)) as connection:
        for table, key in (("artifacts", "artifact_id"), ("checkpoints", "checkpoint_id"), ("calls", "call_id")):
            connection.execute(f"UPDATE {table} SET {key} = 'same-' || rowid")  # noqa: S608 - names of the test
        connection.commit()
    assert adopt(f"sqlite:///{old}", database_url).rows == counts
    with LandscapeDB(database_url, create_tables=False) as db:
        require_every_value(rows_of(old), db, NEWEST)


def digests(url: str) -> dict[str, object]:
    """Return what an adoption says of each old table."""
    with LandscapeDB(url, create_tables=False) as db, db.connection() as connection:
        found: dict[str, object] = json.loads(connection.execute(select(adoptions_table.c.tables_json)).scalar_one())
        return found


def test_runs_that_were_changed_after_their_adoption_are_reported(tmp_path: Path, database_url: str) -> None:
    old = tmp_path / "old.db"
    create_filled(f"sqlite:///{old}", OLDEST)
    adopt(f"sqlite:///{old}", database_url)
    with closing(sqlite3.connect(old)) as connection:
        connection.execute("UPDATE node_states SET duration_ms = 7 WHERE rowid = 1")
        connection.execute("DELETE FROM artifacts WHERE rowid = 1")
        connection.execute("CREATE TABLE more AS SELECT * FROM runs WHERE rowid = 1")
        connection.execute("UPDATE more SET run_id = 'another'")
        connection.execute("INSERT INTO runs SELECT * FROM more")
        connection.execute("DROP TABLE more")
        connection.commit()
    progress: list[tuple[int, int]] = []
    done = adopt(f"sqlite:///{old}", database_url, report=lambda _, *numbers: progress.append(numbers))
    assert done.runs == ("another",)
    require_progress_to_the_end(progress)
    assert [re.sub(r" at \S+:", ":", change) for change in done.changed] == [
        "table artifacts of runs that were adopted: 4 rows then, 3 now",
        "table node_states of runs that were adopted: 4 rows then, 4 now, with other values",
    ]


def test_a_run_that_was_deleted_after_its_adoption_is_reported(tmp_path: Path, database_url: str) -> None:
    old = tmp_path / "old.db"
    create_filled(f"sqlite:///{old}", OLDEST)
    first, *_ = adopt(f"sqlite:///{old}", database_url).runs
    delete_runs(old, f"run_id = '{first}'")
    changed = [re.sub(r" at \S+( are|:)", r"\1", change) for change in adopt(f"sqlite:///{old}", database_url).changed]
    assert changed[0] == f"1 of 2 runs that were adopted are gone, among them {first}"
    assert "table runs of runs that were adopted: 2 rows then, 1 now" in changed


def test_runs_of_two_databases_are_not_compared_with_each_other(tmp_path: Path) -> None:
    one, two, new = tmp_path / "one.db", tmp_path / "two.db", f"sqlite:///{tmp_path / 'new.db'}"
    for path in (one, two):
        create_filled(f"sqlite:///{path}", OLDEST)
    with closing(sqlite3.connect(two)) as connection:
        for table in OLDEST.tables:
            if any(column.name == "run_id" for column in table.columns):
                connection.execute(f"UPDATE {table.name} SET run_id = 'other-' || run_id")  # noqa: S608
        connection.commit()
    assert [len(adopt(f"sqlite:///{path}", new).runs) for path in (one, two)] == [RUNS, RUNS]
    assert [adopt(f"sqlite:///{path}", new).changed for path in (one, two)] == [(), ()]


def test_adopting_again_into_a_new_database_reports_changes_since(tmp_path: Path) -> None:
    old, urls = tmp_path / "old.db", [f"sqlite:///{tmp_path / name}.db" for name in ("first", "same", "changed")]
    create_filled(f"sqlite:///{old}", OLDEST)
    adopt(f"sqlite:///{old}", urls[0])
    adopt(f"sqlite:///{old}", urls[1])
    with closing(sqlite3.connect(old)) as connection:
        connection.execute("UPDATE node_states SET duration_ms = 7 WHERE rowid = 1")
        connection.commit()
    adopt(f"sqlite:///{old}", urls[2])
    first, same, changed = map(digests, urls)
    assert first == same
    assert [name for name in first if first[name] != changed[name]] == ["node_states"]


# -- refusals --------------------------------------------------------------------------------------------------------


def test_a_run_is_not_adopted_over_another_of_the_same_id(tmp_path: Path) -> None:
    old, new = f"sqlite:///{tmp_path / 'old.db'}", f"sqlite:///{tmp_path / 'new.db'}"
    create_filled(old, NEWEST)
    with LandscapeDB(new) as db:
        LandscapeRecorder(db).begin_run({}, "v1", run_id="run-1")
    with (
        untouched(tmp_path / "new.db"),
        pytest.raises(LandscapeError, match="run run-1 is already there, and was not adopted"),
    ):
        adopt(old, new)


def test_a_current_database_is_not_adopted(tmp_path: Path) -> None:
    old, new = f"sqlite:///{tmp_path / 'old.db'}", tmp_path / "new.db"
    LandscapeDB(old).close()
    with pytest.raises(LandscapeError, match=r"is not the predecessor's.*elspeth export, elspeth import"):
        adopt(old, f"sqlite:///{new}")
    assert not new.exists()


def test_an_adoption_that_would_lose_a_value_is_rolled_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = f"sqlite:///{tmp_path / 'old.db'}", tmp_path / "new.db"
    create_filled(old, NEWEST)
    monkeypatch.setattr(adoption, "remainder_of", lambda *_: None)
    with pytest.raises(LandscapeError, match=r"table \w+: \d rows were read, \d could be put together again"):
        adopt(old, f"sqlite:///{new}")
    assert not new.exists()


def test_a_changed_value_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    create_filled(f"sqlite:///{old}", NEWEST)
    whole = remainder_of

    def altered(*arguments: object) -> object:
        value = whole(*arguments)  # type: ignore[arg-type]  # passed on as they come
        if value is not None and value.source_table == "run_workers":
            object.__setattr__(value, "values_json", value.values_json.replace("run_workers-hostname-0", "elsewhere"))
        return value

    monkeypatch.setattr(adoption, "remainder_of", altered)
    with pytest.raises(LandscapeError, match=r"table run_workers: 4 rows were read, 4 could .*, with other values"):
        adopt(f"sqlite:///{old}", f"sqlite:///{new}")

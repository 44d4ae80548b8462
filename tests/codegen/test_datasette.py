"""Datasette shows an audit database with the generated metadata."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import sqlite3
from contextlib import closing
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from datasette.app import Datasette
from datasette.cli import cli

from codegen import datasette
from codegen.datasette import DATABASE
from codegen.load import load_model
from elspeth.core.landscape.database import LandscapeDB
from elspeth_schema import tables
from tests.fixtures.example_runs import ExampleRun
from tests.fixtures.rich_run import recorded, rich_run

METADATA = yaml.safe_load(files("elspeth_schema").joinpath("datasette.yaml").read_text(encoding="utf-8"))
QUERIES = METADATA["databases"][DATABASE]["queries"]
Answer = dict[str, Any]
DOCS = Path(__file__).parents[2] / "docs" / "operating.md"


def ask(path: Path, query: str, **parameters: object) -> list[Answer]:
    """Return the rows of a canned query's answer."""
    return [dict(row) for row in get(path, f"{DATABASE}/{query}.json", _shape="array", **parameters)]


def get(path: Path, page: str, **parameters: object) -> Any:  # noqa: ANN401  JSON
    """Return a page of a Datasette of its own."""

    async def answer() -> object:
        site = Datasette([], immutables=[str(path)], metadata=METADATA)
        await site.invoke_startup()
        response = await site.client.get(site.urls.path(page), params={**parameters})
        assert response.status_code == 200, response.text
        return response.json()

    return asyncio.run(answer())


@pytest.fixture
def errors(example_run: ExampleRun, tmp_path: Path) -> Path:
    """Return the database of a run with failed rows."""
    return named_audit(example_run("error_routing").database, tmp_path)


def named_audit(database: Path, directory: Path) -> Path:
    """Copy a database to a file of the expected name."""
    path = directory / f"{DATABASE}.db"
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(path)) as target:
        source.backup(target)
        target.execute("PRAGMA journal_mode = DELETE")
    return path


def test_every_canned_query_runs(errors: Path) -> None:
    assert set(QUERIES) == {path.stem for path in (Path(__file__).parents[2] / "codegen" / "queries").iterdir()}
    for name, query in QUERIES.items():
        assert ask(errors, name, **dict.fromkeys(query.get("params", []), "")) != [], name


def test_the_story_of_a_row_is_told_in_order(errors: Path) -> None:
    with closing(sqlite3.connect(errors)) as connection:
        ((run_id, row, sink),) = connection.execute(
            "SELECT run_id, row_index, sink_name FROM token_outcomes JOIN tokens USING (run_id, token_id) "
            "JOIN rows USING (run_id, row_id) WHERE outcome = 'failed' ORDER BY row_index LIMIT 1"
        )
    for chosen in (run_id, ""):
        told = ask(errors, "story_of_a_row", run_id=chosen, row_index=row)
        assert told[0]["event"] == "csv visited"
        assert [each["result"] for each in told if each["event"].endswith("visited")].count("failed") == 1
        assert (told[-1]["event"], told[-1]["result"], told[-1]["details"]) == ("ended", "failed", sink)
        assert [each["at"] for each in told if each["step"] < 2**53 - 1] == sorted(
            each["at"] for each in told if each["step"] < 2**53 - 1
        )
    assert ask(errors, "story_of_a_row", run_id="nobody", row_index=row) == []


def test_failures_are_counted_by_their_reasons(errors: Path) -> None:
    found = ask(errors, "failures_by_reason", run_id="")
    with closing(sqlite3.connect(errors)) as connection:
        ((failed,),) = connection.execute(
            "SELECT count(*) FROM token_outcomes WHERE outcome IN ('failed', 'quarantined')"
        )
    assert sum(each["failures"] for each in found) == failed > 1
    assert [each["failures"] for each in found] == sorted((each["failures"] for each in found), reverse=True)
    assert all(each["reason"] and each["kind"] and each["first_row"] is not None for each in found)


def test_nodes_are_ordered_by_the_time_they_took(errors: Path) -> None:
    found = ask(errors, "slowest_nodes", run_id="")
    assert [each["total_ms"] for each in found] == sorted((each["total_ms"] for each in found), reverse=True)
    assert {each["node_type"] for each in found} >= {"source", "transform", "sink"}


def test_the_runs_of_a_file_are_found_by_its_hash(errors: Path) -> None:
    source = Path(__file__).parents[2] / "examples" / "error_routing" / "input.csv"
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    (found,) = ask(errors, "runs_of_a_file", content_hash=digest)
    assert (found["path_or_uri"], found["status"]) == ("examples/error_routing/input.csv", "completed")
    assert ask(errors, "runs_of_a_file", content_hash="0" * 64) == []


def test_errors_that_are_not_json_are_counted_as_text(tmp_path: Path) -> None:
    with LandscapeDB(f"sqlite:///{tmp_path / 'run.db'}") as db:
        recorded(db, rich_run())
    path = named_audit(tmp_path / "run.db", tmp_path)
    with closing(sqlite3.connect(path)) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f'DROP TRIGGER "{name}"')
        connection.execute("UPDATE node_states SET error_json = 'no {JSON' WHERE status = 'failed'")
        connection.commit()
    assert "no {JSON" in {each["reason"] for each in ask(path, "failures_by_reason", run_id="")}


def test_the_command_of_the_docs_shows_the_database(errors: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = r"""^datasette runs/audit\.db -m "\$\(python -c '(.*)'\)"$"""
    (program,) = re.findall(command, DOCS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    exec(program)  # noqa: S102  from our own page
    metadata = capfd.readouterr().out.strip()
    with pytest.raises(SystemExit) as ended:
        cli.main([str(errors), "-m", metadata, "--get", f"/{DATABASE}/runs.json?_shape=array"])
    assert ended.value.code == 0
    assert json.loads(capfd.readouterr().out)[0]["status"] == "completed"


def test_every_table_and_column_is_described_and_enumerations_are_facets(errors: Path) -> None:
    described = METADATA["databases"][DATABASE]["tables"]
    assert {name: list(each["columns"]) for name, each in described.items()} == {
        name: table.columns.keys() for name, table in tables.metadata.tables.items()
    }
    page = get(errors, f"{DATABASE}/node_states.json")
    counts = {each["value"]: each["count"] for each in page["facet_results"]["status"]["results"]}
    assert counts["failed"] > 0 < counts["completed"]
    index = get(errors, f"{DATABASE}.json")
    assert {each["name"] for each in index["tables"] if each["hidden"]} >= {"run_secrets", "seals", "schema_migrations"}


SCHEMA = Path(__file__).parent / "cases" / "good_bookkeeping" / "schema" / "landscape.yaml"
HEAD = "-- Notes\n-- - What was noted in full.\n"


def metadata_with(query: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ANN401  YAML
    """Return the metadata of a small schema with one query."""
    (directory / "mine.sql").write_text(HEAD + query, encoding="utf-8")
    monkeypatch.setattr(datasette, "_QUERIES", directory)
    return yaml.safe_load(datasette.datasette_metadata(load_model(SCHEMA)))


def test_a_query_is_shown_with_its_comments_and_each_parameter_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = "SELECT run_id\nFROM runs WHERE run_id = :run_id OR :run_id = ''\n"
    found = metadata_with(query, tmp_path, monkeypatch)
    model = load_model(SCHEMA)
    assert (found["title"], found["description"]) == (f"Audit trail, epoch {model.epoch}", model.description)
    assert found["databases"][DATABASE]["queries"] == {
        "mine": {"title": "Notes", "description": "- What was noted in full.", "sql": query, "params": ["run_id"]}
    }
    (tmp_path / "mine.sql").write_text(f"{HEAD}SELECT run_id\nFROM runs\n", encoding="utf-8")
    text = datasette.datasette_metadata(model)
    assert "        sql: |\n          SELECT run_id\n          FROM runs\n" in text
    assert "params" not in text


def test_a_query_of_a_table_that_the_schema_lacks_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = metadata_with("SELECT note FROM elsewhere\n", tmp_path, monkeypatch)
    assert found["databases"][DATABASE]["queries"] == {}


@pytest.mark.parametrize(
    ("query", "problem"),
    [("SELECT missing FROM runs", "no such column: missing"), ("SELEC 1", 'near "SELEC": syntax error')],
)
def test_a_query_that_sqlite_cannot_read_is_refused(
    query: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=f"^codegen/queries/mine.sql: {re.escape(problem)}$"):
        metadata_with(query, tmp_path, monkeypatch)


def test_bookkeeping_is_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables_shown = metadata_with("SELECT 1", tmp_path, monkeypatch)["databases"][DATABASE]["tables"]
    model = load_model(SCHEMA)
    assert {name for name, table in tables_shown.items() if table.get("hidden")} == {
        table.name for table in model.bookkeeping
    }
    assert model.bookkeeping

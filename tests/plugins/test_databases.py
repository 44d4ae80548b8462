"""The SQL source: queries, invalid rows and databases that fail."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import URL, Engine, QueuePool, create_engine, make_url
from sqlalchemy.exc import ArgumentError

from elspeth.contracts.plugins import PluginError
from elspeth.contracts.rows import InvalidRow
from elspeth.plugins import database_sink, databases
from elspeth.plugins.databases import database_exists, describe_database_error, make_parent_directory
from elspeth.plugins.manager import PluginManager

PLUGINS = PluginManager.installed()


@pytest.fixture
def people(tmp_path: Path) -> str:
    """Return the URL of a database with people."""
    with closing(sqlite3.connect(tmp_path / "people.db")) as connection:
        connection.execute("CREATE TABLE people (id INTEGER, name TEXT, photo BLOB)")
        connection.executemany("INSERT INTO people VALUES (?, ?, ?)", [(1, "Zoë", b"\xff"), (2, None, None)])
        connection.commit()
    return f"sqlite:///{tmp_path / 'people.db'}"


def test_rows_come_from_a_query(people: str) -> None:
    options: dict[str, Any] = {"url": people, "query": "SELECT * FROM people ORDER BY id"}
    assert list(PLUGINS.source("sql", options).read()) == [
        {"id": 1, "name": "Zoë", "photo": "/w=="},
        {"id": 2, "name": None, "photo": None},
    ]
    options["schema"] = {"mode": "free", "fields": ["name: str"]}
    source = PLUGINS.source("sql", options)
    assert source.inputs() == ()
    rows = source.read()
    next(rows)
    assert [(each.rows, each.is_complete) for each in source.inputs()] == [(1, False)]
    (second,) = rows
    assert [(each.rows, each.is_complete) for each in source.inputs()] == [(2, True)]
    again = source.read()
    next(again)
    assert [(each.rows, each.is_complete) for each in source.inputs()] == [(1, False)]
    again.close()  # type: ignore[attr-defined]  # a generator
    assert second == InvalidRow(
        data={"id": 2, "name": None, "photo": None}, error="row 1: field 'name': expected text, got null"
    )


def test_a_query_without_rows_is_an_input_too(people: str) -> None:
    source = PLUGINS.source("sql", {"url": people, "query": "SELECT * FROM people WHERE id > 2"})
    assert list(source.read()) == []
    [read] = source.inputs()
    assert (read.rows, read.is_complete, read.query_text) == (0, True, "SELECT * FROM people WHERE id > 2")
    assert (read.input_type, read.path_or_uri) == ("query", people)


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("SELECT * FROM nobody", " cannot be read: no such table: nobody"),
        ("SELECT id, name AS id FROM people", ": two columns are named 'id': name them with AS"),
        ("DELETE FROM people", ": the query returns no rows: expected a SELECT"),
    ],
)
def test_a_query_that_cannot_be_read_is_explained(
    monkeypatch: pytest.MonkeyPatch, people: str, query: str, problem: str
) -> None:
    engines: list[Engine] = []

    def create(url: URL) -> Engine:
        engines.append(create_engine(url))
        return engines[-1]

    monkeypatch.setattr(databases, "create_engine", create)
    with pytest.raises(PluginError) as caught:
        list(PLUGINS.source("sql", {"url": people, "query": query}).read())
    assert str(caught.value) == f"database {people}{problem}"
    assert isinstance(engines[0].pool, QueuePool)
    assert engines[0].pool.checkedin() == 0, "no connection is left open"
    assert len(list(PLUGINS.source("sql", {"url": people, "query": "SELECT * FROM people"}).read())) == 2


def test_a_missing_database_file_is_not_created(tmp_path: Path) -> None:
    source = PLUGINS.source("sql", {"url": f"sqlite:///{tmp_path / 'x.db'}", "query": "SELECT 1"})
    for do in (source.check, lambda: list(source.read())):
        with pytest.raises(PluginError) as caught:
            do()
        assert str(caught.value) == f"database sqlite:///{tmp_path / 'x.db'} does not exist"
    for url in ("sqlite://", "sqlite:///:memory:"):
        assert database_exists(make_url(url))
    assert list(tmp_path.iterdir()) == []


def test_sqlite_text_that_is_not_utf_8_makes_one_row_invalid(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "in.db")) as connection:
        connection.execute("CREATE TABLE t (a TEXT)")
        connection.execute("INSERT INTO t VALUES ('x'), (CAST(X'ff41' AS TEXT)), ('ü')")
        connection.commit()
    options = {"url": f"sqlite:///{tmp_path / 'in.db'}", "query": "SELECT a FROM t"}
    assert list(PLUGINS.source("sql", options).read()) == [
        {"a": "x"},
        InvalidRow(data={"a": "\\xffA"}, error="row 1: column 'a': bytes that are not UTF-8"),
        {"a": "ü"},
    ]


def test_a_url_whose_driver_is_unknown_is_refused_without_its_password() -> None:
    with pytest.raises(ValidationError) as caught:
        PLUGINS.source("sql", {"url": "nonsense://me:secret@h/db", "query": "SELECT 1"})
    (problem,) = caught.value.errors()
    assert "nonsense" in str(problem["ctx"]["error"])
    assert "secret" not in str(problem["ctx"]["error"])


def test_a_driver_message_becomes_one_line_without_the_password() -> None:
    url = make_url("postgresql+psycopg://u:my%20secret@h/db?sslpassword=hidden")
    error = ArgumentError("cannot use u:my secret@h with hidden\nand more")
    assert describe_database_error(error, url) == "cannot use u:***@h with ***"


def test_a_driver_that_cannot_be_loaded_is_named(monkeypatch: pytest.MonkeyPatch, people: str, tmp_path: Path) -> None:
    def refuse(_: URL) -> Engine:
        raise ImportError("no such driver")

    monkeypatch.setattr(databases, "create_engine", refuse)
    monkeypatch.setattr(database_sink, "create_engine", refuse)
    with pytest.raises(PluginError) as caught:
        list(PLUGINS.source("sql", {"url": people, "query": "SELECT 1"}).read())
    assert str(caught.value) == f"database {people} cannot be opened: no such driver"
    sink = PLUGINS.sink("database", {"url": people, "table": "t", "staging_directory": str(tmp_path)})
    with pytest.raises(PluginError) as caught:
        sink.open("run1")
    assert str(caught.value) == f"{people}#t cannot be opened: no such driver"


def test_the_directory_of_a_new_database_is_synced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    synced: list[int] = []
    monkeypatch.setattr("os.fsync", synced.append)
    make_parent_directory(make_url(f"sqlite:///{tmp_path / 'a' / 'b' / 'x.db'}"))
    assert (tmp_path / "a" / "b").is_dir()
    assert len(synced) >= 2

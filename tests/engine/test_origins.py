"""What runs record of their inputs and processes."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import platform
import pwd
import re
import socket
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TextIO

import pytest

from elspeth import __version__
from elspeth.contracts.plugins import PluginError
from elspeth.core.settings import SettingsError
from elspeth.engine.errors import ResumeError, RunInterruptedError
from elspeth.engine.origins import repository_state
from elspeth.engine.reporting import Observer
from elspeth.plugins import manager
from elspeth.plugins.csv import CsvSource
from elspeth.plugins.databases import SqlSource, SqlSourceOptions
from elspeth.plugins.input_files import InputFile
from elspeth.plugins.manager import PluginManager
from tests.engine.killing import work
from tests.engine.pipelines import (
    Records,
    Settings,
    assert_sound,
    build,
    csv_settings,
    execute,
    graph_settings,
    groups_of,
    run,
    run_graph,
    trail,
)
from tests.fixtures.workers import InlineWorkers

ROWS = "id,kind\n1,x\n2,y\n3,x\n4,y\n"


def inputs(records: Records) -> list[tuple[Any, ...]]:
    """Return the recorded inputs in order of reading."""
    names = ("input_type", "path_or_uri", "content_hash", "size_bytes", "row_count")
    found = sorted(records.get("source_input", []), key=lambda each: (each["node_id"], each["ordinal"]))
    return [tuple(each[name] for name in names) for each in found]


def file(path: Path, rows: int) -> tuple[Any, ...]:
    """Return what should be recorded of a file."""
    content = path.read_bytes()
    return ("file", str(path), hashlib.sha256(content).hexdigest(), len(content), rows)


def one_sink(directory: Path, plugin: str, **options: object) -> Settings:
    """Return settings whose rows all go to one file."""
    return graph_settings(directory, [], datasource={"plugin": plugin, "options": options})


# -- inputs ----------------------------------------------------------------------------------------------------------


def test_the_bytes_of_every_file_are_identified_in_the_order_of_reading(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(ROWS)
    with gzip.open(tmp_path / "b.csv.gz", "wt") as compressed:
        compressed.write("id,kind\n" + "5,x\n" * 20)
    (tmp_path / "c.csv").write_text("id,kind\n6\n")  # an invalid row counts, too
    (tmp_path / "d.csv").write_text("id,kind\n")
    names = ["a.csv", "b.csv.gz", "c.csv", "d.csv"]
    settings = one_sink(tmp_path, "csv", path=[str(tmp_path / name) for name in names])
    _, records = run_graph(tmp_path, settings)
    counts = (4, 20, 1, 0)
    assert inputs(records) == [file(tmp_path / name, rows) for name, rows in zip(names, counts, strict=True)]
    assert sum(counts) == len(records["row"])


@pytest.mark.parametrize(
    ("plugin", "content"),
    [
        ("json", '[{"id": 1}, {"id": 2}]  \n\n'),
        ("json", '{"id": 1}\n{"id": 2}\n'),
        ("jsonl", '{"id": 1}\n\nnonsense\n\n'),
        ("csv", "\ufeffid\n1\n2"),
    ],
)
def test_text_is_identified_by_all_its_bytes(tmp_path: Path, plugin: str, content: str) -> None:
    (tmp_path / "in").write_text(content)
    _, records = run_graph(tmp_path, one_sink(tmp_path, plugin, path=str(tmp_path / "in")))
    assert inputs(records) == [file(tmp_path / "in", 2)]


def test_a_parquet_file_is_identified_by_its_bytes(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    for name, rows in (("a", 3), ("b", 0)):
        parquet.write_table(pyarrow.table({"id": list(range(rows))}), tmp_path / f"{name}.parquet")
    settings = one_sink(tmp_path, "parquet", path=str(tmp_path / "*.parquet"))
    _, records = run_graph(tmp_path, settings)
    assert inputs(records) == [file(tmp_path / "a.parquet", 3), file(tmp_path / "b.parquet", 0)]
    limited = run_graph(tmp_path, {**settings, "limit": 2})[1]
    assert inputs(limited) == [("file", str(tmp_path / "a.parquet"), None, None, 2)]


@pytest.mark.parametrize("opener", [open, gzip.open], ids=["plain", "gzip"])
def test_a_large_file_is_read_only_once_to_be_hashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opener: Callable[..., TextIO]
) -> None:
    path = tmp_path / "in.jsonl"
    with opener(path, "wt") as text:
        text.writelines(f'{{"id": "{hashlib.sha512(str(number).encode()).hexdigest()}"}}\n' for number in range(3_000))
    opened, open_raw = list[str](), InputFile._open_raw

    def note(each: InputFile) -> io.BufferedReader:
        opened.append(each.name)
        return open_raw(each)

    monkeypatch.setattr(InputFile, "_open_raw", note)
    source = PluginManager.installed().source("jsonl", {"path": str(path)})
    before = None
    for number, _ in enumerate(source.read(), start=1):
        (before,) = source.inputs()
        assert (before.rows, before.is_complete, before.content_hash) == (number, False, None)
    (after,) = source.inputs()
    content = path.read_bytes()
    assert len(content) > 2 * 65_536
    assert (after.content_hash, after.size_bytes) == (hashlib.sha256(content).hexdigest(), len(content))
    assert (after.rows, after.is_complete, opened) == (3_000, True, [str(path)])


def test_standard_input_is_recorded_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = ROWS.encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(content))))
    _, records = run_graph(tmp_path, one_sink(tmp_path, "csv", path="-"))
    assert inputs(records) == [("standard_input", None, hashlib.sha256(content).hexdigest(), len(content), 4)]


def test_a_query_is_recorded_with_its_rows_and_without_passwords(tmp_path: Path, database_url: str) -> None:
    query = "SELECT 1 AS id UNION SELECT 2 ORDER BY id"
    settings = one_sink(tmp_path, "sql", url=database_url, query=query)
    _, records = run_graph(tmp_path, {**settings, "landscape": {"url": database_url}})
    (found,) = records["source_input"]
    assert (found["input_type"], found["query_text"], found["row_count"]) == ("query", query, 2)
    assert (found["content_hash"], found["size_bytes"]) == (None, None)
    assert found["path_or_uri"].startswith(database_url.partition(":")[0])
    assert found["node_id"] == next(each["node_id"] for each in records["node"] if each["node_type"] == "source")


def test_secrets_in_a_query_and_its_address_are_not_recorded(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "in.db")) as connection:
        connection.execute("CREATE TABLE t (id INTEGER)")
    secret = "hunter2-hunter2"
    query = f"SELECT id, 'https://u:{secret}@example.org/' AS link FROM t"  # noqa: S608  our own names
    settings = one_sink(tmp_path, "sql", url=f"sqlite:///{tmp_path / 'in.db'}", query=query)
    execute(build(tmp_path, settings), environ={"ELSPETH_ALLOW_RAW_SECRETS": "true"})
    (found,) = trail(tmp_path)["source_input"]
    assert found["query_text"] == query.replace(secret, "[redacted]")
    url = f"postgresql+psycopg://u:{secret}@nowhere.invalid/d"
    source = SqlSource(SqlSourceOptions(url=url, query="SELECT 1"))
    assert source.inputs() == ()
    source._rows = 0  # as after the first answer
    assert [each.path_or_uri for each in source.inputs()] == ["postgresql+psycopg://u:***@nowhere.invalid/d"]


def test_an_input_that_is_not_read_to_its_end_has_no_hash(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.csv").write_text(ROWS)
    settings = one_sink(tmp_path, "csv", path=str(tmp_path / "[abc].csv"))
    _, records = run_graph(tmp_path, {**settings, "limit": 6})
    assert inputs(records) == [file(tmp_path / "a.csv", 4), ("file", str(tmp_path / "b.csv"), None, None, 2)]


def test_a_failed_run_records_what_it_had_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(ROWS)
    (tmp_path / "b.csv").write_text(f'{ROWS}5,"x\n')
    settings = one_sink(tmp_path, "csv", path=str(tmp_path / "[ab].csv"), max_record_lines=1)
    with pytest.raises(PluginError, match="is not closed within 1 lines"):
        execute(build(tmp_path, {**settings, "checkpoint": {"enabled": False}}))
    records = trail(tmp_path)
    assert records["run"][0]["status"] == "failed"
    assert inputs(records) == [file(tmp_path / "a.csv", 4), ("file", str(tmp_path / "b.csv"), None, None, 4)]


def test_every_source_has_inputs_of_its_own(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text(ROWS)
    source = {"plugin": "csv", "on_success": "rows"}
    settings = {
        "sources": {name: {**source, "options": {"path": str(tmp_path / f"{name}.csv")}} for name in ("b", "a")},
        "queues": {"rows": {}},
        "transforms": [{"name": "pass", "plugin": "passthrough", "input": "rows", "on_success": "out"}],
        "sinks": {"out": {"plugin": "jsonl", "options": {"path": str(tmp_path / "out.jsonl")}}},
        "landscape": {"url": f"sqlite:///{tmp_path / 'audit.db'}"},
    }
    _, records = run(tmp_path, settings)
    found = {(each["node_id"].split("_")[1], each["ordinal"], each["path_or_uri"]) for each in records["source_input"]}
    assert found == {(name, 0, str(tmp_path / f"{name}.csv")) for name in ("a", "b")}


# -- inputs of a resumed run -----------------------------------------------------------------------------------------


@pytest.fixture(params=[None, InlineWorkers()], ids=["alone", "shared"])
def stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """Stop a run within its second file."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text(ROWS)
    groups_of(monkeypatch, 3)
    done = [0]
    observer = Observer(on_rows=lambda progress: done.append(progress.rows), is_stopped=lambda: done[-1] == 6)
    with pytest.raises(RunInterruptedError):
        execute(build(tmp_path, two_files(tmp_path)), observer, workers=request.param)
    records = trail(tmp_path)
    assert (len(records["row"]), inputs(records)) == (6, [file(tmp_path / "a.csv", 4)])
    return str(records["run"][0]["run_id"])


def two_files(directory: Path) -> Settings:
    return one_sink(directory, "csv", path=str(directory / "[0ab].csv"))


def test_a_resumed_run_records_each_input_once(stopped: str, tmp_path: Path) -> None:
    work(build(tmp_path, two_files(tmp_path)), lambda each: each.resume(stopped))
    records = trail(tmp_path)
    assert_sound(records, status="completed", resumed=True)
    assert inputs(records) == [file(tmp_path / "a.csv", 4), file(tmp_path / "b.csv", 4)]
    processes = sorted(records["run_process"], key=lambda each: each["attempt"])
    assert [each["attempt"] for each in processes] == [0, 1]
    assert processes[0]["started_at"] == records["run"][0]["started_at"] < processes[1]["started_at"]


def test_a_run_is_not_resumed_with_another_file_of_the_same_rows(stopped: str, tmp_path: Path) -> None:
    before = hashlib.sha256(ROWS.encode()).hexdigest()
    (tmp_path / "a.csv").write_text(f"{ROWS}\n")
    after = hashlib.sha256(f"{ROWS}\n".encode()).hexdigest()
    with pytest.raises(ResumeError) as caught:
        work(build(tmp_path, two_files(tmp_path)), lambda each: each.resume(stopped))
    assert str(caught.value) == (
        f"the source is not what run {stopped} read: {tmp_path / 'a.csv'} has the SHA-256 {after}, recorded is "
        f"{before}; restore it to resume the run, or abandon the run with --abandon"
    )
    records = trail(tmp_path)
    assert (records["run"][0]["status"], len(records["row"])) == ("interrupted", 6)
    (tmp_path / "a.csv").write_text(ROWS)
    work(build(tmp_path, two_files(tmp_path)), lambda each: each.resume(stopped))
    assert_sound(trail(tmp_path), status="completed", resumed=True)


def test_a_run_is_not_resumed_with_a_file_of_another_name_or_of_other_rows(
    stopped: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs_of = CsvSource.inputs
    with monkeypatch.context() as patch:  # another version of the source may count otherwise
        patch.setattr(CsvSource, "inputs", lambda each: [replace(read, rows=read.rows + 1) for read in inputs_of(each)])
        with pytest.raises(ResumeError, match=rf"read: {tmp_path / 'a.csv'} has 5 rows, recorded are 4; restore it"):
            work(build(tmp_path, two_files(tmp_path)), lambda each: each.resume(stopped))
    (tmp_path / "a.csv").rename(tmp_path / "0.csv")
    problem = f"read: input 0 is {tmp_path / '0.csv'}, recorded is {tmp_path / 'a.csv'}; restore it"
    with pytest.raises(ResumeError, match=re.escape(problem)):
        work(build(tmp_path, two_files(tmp_path)), lambda each: each.resume(stopped))


def test_a_file_that_was_not_read_to_its_end_may_be_corrected(stopped: str, tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text(f"{ROWS}5,z\n")
    work(build(tmp_path, two_files(tmp_path)), lambda each: each.resume(stopped))
    assert inputs(trail(tmp_path))[1] == file(tmp_path / "b.csv", 5)


# -- processes -------------------------------------------------------------------------------------------------------


def process(directory: Path, settings: Settings | None = None) -> dict[str, Any]:
    """Run settings, and return what is recorded of the process."""
    (directory / "in.csv").write_text(ROWS)
    _, records = run(directory, settings or csv_settings(directory))
    (found,) = records["run_process"]
    assert isinstance(found, dict)
    return found


def test_who_ran_it_where_and_with_what_is_recorded(tmp_path: Path) -> None:
    found = process(tmp_path)
    assert found["user_name"] == pwd.getpwuid(os.geteuid()).pw_name
    assert found["host_name"] == socket.gethostname()
    assert found["elspeth_version"] == __version__
    assert found["python_version"] == f"CPython {platform.python_version()}"
    assert found["operating_system"] == f"{platform.system()} {platform.release()} {platform.machine()}"
    assert (found["attempt"], found["labels_json"], found["repository_commit"]) == (0, None, None)


def test_an_account_without_a_name_has_a_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(number: int) -> object:
        raise KeyError(number)

    monkeypatch.setattr("elspeth.engine.origins.pwd.getpwuid", unknown)
    monkeypatch.setattr("elspeth.engine.origins.socket.gethostname", lambda: "\0" + "h" * 300)
    found = process(tmp_path)
    assert found["user_name"] == str(os.geteuid())
    assert found["host_name"] == "\ufffd" + "h" * 255  # the name that the audit trail has


def test_account_and_machine_can_be_left_out(tmp_path: Path) -> None:
    settings = csv_settings(tmp_path)
    settings["landscape"]["identity"] = False
    found = process(tmp_path, settings)
    assert (found["user_name"], found["host_name"]) == (None, None)
    assert found["elspeth_version"] == __version__


def test_labels_are_recorded_and_secrets_in_them_are_not(tmp_path: Path) -> None:
    labels = {"ticket": "A-1", "customer": "M\u00fcller", "link": "https://u:hunter2-hunter2@example.org/"}
    (tmp_path / "in.csv").write_text(ROWS)
    settings = csv_settings(tmp_path, labels=labels)
    _, records = run(tmp_path, settings, environ={"ELSPETH_ALLOW_RAW_SECRETS": "true"})
    expected = {**labels, "link": "https://u:[redacted]@example.org/"}
    assert json.loads(records["run_process"][0]["labels_json"]) == expected
    assert "hunter2" not in json.dumps(records)


def test_labels_must_be_text(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        build(tmp_path, csv_settings(tmp_path, labels={"ticket": 17, "done": None}))
    assert [(each.location, each.message) for each in caught.value.problems] == [
        (("labels", "ticket"), "expected a text, got 17: put it in quotes"),
        (("labels", "done"), "expected a text, got None"),
    ]


def test_packages_that_offer_plugins_are_recorded_with_their_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered = [SimpleNamespace(dist=SimpleNamespace(name="acme-plugins", version="1.2")), SimpleNamespace(dist=None)]
    assert json.loads(process(tmp_path)["packages_json"]) == {}
    monkeypatch.setattr(manager, "entry_points", lambda group: offered if group == "elspeth.plugins" else [])
    assert manager.plugin_packages() == {"acme-plugins": "1.2"}
    assert EntryPoint("n", "v", "g").dist is None  # as of an installation without metadata


# -- the repository of the settings ----------------------------------------------------------------------------------


def git(directory: Path, *arguments: str) -> str:
    names = {f"GIT_{who}_{what}": "x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environ = {**os.environ, **names, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    done = subprocess.run(["git", *arguments], cwd=directory, env=environ, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a repository with a committed settings file."""
    directory = tmp_path / "repository"
    (directory / "pipelines").mkdir(parents=True)
    git(directory, "init", "-q")
    assert repository_state(directory / "settings.yaml") == (None, None)  # there is no commit yet
    (directory / "pipelines" / "settings.yaml").write_text("a: 1\n")
    (directory / "other.txt").write_text("1\n")
    git(directory, "add", ".")
    git(directory, "commit", "-q", "-m", "x")
    return directory


def test_the_commit_of_the_settings_and_uncommitted_changes_are_recorded(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", "/nowhere")  # as in a hook
    settings, commit = repository / "pipelines" / "settings.yaml", git_commit(repository)
    assert re.fullmatch("[0-9a-f]{40}", commit)
    (repository / "audit.db").write_text("not part of it, as outputs are")
    assert repository_state(settings) == (commit, False)
    link = repository.parent / "settings.yaml"
    link.symlink_to(settings)
    assert repository_state(link) == (commit, False)
    (repository / "other.txt").write_text("2\n")
    assert repository_state(settings) == (commit, True)
    (repository / "other.txt").write_text("1\n")
    (repository / "new.yaml").write_text("b: 1\n")
    assert repository_state(repository / "new.yaml") == (commit, True)


def git_commit(repository: Path) -> str:
    return (repository / ".git" / "refs" / "heads" / branch(repository)).read_text().strip()


def branch(repository: Path) -> str:
    return (repository / ".git" / "HEAD").read_text().strip().removeprefix("ref: refs/heads/")


def test_reading_the_commit_runs_no_program_of_the_repository(repository: Path) -> None:
    program = repository / "program"
    program.write_text(f"#!/bin/sh\ntouch {repository / 'ran'}\n")
    program.chmod(0o755)
    git(repository, "config", "core.fsmonitor", str(program))
    assert repository_state(repository / "other.txt") == (git_commit(repository), False)
    assert not (repository / "ran").exists()


def test_without_git_no_commit_is_recorded(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("elspeth.engine.origins._GIT_SECONDS", 0)  # as if it took too long
        assert repository_state(repository / "other.txt") == (None, None)
    monkeypatch.setenv("PATH", str(repository))
    assert repository_state(repository / "other.txt") == (None, None)


# -- the contract of sources -----------------------------------------------------------------------------------------


def test_a_source_need_not_name_its_inputs(tmp_path: Path) -> None:
    _, records = run_graph(tmp_path, graph_settings(tmp_path, [{"id": 1}]))
    assert "source_input" not in records

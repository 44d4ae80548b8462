"""Checks of the files that settings name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from elspeth.core.settings import SettingsError, load_settings
from elspeth.core.settings.landscape import ExportSettings, LandscapeSettings
from elspeth.objects.address import Place
from elspeth.plugins.manager import PluginManager
from elspeth.plugins.staging import StagedFile

Tree = dict[str, Any]

QUESTION = {"base_url": "http://127.0.0.1:1", "model": "stub", "prompt": "{{ row.id }}"}

TOUCH = "which no output may touch: name another path"


@pytest.fixture(autouse=True)
def _own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in.csv").write_text("id\n1\n")


def settings(path: str = "out/rows.csv", **sections: object) -> Tree:
    return {
        "datasource": {"plugin": "csv", "options": {"path": "in.csv"}},
        "sinks": {"out": {"plugin": "csv", "options": {"path": path}}},
        "output_sink": "out",
        "landscape": {"url": "sqlite:///runs/audit.db", "seal": {"key": "seal.pem"}},
        **sections,
    }


def no_objection(_landscape: LandscapeSettings, _path: Place) -> None:
    """Accept every file."""


def problems(
    tree: Tree, *, objection: Callable[[LandscapeSettings, Place], str | None] | None = no_objection
) -> list[str]:
    Path("settings.yaml").write_text(yaml.safe_dump(tree))
    try:
        load_settings(Path("settings.yaml"), environ={}, plugins=PluginManager.installed(), objection=objection)
    except SettingsError as error:
        return [str(problem) for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("runs/audit.db", "the audit database"),
        ("./runs/../runs/audit.db", "the audit database"),
        ("runs/audit.db-wal", "the audit database"),
        ("runs/audit.db-shm", "the audit database"),
        ("runs/audit.db-journal", "the audit database"),
        ("link/audit.db", "the audit database"),
        ("settings.yaml", "the settings file"),
        ("hard.yaml", "the settings file"),
        (".env", "the file .env of secrets"),
        ("seal.pem", "a key"),
    ],
)
@pytest.mark.parametrize("exists", [False, True])
def test_no_sink_writes_to_a_protected_file(path: str, what: str, exists: bool) -> None:
    Path("runs").mkdir()
    Path("link").symlink_to("runs")
    if path == "hard.yaml":
        Path("settings.yaml").touch()
        Path("hard.yaml").hardlink_to("settings.yaml")
    elif exists and not Path(path).exists():
        Path(path).write_text("content")
    expected = [f"sinks.out.options.path: {Path(path)}: is {what}, {TOUCH}"]
    assert problems(settings(path)) == expected
    assert problems(settings(path), objection=None) == expected


@pytest.mark.parametrize("path", ["trail.nt", "trail"])
def test_triples_cannot_be_signed(path: str) -> None:
    tree = settings()
    form = {} if path == "trail.nt" else {"format": "nt"}
    tree["landscape"]["export"] = {"enabled": True, "path": path, "sign": True, **form}
    problem = "expected false, as the format nt has no place for signatures: use another format, or sign: false"
    assert problems(tree) == [f"landscape.export.sign: {problem}"]
    tree["landscape"]["export"]["sign"] = False
    assert problems(tree) == []


@pytest.mark.parametrize(
    ("export", "location"),
    [
        ({"path": "runs/audit.db", "format": "jsonl"}, "landscape.export.path"),
        ({"sink": "trail", "format": "jsonl"}, "sinks.trail.options.path"),
        ({"path": "runs/audit.db", "format": "bag"}, "landscape.export.path"),
    ],
)
def test_no_export_writes_to_a_protected_file(export: Tree, location: str) -> None:
    tree = settings()
    tree["sinks"]["trail"] = {"plugin": "json", "options": {"path": "runs/audit.db"}}
    if "sink" not in export:
        del tree["sinks"]["trail"]
    tree["landscape"]["export"] = {"enabled": True, **export}
    assert problems(tree) == [f"{location}: runs/audit.db: is the audit database, {TOUCH}"]


def database_sink(url: str) -> Tree:
    tree = settings()
    tree["sinks"]["out"] = {"plugin": "database", "options": {"url": url, "table": "people"}}
    return tree


@pytest.mark.parametrize("url", ["sqlite:///runs/audit.db", "sqlite:///./runs/audit.db", "sqlite+pysqlite:///link.db"])
def test_no_database_sink_writes_into_the_audit_database(url: str) -> None:
    Path("runs").mkdir()
    Path("link.db").symlink_to("runs/audit.db")
    (problem,) = problems(database_sink(url))
    assert problem.startswith("sinks.out.options.url: ")
    assert problem.endswith(f"is the audit database, {TOUCH}")


@pytest.mark.parametrize(
    ("sink", "is_refused"),
    [
        ("postgresql+psycopg://other@host/audit", True),
        ("postgresql://HOST:5432/audit?connect_timeout=3", True),
        ("postgresql+psycopg://host/rows", False),
        ("postgresql+psycopg://host:5433/audit", False),
        ("postgresql+psycopg://elsewhere/audit", False),
        ("postgresql+psycopg://host/audit?options=-csearch_path%3Drows", False),
    ],
)
def test_no_database_sink_writes_into_the_audit_database_on_a_server(sink: str, is_refused: bool) -> None:
    tree = database_sink(sink)
    tree["landscape"] = {"url": "postgresql+psycopg://audit@host/audit"}
    expected = (
        "sinks.out.options.url: is the audit database, which no sink may write to: name another database or schema"
    )
    assert problems(tree) == ([expected] if is_refused else [])


def test_an_audit_database_that_is_not_used_is_in_nobodys_way() -> None:
    Path("bag").mkdir()
    Path("bag/bagit.txt").touch()
    tree = database_sink("postgresql+psycopg://other@host/audit")
    for url in ("postgresql+psycopg://audit@host/audit", "sqlite:///bag/audit.db"):
        tree["landscape"] = {"url": url, "enabled": False}
        assert problems(tree) == []


@pytest.mark.parametrize("path", ["settings.yaml", ".env", "seal.pem"])
def test_a_source_may_read_what_no_output_may_touch(path: str) -> None:
    tree = settings()
    tree["datasource"]["options"]["path"] = path
    assert problems(tree) == []


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("{run}.html", "unknown placeholder {run}: expected one of {run_id}, {date}; write '{{' for a brace"),
        ("pages/", "pages/: names a directory, and the output is a file: leave the slash out"),
        ("settings.yaml", f"settings.yaml: is the settings file, {TOUCH}"),
        ("in.csv", "the file 'in.csv' is also that of datasource: give each its own"),
        ("s3://b/out/rows.csv", None),
        ("{date}/{run_id}.html", None),
    ],
)
def test_an_obstacle_to_the_report_is_a_problem(path: str, problem: str | None) -> None:
    tree = settings()
    tree["landscape"]["report"] = {"path": path}
    found = problems(tree, objection=None)
    assert [each.removesuffix("; did you mean 'run_id'?") for each in found] == (
        [] if problem is None else [f"landscape.report.path: {problem}"]
    )


def test_a_database_that_cannot_be_read_is_no_database_to_write_to(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("rows.db").write_text("a file")
    opened = Path.open

    def refuse(path: Path, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401  as the method's
        if path.name == "rows.db":
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    expected = "sinks.out.options.url: rows.db: cannot be read: Permission denied"
    assert problems(database_sink("sqlite:///rows.db")) == [expected]


@pytest.mark.parametrize("force", [False, True])
def test_force_is_for_files_that_an_objection_protects(*, force: bool) -> None:
    Path("theirs.csv").write_text("mine")
    found = []
    try:
        load_settings(
            settings("theirs.csv"),
            environ={},
            plugins=PluginManager.installed(),
            objection=lambda _, path: f"is not ours: {path}",
            force=force,
        )
    except SettingsError as error:
        found = [str(problem) for problem in error.problems]
    assert found == ([] if force else ["sinks.out.options.path: theirs.csv: is not ours: theirs.csv"])


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        ({"datasource": "s3://b/*.csv", "out": "s3://b/x.csv"}, ["sinks.out.options.path: the object 's3://b/x.csv'"]),
        ({"datasource": "s3://b/*.csv", "out": "s3://b/a/x.csv"}, []),
        ({"datasource": "s3://b/*.csv", "out": "s3://b/x.json"}, []),
        ({"out": "s3://b/x.csv", "export": "s3://b/x.csv"}, ["landscape.export.path: the object 's3://b/x.csv'"]),
        (
            {"out": "s3://b/p", "store": "s3://b/p"},
            ["payload_store.base_path: the address 's3://b/p' is also that of sinks.out: give each its own"],
        ),
        (
            {"out": "s3://b/p", "store": "s3://b/p/q"},
            ["payload_store.base_path: the address 's3://b/p/q' lies below that of sinks.out: give each its own"],
        ),
        ({"out": "s3://b/p/q", "store": "s3://b/p"}, []),
        ({"out": "s3://b/p", "store": "s3://b/pq"}, []),
        ({"limits": "s3://b/p"}, ["rate_limit.persistence_path: expected a local path, got the address of an object"]),
    ],
    ids=str,
)
def test_objects_are_as_apart_as_files(tree: dict[str, str], expected: list[str]) -> None:
    given = settings(tree.get("out", "out.csv"))
    given["datasource"]["options"]["path"] = tree.get("datasource", "in.csv")
    given["payload_store"] = {"base_path": tree.get("store", "payloads")}
    given["rate_limit"] = {"persistence_path": tree.get("limits")}
    given["landscape"]["export"] = {"path": tree["export"], "format": "csv"} if "export" in tree else {}
    found = problems(given, objection=None)
    assert [each[: len(text)] for each, text in zip(found, expected, strict=True)] == expected


@pytest.mark.parametrize(
    ("schema", "is_marked", "expected"),
    [
        ({"mode": "strict", "fields": ["id: int"]}, False, []),
        ({"mode": "free", "fields": ["id: int"]}, True, []),
        ({"mode": "observed"}, True, []),
        (
            {"mode": "strict", "fields": ["id: integer"]},
            True,
            ["sinks.out.options.schema: field 'id: integer' is not understood: "],
        ),
    ],
    ids=str,
)
def test_only_a_strict_schema_refuses_error_fields(schema: Tree, is_marked: bool, expected: list[str]) -> None:
    tree = settings()
    tree["sinks"]["out"]["error_fields"] = is_marked
    tree["sinks"]["out"]["options"]["schema"] = schema
    found = problems(tree)
    assert [each[: len(text)] for each, text in zip(found, expected, strict=True)] == expected


def test_no_sink_writes_the_table_of_a_lookup() -> None:
    table = {"plugin": "csv", "options": {"path": ["rates.csv", "out/rows.csv"]}}
    tree = settings()
    tree["row_plugins"] = [{"plugin": "lookup", "options": {"table": table, "match": {"a": "b"}, "add": {"c": "d"}}}]
    expected = "the file 'out/rows.csv' is also that of row_plugins[0]: give each its own"
    assert problems(tree) == [f"sinks.out.options.path: {expected}"]


@pytest.mark.parametrize(
    ("source", "table", "sink", "refused"),
    [
        (["s3://b/in.csv", "s3://b/more.csv"], "s3://b/rates.csv", "out.csv", {}),
        (["s3://b/in.csv", "s3://b/in.csv"], "s3://b/rates.csv", "out.csv", {"datasource": "s3://b/in.csv"}),
        (["s3://b/in.csv", "s3://b/*.csv"], "s3://c/rates.csv", "out.csv", {"datasource": "s3://b/*.csv"}),
        (["s3://b/in.csv"], "s3://b/in.csv", "out.csv", {}),
        (["s3://b/*.csv"], "s3://b/in.csv", "out.csv", {}),
        (["s3://b/*.csv"], "s3://c/rates.csv", "s3://b/out.csv", {"datasource": "s3://b/out.csv"}),
        (["s3://b/in.csv"], "s3://b/rates.csv", "s3://b/in.csv", {"datasource": "s3://b/in.csv"}),
        (["s3://b/in.csv"], "s3://b/rates.csv", "s3://b/rates.csv", {"row_plugins[0]": "s3://b/rates.csv"}),
    ],
)
@pytest.mark.usefixtures("object_server")
def test_an_object_is_read_once_by_each_and_written_by_one(
    source: list[str], table: str, sink: str, refused: dict[str, str]
) -> None:
    tree = settings(sink)
    tree["datasource"]["options"]["path"] = source
    rates = {"plugin": "csv", "options": {"path": table}}
    tree["row_plugins"] = [{"plugin": "lookup", "options": {"table": rates, "match": {"a": "b"}, "add": {"c": "d"}}}]
    found = [problem.partition(": ")[2] for problem in problems(tree)]
    assert found == [
        f"the object {text!r} is also that of {owner}: give each its own" for owner, text in refused.items()
    ]


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("runs/audit.db", f"runs/audit.db: is the audit database, {TOUCH}"),
        ("settings.yaml", f"settings.yaml: is the settings file, {TOUCH}"),
        ("in.csv", "the file 'in.csv' is also that of datasource: give each its own"),
        ("out/rows.csv", "the file 'out/rows.csv' is also that of sinks.out: give each its own"),
        ("notes.txt", "notes.txt: expected a SQLite database, or nothing yet: name another file"),
        ("runs", "runs: expected the path of a file, got that of a directory"),
        ("new/limits.db", None),
    ],
)
def test_rate_limits_have_a_file_of_their_own(path: str, problem: str | None) -> None:
    Path("runs").mkdir()
    Path("notes.txt").write_text("mine")
    found = problems(settings(rate_limit={"persistence_path": path}))
    assert found == ([] if problem is None else [f"rate_limit.persistence_path: {problem}"])


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("in.csv", "in.csv: expected the path of a directory, got that of a file"),
        ("in.csv/store", "in.csv/store: its directory cannot be made: {here}/in.csv is a file"),
        ("new/store", None),
        ("runs", None),
        ("bag", "bag: is a bag, to which nothing may be added: name another directory"),
        ("bag/store", "bag/store: lies in the bag {here}/bag, to which nothing may be added: name another path"),
    ],
)
def test_the_payload_store_is_a_directory(path: str, problem: str | None) -> None:
    Path("runs").mkdir()
    Path("runs/file").touch()
    Path("bag").mkdir()
    Path("bag/bagit.txt").touch()
    found = problems(settings(payload_store={"base_path": path}))
    expected = [] if problem is None else [f"payload_store.base_path: {problem.format(here=Path.cwd())}"]
    assert found == expected


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("out/rows.csv", "the path 'out/rows.csv' is also that of sinks.out: give each its own"),
        ("out/rows.csv/store", "the path 'out/rows.csv/store' lies below that of sinks.out: give each its own"),
        ("trail/store", "the path 'trail/store' lies below that of landscape.export: give each its own"),
        ("new/limits.db", "the path 'new/limits.db' is also that of rate_limit: give each its own"),
        ("new/limits.db-wal", "the path 'new/limits.db-wal' is also that of rate_limit: give each its own"),
        ("runs/audit.db", f"runs/audit.db: is the audit database, {TOUCH}"),
        ("runs/audit.db-journal", f"runs/audit.db-journal: is the audit database, {TOUCH}"),
        ("runs/audit.db/store", f"runs/audit.db/store: lies below the audit database, {TOUCH}"),
        (".env", f".env: is the file .env of secrets, {TOUCH}"),
        ("out", None),
        ("new", None),
    ],
)
def test_the_payload_store_is_apart_from_other_files(path: str, problem: str | None) -> None:
    tree = settings(payload_store={"base_path": path}, rate_limit={"persistence_path": "new/limits.db"})
    tree["landscape"]["export"] = {"enabled": True, "path": "trail", "format": "csv"}
    assert problems(tree) == ([] if problem is None else [f"payload_store.base_path: {problem}"])


@pytest.mark.parametrize(
    ("sections", "is_refused"),
    [
        ({}, False),
        ({"payload_store": {}}, True),
        ({"row_plugins": [{"plugin": "llm", "options": QUESTION}]}, True),
        ({"row_plugins": [{"plugin": "passthrough"}]}, False),
    ],
)
def test_the_payload_store_is_checked_where_it_is_used(sections: Tree, is_refused: bool) -> None:
    Path(".elspeth").write_text("mine")
    problem = f".elspeth/payloads: its directory cannot be made: {Path.cwd()}/.elspeth is a file"
    assert problems(settings(**sections)) == ([f"payload_store.base_path: {problem}"] if is_refused else [])


LONGEST = 255
"""Bytes of the longest name on almost all file systems."""


@pytest.mark.parametrize("name", ["x" * LONGEST, "é" * 127 + "x", "{run_id}" + "x" * (LONGEST - 32)])
def test_a_sink_may_have_the_longest_name(name: str) -> None:
    assert problems(settings(f"out/{name}")) == []
    (problem,) = problems(settings(f"out/{name}x"), objection=None)
    assert problem.startswith("sinks.out.options.path: out/")
    assert problem.endswith("the name has 256 bytes: expected at most 255")


def test_a_file_of_the_longest_name_is_staged(tmp_path: Path) -> None:
    sink = StagedFile(tmp_path / ("x" * LONGEST))
    sink.open("0" * 32)
    sink.discard()


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("in.csv", "the file 'in.csv' is also that of datasource: give each its own"),
        ("link.csv", "the file 'link.csv' is also that of datasource: give each its own"),
        ("hard.csv", "the file 'hard.csv' is also that of datasource: give each its own"),
        ("in.csv/out.csv", "the path 'in.csv/out.csv' lies below that of datasource: give each its own"),
        ("fifo", "fifo: expected the path of a file, got that of a FIFO"),
        ("device", "device: expected the path of a file, got that of a device"),
        ("nowhere", "nowhere: is a symbolic link that leads nowhere: name a file"),
        ("bag/out.csv", "bag/out.csv: lies in the bag {here}/bag, to which nothing may be added: name another path"),
        ("other/x.csv", "other/x.csv: its directory cannot be made: {here}/other is a file"),
        (
            "out-{day}.csv",
            "unknown placeholder {{day}}: expected one of {{run_id}}, {{date}}; write '{{{{' for a brace",
        ),
        ("out-{{day}}-{date}-{run_id}.csv", None),
    ],
)
def test_an_obstacle_to_a_sink_is_a_problem(path: str, problem: str | None) -> None:
    Path("link.csv").symlink_to("in.csv")
    Path("hard.csv").hardlink_to("in.csv")
    Path("other").write_text("mine")
    os.mkfifo("fifo")
    Path("device").symlink_to("/dev/null")
    Path("nowhere").symlink_to("gone")
    Path("bag").mkdir()
    Path("bag/bagit.txt").touch()
    expected = [] if problem is None else [f"sinks.out.options.path: {problem.format(here=Path.cwd())}"]
    assert problems(settings(path)) == expected


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("sqlite:///notes.txt", "notes.txt: expected a SQLite database, or nothing yet: name another file"),
        (
            "sqlite:///bag/rows.db",
            "bag/rows.db: lies in the bag {here}/bag, to which nothing may be added: name another path",
        ),
        ("sqlite:///notes.txt/rows.db", "notes.txt/rows.db: its directory cannot be made: {here}/notes.txt is a file"),
        ("sqlite:///in.csv", "the file 'in.csv' is also that of datasource: give each its own"),
        ("sqlite:///settings.yaml", f"settings.yaml: is the settings file, {TOUCH}"),
        ("sqlite:///empty.db", None),
    ],
)
def test_an_obstacle_to_a_database_is_a_problem(url: str, problem: str | None) -> None:
    Path("notes.txt").write_text("mine")
    Path("empty.db").touch()
    Path("bag").mkdir()
    Path("bag/bagit.txt").touch()
    expected = [] if problem is None else [f"sinks.out.options.url: {problem.format(here=Path.cwd())}"]
    assert problems(database_sink(url)) == expected


def test_the_audit_database_cannot_be_created_in_a_bag() -> None:
    Path("bag").mkdir()
    Path("bag/bagit.txt").touch()
    expected = f"bag/audit.db: lies in the bag {Path.cwd()}/bag, to which nothing may be added: name another path"
    assert problems(settings(landscape={"url": "sqlite:///bag/audit.db"})) == [f"landscape.url: {expected}"]


def test_a_database_that_is_a_source_is_not_an_output() -> None:
    tree = settings("people.db")
    tree["datasource"] = {"plugin": "sql", "options": {"url": "sqlite:///people.db", "query": "SELECT 1"}}
    assert problems(tree) == [
        "sinks.out.options.path: the file 'people.db' is also that of datasource: give each its own"
    ]
    tree["sinks"]["out"]["options"]["path"] = "people.db-wal"
    assert problems(tree) == [
        "sinks.out.options.path: the file 'people.db-wal' is also that of datasource: give each its own"
    ]
    tree["sinks"]["out"] = {"plugin": "database", "options": {"url": "sqlite:///people.db", "table": "copies"}}
    assert problems(tree) == []


@pytest.mark.parametrize(
    ("source", "sink", "problem"),
    [
        (["a.csv", "in.csv"], "./in.csv", "the file './in.csv' is also that of datasource: give each its own"),
        ("out/*.csv", "out/x.csv", "'out/x.csv' names a file that 'out/*.csv' of datasource names, too: give each"),
        (["a.csv", "**/x.*"], "out/x.csv", "'out/x.csv' names a file that '**/x.*' of datasource names, too"),
        ("in/*.csv", "link/x.csv", "'link/x.csv' names a file that 'in/*.csv' of datasource names, too: give each"),
        ("in/*.csv", "out/x.csv", None),
        ("-", "-", None),
    ],
)
def test_no_sink_writes_what_a_source_would_read(source: object, sink: str, problem: str | None) -> None:
    Path("in").mkdir()
    Path("link").symlink_to("in")
    tree = settings(sink)
    tree["datasource"]["options"]["path"] = source
    found = problems(tree)
    assert [each.startswith(f"sinks.out.options.path: {problem}") for each in found] == [True] * (problem is not None)


@pytest.mark.parametrize("path", ["-", ["-"]])
def test_only_one_source_reads_standard_input(path: object) -> None:
    tree = settings()
    source = tree.pop("datasource") | {"on_success": "rows"}
    source["options"]["path"] = path
    tree["sources"] = {"first": source, "second": source, "third": source}
    expected = "standard input can be read only once, and sources.first reads it: name a file"
    found = [each for each in problems(tree) if expected in each]
    assert found == [f"sources.{name}.options.path: {expected}" for name in ("second", "third")]


def test_a_source_does_not_name_a_file_twice() -> None:
    tree = settings()
    tree["datasource"]["options"]["path"] = ["a.csv", "b.csv", "./a.csv"]
    assert problems(tree) == [
        "datasource.options.path[2]: the file './a.csv' is also that of datasource: give each its own"
    ]


def test_the_file_of_a_sink_cannot_be_a_directory() -> None:
    expected = "sinks.out.options.path: out/rows/: names a directory, and the output is a file: leave the slash out"
    assert problems(settings("out/rows/")) == [expected]


def test_outputs_cannot_contain_each_other() -> None:
    tree = settings("trail/rows.csv")
    tree["landscape"]["export"] = {"enabled": True, "path": "trail", "format": "csv"}
    assert problems(tree) == ["landscape.export.path: the path 'trail' lies above that of sinks.out: give each its own"]


@pytest.mark.parametrize(
    ("export", "problem"),
    [
        (
            {"path": "trail.json", "format": "jsonl"},
            "trail.json: the name ends in .json, as of the format json, and the format",
        ),
        (
            {"path": "trail.zip", "format": "csv"},
            "trail.zip: the name ends in .zip, as of the format bag, and the format is csv",
        ),
        (
            {"path": "trail.xml"},
            "trail.xml: no format has this suffix: give a format with landscape.export.format",
        ),
        ({"path": "trail.d", "format": "csv"}, None),
        (
            {"path": "trail/", "format": "jsonl"},
            "trail/: names a directory, and the format jsonl is a file: change one",
        ),
        ({"path": "trail/"}, None),
        ({}, "is required when the export is enabled: where it is written to"),
        ({"path": "{run}.zip"}, "unknown placeholder {run}: expected one of {run_id}, {date}"),
        ({"path": "bag", "format": "bag"}, "bag: exists already, and evidence is never overwritten: name another path"),
        ({"path": "notes.jsonl"}, "notes.jsonl: is not an export, which a new one may replace"),
        ({"path": "in.csv/trail.jsonl"}, "the path 'in.csv/trail.jsonl' lies below that of datasource"),
        ({"path": "notes.jsonl/trail"}, "notes.jsonl/trail: its directory cannot be made: "),
        ({"path": "bags/{date}/{run_id}", "format": "bag"}, None),
        ({"path": "trail.parquet"}, None),
        ({"path": "trail.jsonl.zst"}, None),
        ({"path": "trail.csv", "compress": "gzip"}, None),
        ({"path": "trail.gz"}, "trail.gz: the name ends in .gz, as of one compressed file, and the format csv is none"),
        (
            {"path": "trail.json.gz", "compress": "zstd"},
            "trail.json.gz: the name ends in .gz, as of the compression gzip, and the compression is zstd",
        ),
    ],
)
def test_an_obstacle_to_the_export_is_a_problem(export: Tree, problem: str | None) -> None:
    Path("bag").mkdir()
    Path("notes.jsonl").write_text("mine")
    tree = settings()
    tree["landscape"]["export"] = {"enabled": True, **export}
    found = problems(tree)
    assert [each[: len(f"landscape.export.path: {problem}")] for each in found] == (
        [] if problem is None else [f"landscape.export.path: {problem}"]
    )


@pytest.mark.parametrize(
    ("export", "problem"),
    [
        ({"path": "{run_id}.zip", "compress": "gzip"}, "gzip: a bag is compressed as a zip file: give it a name that"),
        ({"path": "trail.parquet", "compress": "zstd"}, "zstd: the files of the format parquet are always compressed"),
        ({"path": "trail.json", "compress": "xz"}, "expected 'gzip' or 'zstd', got 'xz'"),
        ({"path": "trail.json", "compress": "zstd"}, "zstd: needs no.such_module, which is not installed: in a check"),
    ],
)
def test_unsuitable_compression_of_an_export_is_a_problem(
    export: Tree, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elspeth.outputs.compression._ZSTD_MODULE", "no.such_module")
    tree = settings()
    tree["landscape"]["export"] = {"enabled": True, **export}
    (found,) = problems(tree)
    assert found.startswith(f"landscape.export.compress: {problem}")


@pytest.mark.parametrize(
    ("export", "enabled"),
    [
        ({"path": "trail.jsonl"}, True),
        ({"path": "trail.jsonl", "enabled": False}, False),
        ({"format": "jsonl"}, False),
        ({"sink": "trail"}, False),
        ({}, False),
    ],
)
def test_an_export_with_a_path_is_made_unless_it_is_disabled(export: Tree, *, enabled: bool) -> None:
    assert ExportSettings.model_validate(export).enabled == enabled


def test_an_export_has_only_one_destination() -> None:
    tree = settings()
    tree["sinks"]["trail"] = {"plugin": "json", "options": {"path": "trail.json"}}
    tree["landscape"]["export"] = {"enabled": True, "path": "other.json", "sink": "trail"}
    assert problems(tree) == ["landscape.export.path: is given, and so is the sink 'trail': give one of them"]


def test_a_problem_shows_the_placeholder_of_the_run() -> None:
    Path("in").write_text("a file")
    tree = settings()
    tree["landscape"]["export"] = {"path": "in/{run_id}.zip"}
    long = "{run_id}" + "x" * 250
    tree["landscape"]["report"] = {"path": long}
    obstacle, length = sorted(problems(tree))
    assert obstacle.startswith("landscape.export.path: in/{run_id}.zip: ")
    assert length.startswith(f"landscape.report.path: {long}: the name has ")


def test_all_problems_of_paths_are_reported_at_once() -> None:
    tree = settings(".env", payload_store={"base_path": "in.csv"}, rate_limit={"persistence_path": "settings.yaml"})
    tree["sinks"]["x"] = {"plugin": "csv", "options": {"path": "out-{x}.csv"}}
    tree["sinks"]["y"] = {"plugin": "csv", "options": {"path": "theirs.csv"}}
    tree["landscape"]["export"] = {"enabled": True, "path": "seal.pem", "format": "json"}
    Path("theirs.csv").write_text("mine")
    found = problems(tree, objection=lambda _, path: f"is not ours: {path}")
    assert [each.partition(": ")[0] for each in found] == [
        "sinks.x.options.path",
        "sinks.out.options.path",
        "landscape.export.path",
        "rate_limit.persistence_path",
        "payload_store.base_path",
        "sinks.y.options.path",
    ]
    assert "sinks.y.options.path: theirs.csv: is not ours: theirs.csv" in found
    assert "sinks.y.options.path" not in " ".join(problems(tree))

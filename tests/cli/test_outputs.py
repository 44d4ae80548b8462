"""Outputs that cannot be written are problems of the settings."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
import yaml

from elspeth.cli import main
from elspeth.core.landscape.database import LandscapeDB

Captured = pytest.CaptureFixture[str]
Tree = dict[str, Any]

pytestmark = pytest.mark.usefixtures("own_directory")

UNKNOWN = "is not an output that the audit database names: move it away, or use --force"


@pytest.fixture(autouse=True)
def tree(own_directory: Path) -> Tree:
    """Return settings of a pipeline with two sinks."""
    (own_directory / "in.csv").write_text("id\n1\n")
    return {
        "datasource": {"plugin": "csv", "options": {"path": "in.csv", "on_validation_failure": "invalid"}},
        "sinks": {
            "out": {"plugin": "csv", "options": {"path": "out/rows.csv"}},
            "invalid": {"plugin": "json", "options": {"path": "out/invalid.json"}},
        },
        "output_sink": "out",
        "landscape": {"url": "sqlite:///runs/audit.db"},
    }


def run_command(capsys: Captured, tree: Tree, *command: str) -> tuple[int, str]:
    """Run a command; return its exit code and errors."""
    Path("s.yaml").write_text(yaml.safe_dump(tree))
    capsys.readouterr()
    code = main([command[0], "-s", "s.yaml", *command[1:]])
    return code, capsys.readouterr().err


@pytest.mark.parametrize(
    "command", [("validate",), ("run",), ("run", "--dry-run"), ("run", "-x"), ("run", "-x", "--force")]
)
@pytest.mark.parametrize(
    ("path", "what"),
    [("runs/audit.db", "the audit database"), ("s.yaml", "the settings file"), (".env", "the file .env of secrets")],
)
def test_a_sink_on_a_protected_file_is_a_problem_of_the_settings(
    capsys: Captured, tree: Tree, path: str, what: str, command: tuple[str, ...]
) -> None:
    assert run_command(capsys, tree, "run", "-x")[0] == 0
    before = Path("runs/audit.db").read_bytes()
    tree["sinks"]["out"]["options"]["path"] = path
    problem = f"sinks.out.options.path: {path}: is {what}, which no output may touch: name another path"
    assert run_command(capsys, tree, *command) == (2, f"error: s.yaml: 1 problem\n  {problem}\n")
    assert Path("runs/audit.db").read_bytes() == before
    assert not Path(".env").exists()


@pytest.mark.parametrize("command", [("validate",), ("run",), ("run", "-x")])
def test_foreign_files_are_reported_all_at_once(capsys: Captured, tree: Tree, command: tuple[str, ...]) -> None:
    Path("out").mkdir()
    for name in ("rows.csv", "invalid.json"):
        (Path("out") / name).write_text("mine")
    code, err = run_command(capsys, tree, *command)
    problems = [
        f"  sinks.invalid.options.path: out/invalid.json: {UNKNOWN}",
        f"  sinks.out.options.path: out/rows.csv: {UNKNOWN}",
    ]
    assert (code, err.splitlines()) == (2, ["error: s.yaml: 2 problems", *problems])
    assert not Path("runs").exists()
    assert [(Path("out") / name).read_text() for name in ("rows.csv", "invalid.json")] == ["mine", "mine"]


def test_force_replaces_foreign_files_and_the_next_run_needs_none(capsys: Captured, tree: Tree) -> None:
    Path("out").mkdir()
    Path("out/rows.csv").write_text("mine")
    assert run_command(capsys, tree, "validate", "--force") == (0, "s.yaml: valid\n")
    assert run_command(capsys, tree, "run", "-x", "--force") == (0, "")
    for _ in range(2):
        assert run_command(capsys, tree, "validate") == (0, "s.yaml: valid\n")
        assert run_command(capsys, tree, "run", "-x") == (0, "")
    Path("out/rows.csv").write_text("changed")
    assert run_command(capsys, tree, "validate")[0] == 2


def test_a_run_reports_an_unreadable_database(capsys: Captured, tree: Tree) -> None:
    assert run_command(capsys, tree, "run", "-x")[0] == 0
    Path("runs/audit.db").write_bytes(b"not a database, but long enough to look at its first page")
    assert run_command(capsys, tree, "validate") == (0, "s.yaml: valid\n")
    code, err = run_command(capsys, tree, "run", "-x")
    assert code == 1
    assert "file is not a database" in err


@pytest.mark.parametrize("command", [("validate",), ("run", "-x")])
def test_an_existing_bag_is_found_before_the_first_row(capsys: Captured, tree: Tree, command: tuple[str, ...]) -> None:
    tree["landscape"]["export"] = {"enabled": True, "path": "evidence", "format": "bag"}
    assert run_command(capsys, tree, "run", "-x") == (0, "")
    before = Path("out/rows.csv").stat().st_mtime_ns
    code, err = run_command(capsys, tree, *command)
    problem = "landscape.export.path: evidence: exists already, and evidence is never overwritten: name another path"
    assert (code, err) == (2, f"error: s.yaml: 1 problem\n  {problem}\n")
    assert Path("out/rows.csv").stat().st_mtime_ns == before
    # Commands that only read the settings are not affected.
    assert run_command(capsys, tree, "purge", "-x") == (0, "")


def test_a_scheduled_pipeline_seals_every_run(capsys: Captured, tree: Tree) -> None:
    tree["landscape"]["export"] = {"enabled": True, "path": "bags/{date}/{run_id}.zip"}
    tree["sinks"]["out"]["options"]["path"] = "out/{date}.csv"
    for _ in range(2):
        assert run_command(capsys, tree, "run", "-x") == (0, "")
    with LandscapeDB.from_url("sqlite:///runs/audit.db") as db, db.connection() as connection:
        found = connection.exec_driver_sql("SELECT run_id, date(started_at) FROM runs").all()
    assert {str(path) for path in Path("bags").rglob("*.zip")} == {f"bags/{day}/{run_id}.zip" for run_id, day in found}
    assert {path.name for path in Path("out").glob("*.csv")} == {f"{day}.csv" for _, day in found}
    for path in Path("bags").rglob("*.zip"):
        assert main(["verify", str(path)]) == 1
        assert "CONSISTENT BUT UNSIGNED" in capsys.readouterr().err


def test_the_plan_says_where_the_export_goes(capsys: Captured, tree: Tree) -> None:
    tree["landscape"]["export"] = {"enabled": True, "path": "bags/{run_id}.zip"}
    Path("s.yaml").write_text(yaml.safe_dump(tree))
    assert main(["validate", "-s", "s.yaml"]) == 0
    assert "export  bag bags/{run_id}.zip, not signed\n" in capsys.readouterr().out


def test_an_unknown_placeholder_is_a_problem(capsys: Captured, tree: Tree) -> None:
    tree["sinks"]["out"]["options"]["path"] = "out/{runid}.csv"
    code, err = run_command(capsys, tree, "validate")
    problem = "unknown placeholder {runid}: expected one of {run_id}, {date}; write '{{' for a brace"
    assert (code, err) == (
        2,
        f"error: s.yaml: 1 problem\n  sinks.out.options.path: {problem}; did you mean 'run_id'?\n",
    )


@pytest.mark.parametrize("name", ["other.db-wal", ".out.csv.0123456789abcdef0123456789abcdef.partial"])
def test_force_does_not_replace_files_of_another_database_or_run(capsys: Captured, tree: Tree, name: str) -> None:
    open_elsewhere = sqlite3.connect("other.db", isolation_level=None)
    open_elsewhere.execute("PRAGMA journal_mode = WAL")
    open_elsewhere.execute("CREATE TABLE t (a)")
    Path(".out.csv.0123456789abcdef0123456789abcdef.partial").write_bytes(b"id\n1\n")
    content = Path(name).read_bytes()
    tree["sinks"]["out"]["options"]["path"] = name
    code, err = run_command(capsys, tree, "run", "-x", "--force")
    assert (code, err.startswith(f"error: s.yaml: 1 problem\n  sinks.out.options.path: {name}: ")) == (2, True)
    assert Path(name).read_bytes() == content
    open_elsewhere.close()

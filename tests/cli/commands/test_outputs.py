"""`elspeth outputs` compares files with what was recorded."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from elspeth.cli import main
from elspeth.cli.commands.outputs import _table
from elspeth.core.landscape.queries.outputs import RecordedOutput

SETTINGS = """
datasource: {plugin: csv, options: {path: in.csv, on_validation_failure: bad}}
gates:
  - {name: size, condition: "row['id'] == 'x'", routes: {"true": table, "false": continue}}
output_sink: out
sinks:
  out: {plugin: csv, options: {path: out.csv}}
  bad: {plugin: jsonl, options: {path: "bad-{date}-{run_id}.jsonl"}}
  table: {plugin: database, options: {url: "sqlite:///target.db", table: t}}
landscape: {url: "sqlite:///audit.db"}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run a pipeline twice, and export the first run."""
    directory = tmp_path_factory.mktemp("outputs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        Path("settings.yaml").write_text(SETTINGS)
        Path("in.csv").write_text("id\n1\nx\n")
        assert main(["run", "-s", "settings.yaml", "-x", "--no-dotenv"]) == 0
        shutil.copy("out.csv", "first.csv")
        for name in ("trail.jsonl", "bag"):
            form = [] if "." in name else ["--format", name]
            assert main(["export", "latest", "-d", "audit.db", "-o", name, *form]) == 0
        Path("in.csv").write_text("id\n2\nx\n")
        assert main(["run", "-s", "settings.yaml", "-x", "--no-dotenv"]) == 0
    return directory


@pytest.fixture
def directory(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """Change to a copy of the directory."""
    place = tmp_path / "copy"
    shutil.copytree(made, place)
    monkeypatch.chdir(place)
    capsys.readouterr()
    return place


def listed(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> list[dict[str, Any]]:
    assert main(["outputs", *arguments, "--json"]) == code
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["outputs"]
    return found


@pytest.mark.usefixtures("directory")
def test_unchanged_outputs_are_reported_as_unchanged(capsys: pytest.CaptureFixture[str]) -> None:
    bad, out, table = listed(capsys, "-d", "audit.db", "--check")
    (published,) = (path for path in Path().glob("bad-*") if bad["run_id"] in path.name)
    assert (bad["sink"], bad["path"], bad["content_hash"], bad["state"]) == ("bad", str(published), None, "unchanged")
    content = Path("out.csv").read_bytes()
    assert (out["sink"], out["path"], out["kind"], out["state"]) == ("out", "out.csv", "csv", "unchanged")
    assert (out["size_bytes"], out["content_hash"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert (table["sink"], table["kind"], table["state"]) == ("table", "database", "not checked")


UNCHECKED = (
    "a table does not say which of its rows are from which run, and may hold others; its database keeps number and"
    " SHA-256 of the rows of each run in elspeth_publications"
)


@pytest.mark.usefixtures("directory")
def test_changed_and_missing_outputs_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    bad = listed(capsys, "-d", "audit.db")[0]
    Path("out.csv").unlink()
    Path(bad["path"]).write_text("{}\n")
    assert main(["outputs", "latest", "-d", "audit.db", "--check"]) == 1
    output, errors = capsys.readouterr()
    assert [line.split()[-1] for line in output.splitlines()] == ["state", "changed", "missing", "checked"]
    assert errors.splitlines() == [
        f"{bad['path']}: changed since run {bad['run_id']} wrote it",
        f"out.csv: missing since run {bad['run_id']} wrote it",
        f"sqlite:///target.db#t: not checked: {UNCHECKED}",
    ]


@pytest.mark.usefixtures("directory")
@pytest.mark.parametrize("export", ["trail.jsonl", "bag"])
def test_an_export_lists_the_same_outputs_as_the_database(capsys: pytest.CaptureFixture[str], export: str) -> None:
    run_id = json.loads(Path("trail.jsonl").read_text().partition("\n")[0])["run_id"]
    for check, code in [([], 0), (["--check"], 1)]:
        expected = listed(capsys, run_id, "-d", "audit.db", *check, code=code)
        assert listed(capsys, "--from", export, *check, code=code) == expected
    assert [each["state"] for each in expected] == ["unchanged", "changed", "not checked"]


@pytest.mark.usefixtures("directory")
def test_a_file_leads_to_the_run_that_wrote_it(capsys: pytest.CaptureFixture[str]) -> None:
    newest = listed(capsys, "-d", "audit.db")[1]
    assert listed(capsys, "--file", "out.csv", "-d", "audit.db") == [newest]
    (first,) = listed(capsys, "--file", "first.csv", "-d", "audit.db")
    assert first["run_id"] != newest["run_id"]
    assert listed(capsys, "--file", "first.csv", "--from", "bag") == [first]
    bad = listed(capsys, "-d", "audit.db")[0]
    assert listed(capsys, "--file", bad["path"], "-d", "audit.db") == [bad]


@pytest.mark.usefixtures("directory")
def test_a_file_that_no_run_wrote_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["outputs", "--file", "in.csv", "-d", "audit.db"]) == 1
    assert capsys.readouterr() == ("", "in.csv: no run that is recorded there wrote this file as it is now\n")
    assert main(["outputs", "--file", "none.csv", "-d", "audit.db"]) == 1
    assert capsys.readouterr() == ("", f"error: none.csv: {os.strerror(2)}\n")


@pytest.mark.usefixtures("directory")
def test_a_file_is_searched_for_in_all_runs(capsys: pytest.CaptureFixture[str]) -> None:
    problem = "--file: without RUN and --check: it searches all runs for one that wrote the file"
    for more in ("latest", "--check"):
        assert main(["outputs", more, "--file", "out.csv", "-d", "audit.db"]) == 2
        assert capsys.readouterr() == ("", f"error: {problem}\n")
    assert main(["outputs", "--file", "out.csv", "-d", "audit.db", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["file"], "run_id" in told) == ("out.csv", False)
    assert main(["outputs", "-d", "audit.db", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run_id"] == told["outputs"][0]["run_id"]


def test_an_output_without_rows_or_without_a_version_has_a_line_like_the_others() -> None:
    first = RecordedOutput(
        run_id="r",
        sink="out",
        kind="file",
        path="out.csv",
        content_hash="abc",
        size_bytes=1_200,
        recorded_at="",
        summary_hash=None,
        object_version="v1",
    )
    second = replace(first, path="b\x1b", content_hash=None, size_bytes=None, object_version=None)
    assert _table([first, second], {}).splitlines() == [
        "run  sink  path     size    sha256  version",
        "r    out   out.csv  1,200   abc     v1",
        "r    out   b\\x1b    0 rows",
    ]
    plain = replace(first, object_version=None)
    assert _table([plain], {plain: "unchanged"}).splitlines() == [
        "run  sink  path     size   sha256  state",
        "r    out   out.csv  1,200  abc     unchanged",
    ]

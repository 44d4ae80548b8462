"""Runs that leave a report."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy.exc import SQLAlchemyError

from elspeth.cli import main
from elspeth.contracts.errors import AuditIntegrityError
from elspeth.core.landscape.database import LandscapeError
from elspeth.engine.loading import RowLoader
from elspeth.report import writing

Captured = pytest.CaptureFixture[str]
Settings = dict[str, Any]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return settings whose every run leaves a report."""
    monkeypatch.chdir(tmp_path)
    Path("in.csv").write_text("id,kind\n1,x\n2,y\n")
    return {
        "datasource": {"plugin": "csv", "options": {"path": "in.csv"}},
        "sinks": {"rest": {"plugin": "csv", "options": {"path": "out/rest.csv"}}},
        "output_sink": "rest",
        "landscape": {"url": "sqlite:///audit.db", "report": {"path": "reports/{run_id}.html"}},
    }


def run(settings: Settings, *more: str) -> int:
    Path("settings.yaml").write_text(yaml.safe_dump(settings))
    return main(["run", "-s", "settings.yaml", "--execute", "--no-dotenv", *more])


def reports() -> list[str]:
    return sorted(path.name for path in Path("reports").glob("*"))


def test_every_run_leaves_a_report_of_its_own(settings: Settings, capsys: Captured) -> None:
    assert [run(settings), run(settings, "--json")] == [0, 0]
    output, errors = capsys.readouterr()
    assert errors == ""
    text, _, data = output.partition("{")
    first = text.splitlines()[0].split()[1]
    assert text.endswith(f"report          reports/{first}.html\n")
    second = json.loads("{" + data)
    assert second["report_path"] == f"reports/{second['run_id']}.html"
    assert reports() == [f"{first}.html", f"{second['run_id']}.html"]
    for run_id in (first, second["run_id"]):
        page = Path(f"reports/{run_id}.html").read_text(encoding="utf-8")
        assert f"<title>Run {run_id}</title>" in page
        assert '"seal":{"payload":' in page


def test_the_settings_decide_what_a_report_holds(settings: Settings) -> None:
    settings["landscape"]["report"] = {"path": "report.html", "embed": "none"}
    assert run(settings) == 0
    assert "This page holds none of the" in Path("report.html").read_text(encoding="utf-8")


def test_a_run_that_fails_leaves_a_report(settings: Settings, capsys: Captured) -> None:
    settings["fail_if"] = {"quarantined": 0}
    Path("in.csv").write_text("id,kind\n1,x\n2\n")
    settings["datasource"]["options"]["on_validation_failure"] = "discard"
    assert run(settings) == 1
    errors = capsys.readouterr().err
    assert "warning" not in errors
    (name,) = reports()
    assert name.removesuffix(".html") in errors


def test_an_interrupted_run_leaves_its_report_when_it_is_resumed(
    settings: Settings, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings["checkpoint"] = {"frequency": "every_row"}
    load = RowLoader.load

    def interrupted(self: RowLoader, *more: Any) -> None:  # noqa: ANN401  whatever it takes
        load(self, *more)
        signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(RowLoader, "load", interrupted)
        assert run(settings) == 128 + signal.SIGINT
    assert reports() == []
    assert main(["resume", "latest", "-s", "settings.yaml", "--execute"]) == 0
    (name,) = reports()
    assert capsys.readouterr().out.endswith(f"report          reports/{name}\n")


@pytest.mark.parametrize("is_json", [False, True])
def test_a_report_that_cannot_be_written_fails_no_run(settings: Settings, is_json: bool, capsys: Captured) -> None:
    settings["landscape"]["report"]["path"] = "notes.html"
    Path("notes.html").write_text("mine")
    assert run(settings, *(["--json"] if is_json else [])) == 0
    output, errors = capsys.readouterr()
    problem = "notes.html: is not a report, which a new one may replace: name another file, or use --force"
    assert errors == f"warning: the report could not be written: {problem}\n"
    assert Path("notes.html").read_text() == "mine"
    assert Path("out/rest.csv").exists()
    if is_json:
        assert json.loads(output)["report_path"] is None
    else:
        assert "report          elspeth report " in output


def test_a_report_that_fails_is_logged(settings: Settings, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "reports/x.html")

    monkeypatch.setattr(writing, "page_parts", full)
    Path("settings.yaml").write_text(yaml.safe_dump(settings))
    assert main(["--log-level", "error", "run", "-s", "settings.yaml", "-x", "--no-dotenv"]) == 0
    errors = capsys.readouterr().err
    assert "warning: the report could not be written: " in errors
    assert "error   the report could not be written: OSError: No space left on device" in errors
    assert reports() == []


@pytest.mark.parametrize(
    "error",
    [
        AuditIntegrityError(table="rows", key={}, field="row_id", expected="text", got=1),
        LandscapeError("the database went away"),
        SQLAlchemyError("the connection broke"),
    ],
    ids=type,
)
def test_whatever_a_report_fails_of_the_run_has_completed(
    settings: Settings, error: Exception, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(writing, "page_parts", fail)
    assert run(settings) == 0
    errors = capsys.readouterr().err
    assert errors.startswith("warning: the report could not be written: ")
    assert errors.endswith(f"{error}\n")
    assert reports() == []


def test_a_run_without_a_database_names_no_command_for_its_report(settings: Settings, capsys: Captured) -> None:
    settings["landscape"] = {"enabled": False}
    assert run(settings) == 0
    output, errors = capsys.readouterr()
    assert ("rows in" in output, "report" in output, errors) == (True, False, "")


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("{rum_id}.html", "unknown placeholder {rum_id}"),
        ("out/rest.csv", "the file 'out/rest.csv' is also that of sinks.rest: give each its own"),
        ("audit.db", "audit.db: is the audit database, which no output may touch: name another path"),
        ("settings.yaml", "settings.yaml: is the settings file, which no output may touch: name another path"),
        ("reports/", "reports/: names a directory, and the output is a file: leave the slash out"),
    ],
)
def test_a_bad_path_for_a_report_is_found_before_the_run(
    settings: Settings, path: str, problem: str, capsys: Captured
) -> None:
    settings["landscape"]["report"]["path"] = path
    assert run(settings) == 2
    errors = capsys.readouterr().err
    assert f"landscape.report.path: {problem}" in errors
    assert not Path("audit.db").exists()

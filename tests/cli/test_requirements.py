"""Missing packages and inputs, reported before anything is made."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from elspeth.cli import main

Captured = pytest.CaptureFixture[str]

PARQUET = "needs pyarrow, which is not installed: in a checkout of elspeth, pip install '.[parquet]'"
POSTGRES = "needs psycopg, which is not installed: in a checkout of elspeth, pip install '.[postgres]'"
MISSING = "cannot be read: No such file or directory"


@pytest.fixture(autouse=True)
def directory(own_directory: Path) -> Path:
    return own_directory


def write_settings(
    source: str = "csv", sink: str = "csv", landscape: str = "sqlite:///runs/audit.db", **options: str
) -> str:
    """Write settings with one source and one sink."""
    database = {"url": "postgresql+psycopg://u@h/d", "table": "t"}
    settings: dict[str, Any] = {
        "datasource": {"plugin": source, "options": options or {"path": "in"}},
        "sinks": {"out": {"plugin": sink, "options": database if sink == "database" else {"path": "out/out"}}},
        "output_sink": "out",
        "landscape": {"url": landscape},
    }
    Path("settings.yaml").write_text(yaml.safe_dump(settings))
    return "settings.yaml"


def find_problems(capsys: Captured, settings: str) -> list[str]:
    """Return the problems that `validate` and `run` report."""
    assert main(["validate", "-s", settings]) == 2
    said = capsys.readouterr()
    assert main(["run", "-s", settings, "-x"]) == 2
    assert capsys.readouterr() == said == ("", said.err)
    assert sorted(path.name for path in Path().iterdir()) == ["settings.yaml"]
    return [line.strip() for line in said.err.splitlines()[1:]]


def test_every_missing_package_is_a_problem_of_the_settings(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("pyarrow", "psycopg"):
        monkeypatch.setitem(sys.modules, module, None)
    url = "postgresql+psycopg://u@h/d"
    assert find_problems(capsys, write_settings("parquet", "parquet", url)) == [
        f"datasource.options: {PARQUET}",
        f"sinks.out.options: {PARQUET}",
        f"landscape.url: {POSTGRES}",
    ]
    assert find_problems(capsys, write_settings("sql", "database", url=url, query="SELECT 1")) == [
        f"datasource.options.url: {POSTGRES}",
        f"sinks.out.options.url: {POSTGRES}",
    ]


def test_an_unknown_driver_is_a_problem_of_the_settings(capsys: Captured) -> None:
    settings = write_settings("sql", url="mariadb+pigeon://u@h/d", query="SELECT 1")
    assert find_problems(capsys, settings) == ["datasource.options.url: there is no driver 'mariadb+pigeon'"]


SOURCES: list[tuple[str, dict[str, str], str]] = [
    ("csv", {}, f"in {MISSING}"),
    ("json", {}, f"in {MISSING}"),
    ("jsonl", {}, f"in {MISSING}"),
    ("parquet", {}, f"in {MISSING}"),
    ("sql", {"url": "sqlite:///in", "query": "SELECT 1"}, "database sqlite:///in does not exist"),
]


@pytest.mark.parametrize(("plugin", "options", "problem"), SOURCES)
def test_a_missing_input_is_a_warning_and_stops_a_run_before_it_begins(
    capsys: Captured, plugin: str, options: dict[str, str], problem: str
) -> None:
    settings = write_settings(plugin, **options)
    assert main(["validate", "-s", settings]) == 0
    assert capsys.readouterr().err == f"warning: {problem}\nsettings.yaml: valid\n"
    assert main(["run", "-s", settings, "-x"]) == 1
    assert capsys.readouterr() == ("", f"error: {problem}\n")
    assert sorted(path.name for path in Path().iterdir()) == ["settings.yaml"]


@pytest.mark.parametrize("plugin", ["csv", "json", "jsonl", "parquet"])
def test_an_input_that_is_not_a_file_is_a_warning(capsys: Captured, plugin: str) -> None:
    Path("in").mkdir()
    assert main(["validate", "-s", write_settings(plugin)]) == 0
    assert capsys.readouterr().err == "warning: in cannot be read: Is a directory\nsettings.yaml: valid\n"


def test_an_existing_input_causes_no_warning(capsys: Captured) -> None:
    Path("in").write_text("a\n1\n")
    assert main(["validate", "-s", write_settings()]) == 0
    assert capsys.readouterr().err == "settings.yaml: valid\n"
    assert main(["validate", "-s", write_settings("null", path="x")]) == 2  # it has no path
    assert main(["run", "-s", write_settings(), "-x"]) == 0


def test_a_language_model_needs_its_extra(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    Path(write_settings()).write_text(
        Path("settings.yaml").read_text()
        + "row_plugins: [{plugin: llm, options: {base_url: 'http://h/v1', model: m, prompt: 'x'}}]\n"
    )
    (problem,) = find_problems(capsys, "settings.yaml")
    assert problem.startswith("row_plugins[0].options.prompt: plugin 'llm' needs httpx and jinja2: ")

"""`elspeth plugins show` and `elspeth plugins new`."""

import json
import tomllib
from pathlib import Path

import pytest

from elspeth.cli import main
from elspeth.cli.commands.plugins import _Kind
from elspeth.contracts.plugins import PluginKind
from elspeth.plugins.aggregations import BatchStatsAggregation

PAGE = (Path(__file__).parents[3] / "docs" / "plugins.md").read_text(encoding="utf-8")
Captured = pytest.CaptureFixture[str]
FILES = """\
elspeth-strip-text/README.md
elspeth-strip-text/pyproject.toml
elspeth-strip-text/src/elspeth_strip_text/__init__.py
elspeth-strip-text/src/elspeth_strip_text/plugin.py
elspeth-strip-text/src/elspeth_strip_text/py.typed
elspeth-strip-text/tests/test_plugin.py
"""


def test_the_command_offers_every_kind_of_plugin() -> None:
    assert list(map(str, _Kind)) == list(map(str, PluginKind))


def test_a_package_is_created_and_its_files_are_listed(own_directory: Path, capsys: Captured) -> None:
    assert main(["plugins", "new", "strip_text"]) == 0
    output = capsys.readouterr()
    assert output.out == FILES
    install = "pip install -e 'elspeth-strip-text[test]'"  # by any pip: --group needs a new one
    assert output.err == f"Install it with: {install}; then run pytest there.\n"
    assert f"$ {install}\n" in PAGE
    assert "$ pip install -e '.[test]'\n" in Path("elspeth-strip-text/README.md").read_text()
    project = tomllib.loads(Path("elspeth-strip-text/pyproject.toml").read_text())["project"]
    assert project["optional-dependencies"] == {"test": ["pytest"]}
    made = [str(path.relative_to(own_directory)) for path in own_directory.rglob("*") if path.is_file()]
    assert sorted(made) == sorted(FILES.split())


def test_the_files_are_listed_as_json(own_directory: Path, capsys: Captured) -> None:
    assert main(["plugins", "new", "strip_text", "--kind", "sink", "-o", "own/place", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["kind"] == "sink"
    assert listed["name"] == "strip_text"
    assert all((own_directory / path).is_file() for path in listed["files"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["No"], "NAME: expected lower-case letters, digits and underscores, beginning with a letter, got 'No'"),
        (["csv", "--kind", "sink"], "NAME: there is a sink 'csv' already: choose another name"),
        (["own", "-o", "taken"], "taken exists already: name another directory with --output"),
    ],
)
def test_a_package_that_cannot_be_created_is_refused(
    own_directory: Path, capsys: Captured, arguments: list[str], message: str
) -> None:
    (own_directory / "taken").mkdir()
    assert main(["plugins", "new", *arguments]) == 2
    assert capsys.readouterr().err == f"error: {message}\n"
    assert [path.name for path in own_directory.rglob("*")] == ["taken"]


def test_a_plugin_is_shown_with_its_options(capsys: Captured) -> None:
    assert main(["plugins", "show", "batch_stats"]) == 0
    heading, text, *_, table = capsys.readouterr().out.split("\n\n")
    assert heading == f"aggregation batch_stats {BatchStatsAggregation.plugin_version}"
    assert text == BatchStatsAggregation.description()
    lines = [" ".join(line.split()) for line in table.splitlines()]
    assert lines[0] == "option type default meaning"
    assert "value_field text required The field that holds the numbers." in lines
    assert "on_error text discard The sink for rows that fail, or discard." in lines


def test_all_plugins_of_a_name_are_shown_unless_a_kind_is_given(capsys: Captured) -> None:
    assert main(["plugins", "show", "csv", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [each["type"] for each in shown] == ["source", "sink"]
    assert main(["plugins", "show", "csv"]) == 0
    headings = [line for line in capsys.readouterr().out.splitlines() if " csv " in line and line[0] != " "]
    assert [line.split()[:2] for line in headings if len(line.split()) == 3] == [["source", "csv"], ["sink", "csv"]]
    assert main(["plugins", "show", "csv", "--json", "--kind", "sink"]) == 0
    (sink,) = json.loads(capsys.readouterr().out)
    assert sink == shown[1]
    assert sink["options"]["required"] == ["path"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cvs"], "there is no plugin 'cvs'; did you mean 'csv'?; `elspeth plugins list` shows all"),
        (["sql", "--kind", "sink"], "there is no sink 'sql'; `elspeth plugins list` shows all"),
    ],
)
def test_an_unknown_plugin_is_an_error(capsys: Captured, arguments: list[str], message: str) -> None:
    assert main(["plugins", "show", *arguments]) == 2
    assert capsys.readouterr().err == f"error: {message}\n"

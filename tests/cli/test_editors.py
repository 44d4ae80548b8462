"""Editors know settings through the language server for YAML."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from elspeth.cli import main
from tests.cli.language_server import LanguageServer, serving

Json = dict[str, Any]

EXAMPLES = [
    path
    for path in sorted((Path(__file__).parent.parent.parent / "examples").glob("*/settings.yaml"))
    if path.parent.name != "plugin_package"  # its plugin is not installed
]
LINE = "# yaml-language-server: $schema=elspeth.schema.json\n"
SETTINGS = f"""{LINE}\
datasource:
  plugin: csv
  options:
    path: in.csv
sinks:
  out: {{plugin: jsonl, options: {{path: out.jsonl}}}}
output_sink: out
"""


def line_of(text: str) -> int:
    """Return the line of a text in the settings."""
    [number] = [number for number, line in enumerate(SETTINGS.splitlines()) if text in line]
    return number


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the schema that editors read."""
    made = tmp_path_factory.mktemp("editor")
    with (made / "elspeth.schema.json").open("w", encoding="utf-8") as file, redirect_stdout(file):
        assert main(["settings", "schema"]) == 0
    return made


@pytest.fixture(scope="module")
def command() -> str:
    """Return the language server, if it is installed."""
    found = os.environ.get("ELSPETH_TEST_YAML_SERVER") or shutil.which("yaml-language-server")
    if found is None:
        pytest.skip("yaml-language-server is not installed: `nox -s editors` installs it")
    return found


@pytest.fixture(scope="module")
def server(command: str, directory: Path) -> Iterator[LanguageServer]:
    """Run the language server."""
    with serving(command, directory) as found:
        yield found


def problems(server: LanguageServer, path: Path, text: str) -> list[tuple[int, str]]:
    """Return the problems that an editor shows, with their lines."""
    return [(each["range"]["start"]["line"], each["message"]) for each in server.open(path, text)]


def test_an_editor_marks_unknown_keys_and_plugins(server: LanguageServer, directory: Path) -> None:
    assert problems(server, directory / "sound.yaml", SETTINGS) == []
    wrong = (
        SETTINGS.replace("path: in.csv", "pth: in.csv").replace("plugin: jsonl", "plugin: jsonlines") + "nothing: 1\n"
    )
    found = dict(problems(server, directory / "wrong.yaml", wrong))
    assert "pth is not allowed" in found[line_of("path: in.csv")]
    assert '"csv", "database", "json", "jsonl"' in found[line_of("plugin: jsonl")]
    assert "nothing is not allowed" in found[wrong.count("\n") - 1]


def test_an_editor_completes_plugins_and_options(server: LanguageServer, directory: Path) -> None:
    path = directory / "begun.yaml"
    server.open(path, SETTINGS.replace("plugin: csv", "plugin: ").replace("path: in.csv", ""))

    def completed(line: int, character: int) -> list[str]:
        return [each["label"] for each in server.at("completion", path, line, character)["items"]]

    assert {"csv", "http", "jsonl", "parquet", "sql"} <= set(completed(line_of("plugin: csv"), 10))
    assert {"row_plugins", "gates", "landscape"} <= set(completed(line_of("output_sink") + 1, 0))
    server.open(directory / "options.yaml", SETTINGS)
    path = directory / "options.yaml"
    assert {"schema", "encoding"} <= set(completed(line_of("path: in.csv"), 4))


def test_an_editor_shows_what_a_key_means(server: LanguageServer, directory: Path) -> None:
    path = directory / "shown.yaml"
    server.open(path, SETTINGS)
    shown: Json = server.at("hover", path, line_of("path: in.csv"), 5)
    assert shown["contents"]["value"].startswith("The file, or the address of an object")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.parent.name)
def test_an_editor_marks_nothing_in_an_example(server: LanguageServer, directory: Path, example: Path) -> None:
    text = LINE + example.read_text(encoding="utf-8")
    assert problems(server, directory / f"{example.parent.name}.yaml", text) == []

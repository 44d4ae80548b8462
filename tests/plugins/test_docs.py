"""The documentation names every plugin, and its code runs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from elspeth.contracts.expressions.functions import FUNCTIONS
from elspeth.contracts.plugins import PluginKind
from elspeth.contracts.rows import InvalidRow
from elspeth.plugins.manager import PluginManager

ROOT = Path(__file__).parent.parent.parent
PIPELINES = (ROOT / "docs" / "pipelines.md").read_text(encoding="utf-8")
FILES = (ROOT / "docs" / "files.md").read_text(encoding="utf-8")
PLUGINS = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")


def test_the_documentation_names_every_plugin() -> None:
    plugins = PluginManager.installed()
    named = set(re.findall(r"`(\w+)`", PIPELINES))
    assert {name for kind in PluginKind for name in plugins.names(kind)} - named == set()


def test_the_documentation_names_every_function_of_expressions() -> None:
    assert set(FUNCTIONS) - set(re.findall(r"`(\w+)\(", PIPELINES)) == set()


EXAMPLES = re.findall(r"^```yaml\n(.*?)^```", FILES, re.MULTILINE | re.DOTALL)
PATHS, PLACES, GERMAN, LIST, SPREADSHEET = EXAMPLES


@pytest.mark.parametrize("text", [*PATHS.splitlines(), PLACES, GERMAN, LIST])
def test_the_page_about_files_shows_options_of_sources(text: str) -> None:
    plugin = "json" if "json" in text else "csv"
    assert PluginManager.installed().source(plugin, yaml.safe_load(text)).name == plugin


def test_the_examples_of_the_page_about_files_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plugins = PluginManager.installed()
    Path("umsatz.csv").write_bytes("Größe (cm);Betrag\n1;1.500,25\n2;1.5\n".encode("cp1252"))
    [row, bad] = plugins.source("csv", yaml.safe_load(GERMAN)).read()
    assert row == {"größe_cm": "1", "betrag": 1500.25}
    assert isinstance(bad, InvalidRow)
    [document] = re.findall(r"# (\{.*\})$", LIST, re.MULTILINE)
    Path("answer.json").write_text(document)
    assert list(plugins.source("json", yaml.safe_load(LIST)).read()) == [{"id": 1}, {"id": 2}]
    sink = plugins.sink("csv", yaml.safe_load(SPREADSHEET))
    sink.open("run")
    sink.write({"größe": 1.5})
    sink.finish()
    sink.publish()
    assert Path("out/umsatz.csv").read_bytes() == "größe\n1,5\n".encode("utf-8-sig")


def test_the_code_of_the_page_about_plugins_runs() -> None:
    """All of its code runs, in its order."""
    blocks = re.findall(r"^```python\n(.*?)^```", PLUGINS, re.MULTILINE | re.DOTALL)
    end = [
        "import io, sys",
        "sys.stdin = io.TextIOWrapper(io.BufferedReader(io.BytesIO(b'a\\n\\nb')))",
        "source = LinesSource(LinesSource.options_model.model_validate({'path': '-', 'line_field': 'line'}))",
        "print(elspeth_plugins()[0].name, LinesSink.name, *source.read())",
    ]
    code = "\n".join(["value = 'x' * 11", *blocks, *end])
    package = ROOT / "examples" / "plugin_package" / "src"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(package)}, check=False, capture_output=True, text=True
    )
    invalid = InvalidRow(data={"text": "\n"}, error="line 2: expected text", file="standard input", line=2)
    rows = f"{{'text': 'a', 'line': 1}} {invalid} {{'text': 'b', 'line': 3}}"
    assert (done.stdout, done.stderr) == (f"iban lines {rows}\n", "")


def test_the_page_about_plugins_imports_every_name_that_it_uses() -> None:
    lines = re.findall(r"^from [\w.]+ import (.+)$", PLUGINS, re.MULTILINE)
    imported = {name.strip() for line in lines for name in line.split(",")}
    prose = re.sub(r"^```.*?^```", "", PLUGINS, flags=re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"`(?:[a-z_]+\.)*([A-Z][a-z]+(?:[A-Z][a-z]+)+)\b", prose))
    assert named - imported == set()

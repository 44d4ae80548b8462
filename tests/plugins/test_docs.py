"""The documentation names every plugin, and its code runs."""

import re
import subprocess
import sys
from pathlib import Path

from elspeth.contracts.expressions.functions import FUNCTIONS
from elspeth.contracts.plugins import PluginKind
from elspeth.plugins.manager import PluginManager

ROOT = Path(__file__).parent.parent.parent
PIPELINES = (ROOT / "docs" / "pipelines.md").read_text(encoding="utf-8")
PLUGINS = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")


def test_the_documentation_names_every_plugin() -> None:
    plugins = PluginManager.installed()
    named = set(re.findall(r"`(\w+)`", PIPELINES))
    assert {name for kind in PluginKind for name in plugins.names(kind)} - named == set()


def test_the_documentation_names_every_function_of_expressions() -> None:
    assert set(FUNCTIONS) - set(re.findall(r"`(\w+)\(", PIPELINES)) == set()


def test_the_code_of_the_page_about_plugins_runs() -> None:
    """All of its code runs, in its order."""
    blocks = re.findall(r"^```python\n(.*?)^```", PLUGINS, re.MULTILINE | re.DOTALL)
    code = "\n".join(["value = 'x' * 11", *blocks, "print(elspeth_plugins()[0].name, LinesSink.name)"])
    package = ROOT / "examples" / "plugin_package" / "src"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(package)}, check=False, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("iban lines\n", "")


def test_the_page_about_plugins_imports_what_it_names() -> None:
    lines = re.findall(r"^from [\w.]+ import (.+)$", PLUGINS, re.MULTILINE)
    imported = {name.strip() for line in lines for name in line.split(",")}
    prose = re.sub(r"^```.*?^```", "", PLUGINS, flags=re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"`(?:[a-z_]+\.)*([A-Z][a-z]+(?:[A-Z][a-z]+)+)\b", prose))
    assert named - imported == set()

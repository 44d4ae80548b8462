"""The documentation names every plugin."""

import re
from pathlib import Path

from elspeth.contracts.plugins import PluginKind
from elspeth.plugins.manager import PluginManager

DOCS = (Path(__file__).parent.parent.parent / "docs" / "pipelines.md").read_text(encoding="utf-8")


def test_the_documentation_names_every_plugin() -> None:
    plugins = PluginManager.installed()
    named = set(re.findall(r"`(\w+)`", DOCS))
    assert {name for kind in PluginKind for name in plugins.names(kind)} - named == set()

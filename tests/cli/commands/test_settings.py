"""`elspeth settings`."""

import json
from pathlib import Path

import pytest

from elspeth.cli import main
from elspeth.core.settings.json_schema import settings_schema
from elspeth.plugins.manager import PluginManager


def test_schema_prints_the_json_schema_of_settings(own_directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["settings", "schema"]) == 0
    output = capsys.readouterr()
    assert json.loads(output.out) == settings_schema(PluginManager.installed())
    assert output.err == ""
    assert list(own_directory.iterdir()) == []

"""The commands that a report shows do what it says."""

from __future__ import annotations

import re
import shlex
from html import unescape
from pathlib import Path

import pytest

from elspeth.cli import main
from elspeth.core.landscape.database import LandscapeDB
from elspeth.report.overview import read_overview
from elspeth.report.records import open_database_records
from elspeth.report.sections import render_heading, render_sections
from tests.engine.pipelines import PLUGINS, execute, graph_settings
from tests.engine.pipelines import build as build_pipeline


def shown_commands(database: str) -> list[list[str]]:
    """Return the words of all commands in the sections."""
    with LandscapeDB.from_url(database, create_tables=False) as db, open_database_records(db, "latest") as records:
        overview = read_overview(records)
    page = render_heading(overview) + render_sections(overview)
    return [shlex.split(unescape(text)) for text in re.findall(r"<code>(elspeth .*?)</code>", page)]


def test_every_command_of_a_report_finds_what_it_promises(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mark = {"plugin": "mark", "options": {"field": "m", "value": 1, "fail": [1, 4], "crash": [2], "on_error": "bad"}}
    settings = graph_settings(
        tmp_path,
        [{"id": number, "v": "'\"$`!"[number]} for number in range(5)],
        "bad",
        row_plugins=[mark],
        gates=[{"name": "it's", "condition": "int(row['v']) > 0", "routes": {"true": "continue", "false": "bad"}}],
    )
    url = settings["landscape"]["url"]
    execute(build_pipeline(tmp_path, settings, *PLUGINS))
    commands = shown_commands(url)
    assert {words[1] for words in commands} == {"rows", "explain", "outputs"}
    capsys.readouterr()
    for _, *arguments in commands:
        assert main([*arguments, "-d", url]) == 0, arguments
        output = capsys.readouterr()
        assert output.out, arguments
        if arguments[0] == "rows":
            assert not output.err.endswith(": 0 rows listed\n"), arguments

"""The examples in docs/report.md work."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from elspeth.cli import main
from elspeth.core.landscape.database import LandscapeDB
from elspeth.report.embed import Embed
from tests.fixtures.told_run import record_told_run

PAGE = (Path(__file__).parent.parent / "docs" / "report.md").read_text(encoding="utf-8")

SETTINGS = {
    "datasource": {"plugin": "csv", "options": {"path": "in.csv"}},
    "output_sink": "out",
    "sinks": {"out": {"plugin": "csv", "options": {"path": "out.csv"}}},
}


def blocks(language: str) -> list[str]:
    """Return the code blocks of the page in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_every_command_of_the_page_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    with LandscapeDB("sqlite:///runs/audit.db") as db:
        record_told_run(db)
    assert main(["keys", "generate", "-o", "keys"]) == 0
    for name, key in (("trail.jsonl", []), ("evidence.zip", ["--key", "keys/elspeth.key.pem"])):
        assert main(["export", "latest", "-d", "runs/audit.db", "-o", name, *key]) == 0
    commands = [line.removeprefix("$ ") for block in blocks("console") for line in block.splitlines()]
    assert len(commands) == 8
    for command in commands:
        program, *arguments = shlex.split(command, comments=True)
        assert program == "elspeth"
        output = Path(arguments[arguments.index("-o") + 1])
        output.unlink(missing_ok=True)
        assert main(arguments) == 0, command
        assert output.read_bytes().startswith(b"<!doctype html>")


def test_the_settings_of_the_page_leave_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (shown,) = blocks("yaml")
    Path("settings.yaml").write_text(yaml.safe_dump({**SETTINGS, **yaml.safe_load(shown)}))
    Path("in.csv").write_text("id\n1\n")
    assert main(["run", "-s", "settings.yaml", "--execute", "--no-dotenv"]) == 0
    (report,) = Path("reports").iterdir()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d-\w+\.html", report.name)


def test_the_page_lists_the_choices_of_records() -> None:
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE) == [*Embed]

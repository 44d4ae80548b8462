"""`elspeth purge` shows and deletes old payloads."""

import json
import os
from pathlib import Path

import pytest

from elspeth.cli import main

SETTINGS = """
datasource: {plugin: csv, options: {path: in.csv}}
sinks: {out: {plugin: csv, options: {path: out.csv}}}
output_sink: out
landscape: {url: "sqlite:///audit.db"}
payload_store: {base_path: payloads, retention_days: 7}
"""


@pytest.fixture(autouse=True)
def _old_payloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Execute a run and make its payloads ten years older."""
    monkeypatch.chdir(tmp_path)
    Path("settings.yaml").write_text(SETTINGS)
    Path("in.csv").write_text("id\n1\n2\n")
    assert main(["run", "-s", "settings.yaml", "-x", "--no-dotenv"]) == 0
    for path in Path("payloads").rglob("*"):
        os.utime(path, (1_400_000_000, 1_400_000_000))
    capsys.readouterr()


def test_nothing_is_deleted_without_execute(capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(Path("payloads").rglob("*"))
    assert main(["purge", "-s", "settings.yaml", "--no-dotenv"]) == 1
    output, errors = capsys.readouterr()
    assert errors == "Nothing was deleted: add --execute (-x).\n"
    assert main(["purge", "-s", "settings.yaml", "--no-dotenv", "--dry-run"]) == 0
    again, errors = capsys.readouterr()
    assert (again.splitlines()[1:], errors) == (output.splitlines()[1:], "")  # the first line names the time
    lines = dict(line.split("  ", 1) for line in output.splitlines())
    count = len([path for path in before if path.is_file()])
    assert lines["payloads"].strip() == str(count) != "0"
    assert lines["deleted"].strip() == "no"
    assert sorted(Path("payloads").rglob("*")) == before


def test_old_payloads_are_deleted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["purge", "-s", "settings.yaml", "--no-dotenv", "-x", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["payloads"] > 0
    assert facts["deleted"] is True
    assert [path for path in Path("payloads").rglob("*") if path.is_file()] == []


def test_a_missing_database_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    Path("audit.db").unlink()
    assert main(["purge", "-s", "settings.yaml", "--no-dotenv", "-x"]) == 1
    assert capsys.readouterr().err.startswith("error: ")
    assert [path for path in Path("payloads").rglob("*") if path.is_file()] != []

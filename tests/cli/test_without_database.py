"""Runs with `landscape.enabled: false` keep no audit database."""

from pathlib import Path

import pytest

from elspeth.cli import main
from elspeth.contracts.plugins import PluginError
from elspeth.plugins.csv import CsvSink

SETTINGS = """
datasource: {plugin: csv, options: {path: in.csv}}
sinks: {out: {plugin: csv, options: {path: out.csv}}}
output_sink: out
landscape: {enabled: false, url: "sqlite:///audit.db"}
"""


def test_a_run_without_an_audit_database_only_writes_its_outputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("settings.yaml").write_text(SETTINGS)
    Path("in.csv").write_text("id\n1\n2\n")
    assert main(["run", "-s", "settings.yaml", "-x", "--no-dotenv"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "audit database  none (landscape.enabled: false)"
    assert Path("out.csv").read_text() == "id\n1\n2\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "out.csv", "settings.yaml"]
    assert main(["resume", "latest", "-s", "settings.yaml", "-x", "--no-dotenv"]) == 2
    assert "there is no run to resume" in capsys.readouterr().err


def test_a_run_without_a_database_is_not_called_resumable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: CsvSink) -> None:
        raise PluginError("out.csv: the cable was pulled")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(CsvSink, "publish", fail)
    Path("settings.yaml").write_text(SETTINGS)
    Path("in.csv").write_text("id\n1\n2\n")
    assert main(["run", "-s", "settings.yaml", "-x", "--no-dotenv"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "error: out.csv: the cable was pulled",
        "Nothing of the run is kept: its settings keep no audit database (landscape.enabled: false).",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "settings.yaml"]

"""Runs of several files, or of standard input."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from elspeth.cli import main
from elspeth.contracts.plugins import PluginError
from elspeth.plugins.csv import CsvSink
from tests.engine.pipelines import groups_of

pytestmark = pytest.mark.usefixtures("own_directory")

Captured = pytest.CaptureFixture[str]

SETTINGS = """
datasource: {plugin: csv, options: {path: PATH}}
output_sink: out
sinks: {out: {plugin: csv, options: {path: out.csv}}}
landscape: {url: "sqlite:///audit.db"}
"""
ROWS = b"id\n1\n2\n3\n4\n"


def elspeth(capsys: Captured, path: str, *arguments: str) -> tuple[int, str, str]:
    Path("settings.yaml").write_text(SETTINGS.replace("PATH", path))
    code = main([*arguments, "-s", "settings.yaml", "--no-dotenv"])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def pipe(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(content))))


def test_standard_input_is_read_by_run_and_not_by_validate(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    pipe(monkeypatch, ROWS)
    assert elspeth(capsys, '"-"', "validate")[0] == 0
    assert elspeth(capsys, '"-"', "run", "--execute")[0] == 0
    assert Path("out.csv").read_bytes() == ROWS


def test_a_run_of_standard_input_is_resumed_with_the_same_input(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    sync = CsvSink.sync
    left = iter([True])

    def fail_at_the_second(sink: CsvSink) -> None:
        if not next(left, False):
            raise PluginError("out.csv: the cable was pulled")
        sync(sink)

    groups_of(monkeypatch, 2)
    monkeypatch.setattr(CsvSink, "sync", fail_at_the_second)
    pipe(monkeypatch, ROWS)
    assert elspeth(capsys, '"-"', "run", "--execute")[0] == 1
    monkeypatch.setattr(CsvSink, "sync", sync)
    for content, problem in [
        (b"id\n1\n", "it ends before row 1, of 2 that are recorded"),
        (b"id\n1\n9\n3\n4\n", "row 1 has the hash"),
        (b"", "expected a header line"),
    ]:
        pipe(monkeypatch, content)
        code, _, err = elspeth(capsys, '"-"', "resume", "latest", "--execute")
        assert code == 1
        assert problem in err
    pipe(monkeypatch, ROWS)
    assert elspeth(capsys, '"-"', "resume", "latest", "--execute")[0] == 0
    assert Path("out.csv").read_bytes() == ROWS


def test_missing_files_are_reported_before_the_first_row(capsys: Captured) -> None:
    Path("a.csv").write_bytes(ROWS)
    missing = "no file matches '*.txt'; gone.csv cannot be read: No such file or directory"
    code, plan, err = elspeth(capsys, "[a.csv, '*.txt', gone.csv]", "validate")
    assert (code, err) == (0, f"warning: {missing}\nsettings.yaml: valid\n")
    assert "csv a.csv, *.txt, gone.csv" in plan
    code, _, err = elspeth(capsys, "[a.csv, '*.txt', gone.csv]", "run", "--execute")
    assert (code, err) == (1, f"error: {missing}\n")
    assert sorted(path.name for path in Path().iterdir()) == ["a.csv", "settings.yaml"]


def test_the_rows_of_all_files_belong_to_one_run(capsys: Captured) -> None:
    for name in ("b", "a", "c"):
        Path(f"{name}.csv").write_text(f"from\n{name}\n")
    code, _, err = elspeth(capsys, "['b.csv', '[ac].csv']", "run", "--execute")
    assert code == 0, err
    assert Path("out.csv").read_text() == "from\nb\na\nc\n"

"""The summary of a run and its exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from elspeth.cli import main

pytestmark = pytest.mark.usefixtures("own_directory")

SETTINGS = """
datasource:
  plugin: csv
  options: {path: in.csv, schema: {mode: strict, fields: ["id: int"]}, on_validation_failure: discard}
output_sink: out
sinks: {out: {plugin: csv, options: {path: out.csv}}}
landscape: {url: "sqlite:///audit.db"}
"""

RUN = ["run", "-s", "settings.yaml", "-x", "--no-dotenv"]


def write(rows: str) -> None:
    Path("settings.yaml").write_text(SETTINGS)
    Path("in.csv").write_text(f"id\n{rows}")


def test_the_summary_says_how_many_rows_failed_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    write("1\n2,2\n3\n4,4\n")
    assert main(RUN) == 0
    output, errors = capsys.readouterr()
    assert errors == ""
    run, *lines = output.splitlines()
    assert run.startswith("run ")
    assert lines == [
        "rows in             4",
        "to sink out         2",
        "failed              0",
        "quarantined         2",
        "rows with failures  2 of 4",
        "reasons             2 at source csv: ValueError: expected N fields, got 2 (first in row 1)",
        "audit database      sqlite:///audit.db",
    ]


def test_a_run_in_which_no_row_got_through_ends_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    write("1,1\n2,2\n")
    problem = "no row got through: 2 of 2 rows failed or were quarantined"
    assert main(RUN) == 1
    output, errors = capsys.readouterr()
    assert "rows with failures  2 of 2\n" in output
    assert errors == f"error: {problem}\n"
    assert Path("out.csv").exists()
    assert main([*RUN, "--json"]) == 1
    output, errors = capsys.readouterr()
    assert errors == f"error: {problem}\n"
    summary = json.loads(output)
    assert summary["problems"] == [problem]
    assert summary["reasons"] == [
        {"node": "source csv", "kind": "ValueError", "message": "expected N fields, got 2", "count": 2, "row": 0}
    ]
    assert main(["landscape", "runs", "-d", "audit.db"]) == 0
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()[1:]] == ["completed", "completed"]

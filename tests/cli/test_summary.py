"""The summary of a run and its exit code."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from elspeth.api.run_report import RunReport
from elspeth.cli import main
from elspeth.cli.execution import _summary_data, _summary_lines
from elspeth.engine.reporting import ExportFailedError, PublishedOutput, Reason, RunResult
from tests.fixtures.llm_server import answers, llm_server, says

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
    run, took, *lines = output.splitlines()
    run_id = run.split()[1]
    assert re.fullmatch(r"took                \d+\.\d s, [\d,]+ rows/s", took)
    content_hash = hashlib.sha256(Path("out.csv").read_bytes()).hexdigest()
    assert lines == [
        "rows in             4",
        f"to sink out         2 in out.csv, 7 bytes, SHA-256 {content_hash[:12]}",
        "failed              0",
        "quarantined         2",
        "rows with failures  2 of 4",
        "reasons             2 at source csv: ValueError: expected N fields, got 2 (first in row 1)",
        "audit database      sqlite:///audit.db",
        f"report              elspeth report {run_id} -d sqlite:///audit.db -o report.html",
    ]


def test_a_run_in_which_no_row_got_through_ends_with_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
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


def test_a_missing_input_is_found_before_a_run_is_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    write("1\n")
    Path("in.csv").unlink()
    assert main(RUN) == 1
    assert capsys.readouterr() == ("", "error: in.csv cannot be read: No such file or directory\n")
    assert [path.name for path in Path.cwd().iterdir()] == ["settings.yaml"]


def test_the_json_summary_has_the_hashes_of_outputs(capsys: pytest.CaptureFixture[str]) -> None:
    write("1\n2\n")
    assert main([*RUN, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    content_hash = hashlib.sha256(Path("out.csv").read_bytes()).hexdigest()
    assert summary["outputs"] == [{"sink": "out", "path": "out.csv", "content_hash": content_hash, "size_bytes": 7}]
    assert summary["seconds"] > 0
    assert summary["rows_per_second"] == pytest.approx(2 / summary["seconds"], rel=0.1)


def test_a_file_without_rows_has_no_hash_in_the_summary(capsys: pytest.CaptureFixture[str]) -> None:
    write("")
    assert main(RUN) == 0
    assert "\nto sink out     0 in out.csv\n" in capsys.readouterr().out


def test_the_summary_counts_calls_and_tokens(capsys: pytest.CaptureFixture[str]) -> None:
    write("1\n2\n")
    with llm_server(answers(503), says("one"), says("two")) as server:
        llm = f"{{plugin: llm, options: {{base_url: '{server.url}', model: stub, prompt: 'x'}}}}"
        waits = "retry: {initial_delay_seconds: 0.001}\nconcurrency: {max_workers: 1}\n"
        Path("settings.yaml").write_text(f"{SETTINGS}row_plugins: [{llm}]\n{waits}")
        assert main([*RUN, "--json"]) == 0
        live = json.loads(capsys.readouterr().out)
    assert (live["calls"], live["retries"]) == (3, 1)
    assert live["usage"] == {"prompt_tokens": 14, "completion_tokens": 4}
    assert main([*RUN, "--set", "run_mode=replay", "--set", "replay_source_run_id=latest"]) == 0
    output = capsys.readouterr().out
    assert re.search(r"^calls +3, 1 of them repeated$", output, re.MULTILINE)


ALWAYS = ["run", "took", "rows in", "failed", "quarantined", "audit database"]


@pytest.mark.parametrize(
    ("facts", "lines"),
    [
        ({}, []),
        ({"dropped": 1_200}, [("dropped", "1,200")]),
        ({"differences": 0}, [("answers that differ", "0")]),
        (
            {"differences": 12, "differing_rows": tuple(range(10))},
            [("answers that differ", "12 (rows 0, 1, 2, 3, 4, 5, 6, 7, 8, 9; elspeth differences lists them)")],
        ),
        (
            {"differences": 12, "differing_rows": tuple(range(11))},
            [("answers that differ", "12 (rows 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...; elspeth differences lists them)")],
        ),
        ({"export_path": "x", "exported_records": 1_234}, [("export", "x (1,234 records)")]),
        (
            {"calls": 1_200, "retries": 0, "usage": {"prompt_tokens": 5_000}},
            [("calls", "1,200, 0 of them repeated, 5,000 prompt tokens")],
        ),
        (
            {"reasons": [Reason(node="a", kind="K", message=m, count=1_200, row=row) for row, m in enumerate("mn")]},
            [("reasons", "1,200 at a: K: m (first in row 0)"), ("", "1,200 at a: K: n (first in row 1)")],
        ),
    ],
)
def test_the_summary_lists_only_what_there_was(facts: dict[str, Any], lines: list[tuple[str, str]]) -> None:
    result = RunResult(run_id="r", rows=12, rows_by_sink={}, arrived=12, failed=0, quarantined=0, **facts)
    report = cast("RunReport", SimpleNamespace(place=None))
    told = [*_summary_lines(result, "db", 60.0, None, report)]
    assert [line for line in told if line[0] not in ALWAYS] == lines
    assert told[1] == ("took", "0:01:00, 0 rows/s")
    assert [*_summary_lines(result, "db", 0.0, None, report)][1] == ("took", "0.0 s, 0 rows/s")
    assert [*_summary_lines(result, "db", 59.9, None, report)][1] == ("took", "59.9 s, 0 rows/s")


FULL = RunResult(
    run_id="r",
    rows=3_000,
    rows_by_sink={"a": 1_200, "b": 0, "c": 0},
    arrived=1_200,
    failed=1_000,
    quarantined=2_000,
    dropped=4_000,
    rows_with_failures=2_999,
    reasons=[Reason(node="a", kind="K", message="m\n\x1b", count=1_200, row=3)],
    refused_by_sink={"b": 2},
    export_path="trail.jsonl",
    exported_records=1,
    differences=1,
    differing_rows=(7,),
    outputs=[
        PublishedOutput(sink="b", path="b.csv", content_hash=None, size_bytes=None),
        PublishedOutput(sink="a", path="a.csv", content_hash="0123456789abcdef", size_bytes=1_200),
        PublishedOutput(sink="c", path="c.csv", content_hash="f" * 64, size_bytes=0),
    ],
    calls=1_200,
    retries=1_100,
    rows_before=2_000,
    usage={"a": 1, "b_c": 1_000},
)


def test_the_summary_of_a_resumed_run_has_everything_in_this_order() -> None:
    report = cast("RunReport", SimpleNamespace(place="report.html"))
    assert [*_summary_lines(FULL, "db", 10.0, 1_500, report)] == [
        ("run", "r"),
        ("took", "10.0 s, 100 rows/s"),
        ("rows in", "3,000 (limited to 1,500 of each source)"),
        ("to sink a", "1,200 in a.csv, 1,200 bytes, SHA-256 0123456789ab"),
        ("to sink b", "0 in b.csv"),
        ("to sink c", "0 in c.csv, 0 bytes, SHA-256 ffffffffffff"),
        ("dropped", "4,000"),
        ("failed", "1,000"),
        ("quarantined", "2,000"),
        ("rows with failures", "2,999 of 3,000"),
        ("reasons", "1,200 at a: K: m \\x1b (first in row 3)"),
        ("calls", "1,200, 1,100 of them repeated, 1 a, 1,000 b c"),
        ("audit database", "db"),
        ("answers that differ", "1 (rows 7; elspeth differences lists them)"),
        ("export", "trail.jsonl (1 record)"),
        ("report", "report.html"),
    ]
    limited = dict(_summary_lines(FULL, "db", 10.0, 5_000, report))
    assert limited["rows in"] == "3,000 (limited to 5,000 of each source)"


def test_the_summary_for_programs_has_the_limit_the_speed_and_every_problem() -> None:
    problems = ["sink 'b' took no row: it refused 2 rows", "answers that are not those of the recorded run: 1"]
    exporting = "run r is complete, but cannot be exported: the disk is full"
    failure = ExportFailedError(FULL, OSError("the disk is full"))
    for failed, expected in ((None, problems), (failure, [*problems, exporting])):
        told = _summary_data(FULL, "db", failed, 10.00049, 1_500)
        assert {name: told[name] for name in ("problems", "database", "limit", "seconds", "rows_per_second")} == {
            "problems": expected,
            "database": "db",
            "limit": 1_500,
            "seconds": 10.0,
            "rows_per_second": 99.995,
        }

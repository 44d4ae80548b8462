"""Logs as text, as JSON, or hidden."""

from __future__ import annotations

import json
import logging
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest

from elspeth.cli import main, progress
from elspeth.cli.logs import LogFormat, LogLevel, hidden_logs, shown_log
from elspeth.cli.progress import Stage
from elspeth.cli.signals import Stopped
from elspeth.contracts.events import event_of, events_of_run, log_event
from elspeth.contracts.rows import InvalidRow, RowData
from elspeth.plugins.csv import CsvSink, CsvSource
from tests.fixtures.ids import ID

SETTINGS = """
datasource: {plugin: csv, options: {path: in.csv, schema: {mode: free, fields: ["id: int"]}}}
row_plugins:
  - {plugin: field_mapper, options: {computed: {tenth: "100 / row['id']"}}}
output_sink: out
sinks: {out: {plugin: csv, options: {path: out.csv}}}
landscape: {url: "sqlite:///audit.db", export: {enabled: true, path: trail.jsonl}}
"""

RUN = ["run", "-s", "settings.yaml", "-x", "--no-dotenv"]

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"

library = logging.getLogger("somebodys_package")


@pytest.fixture
def job(own_directory: Path) -> Path:
    """Make settings, and four rows of which two fail."""
    Path("settings.yaml").write_text(SETTINGS)
    Path("in.csv").write_text("id\n4\n0\nmany\n5\n")
    return own_directory


@contextmanager
def no_other_handlers() -> Iterator[None]:
    """Remove the handlers of pytest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logging.getLogger(), "handlers", [])
        yield


def records_of(errors: str) -> list[dict[str, object]]:
    return [cast("dict[str, object]", json.loads(line)) for line in errors.splitlines()]


# -- a run -------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("job")
def test_a_run_is_logged_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--log-format", "json", *RUN, "--json"]) == 0
    output, errors = capsys.readouterr()
    told = records_of(errors)
    run_id = str(told[0]["run_id"])
    assert re.fullmatch(ID, run_id)
    assert all(re.fullmatch(TIME, str(each.pop("time"))) for each in told)
    assert all(each.pop("run_id") == run_id for each in told)
    began = [
        {"level": "info", "event": "phase_began", "message": f"{phase} began", "phase": phase}
        for phase in ("rows", "proof", "publish", "seal", "export")
    ]
    division = {"step": "field_mapper_0", "kind": "RowError", "row": 1}
    invalid = {"step": "csv", "kind": "ValueError", "row": 2}
    counts = {"rows": 4, "rows_by_sink": {"out": 2}, "failed": 1, "quarantined": 1, "dropped": 0, "problems": []}
    elapsed = [each.pop("elapsed_s") for each in told if each["event"] == "run_completed"]
    assert [isinstance(each, float) and 0 < each < 600 for each in elapsed] == [True]
    records = len(Path("trail.jsonl").read_text().splitlines()) - 1
    export = {"path": "trail.jsonl", "records": records}
    assert told == [
        {"level": "info", "event": "run_began", "message": f"run {run_id} began", "database": "sqlite:///audit.db"},
        began[0],
        {
            "level": "warning",
            "event": "row_failed",
            "message": "row 1 failed at field_mapper_0: RowError: 100 / row['id']: division by zero",
            **division,
        },
        {
            "level": "warning",
            "event": "row_failed",
            "message": "row 2 failed at csv: ValueError: "
            "line 4: field 'id': expected an integer, got text of 4 characters",
            **invalid,
        },
        *began[1:4],
        {
            "level": "info",
            "event": "run_completed",
            "message": f"run {run_id} is complete: 4 rows",
            **counts,
        },
        began[4],
        {
            "level": "info",
            "event": "run_exported",
            "message": f"{records} records were exported to trail.jsonl",
            **export,
        },
    ]
    assert json.loads(output)["run_id"] == run_id


@pytest.mark.usefixtures("job")
def test_a_log_as_text_has_the_first_failure_of_each_kind(capsys: pytest.CaptureFixture[str]) -> None:
    Path("in.csv").write_text("id\n0\n0\n0\n1\n")
    assert main(["--log-level", "warning", *RUN]) == 0
    why = "failed at field_mapper_0: RowError: 100 / row['id']: division by zero"
    assert re.fullmatch(rf"{TIME} warning row 0 {re.escape(why)}\n", capsys.readouterr().err)
    assert main(["--log-level", "debug", *RUN]) == 0
    assert [line.split(maxsplit=1)[1] for line in capsys.readouterr().err.splitlines() if "failed" in line] == [
        f"warning row 0 {why}",
        f"debug   row 1 {why}",
        f"debug   row 2 {why}",
    ]


@pytest.mark.usefixtures("job")
def test_a_run_that_stops_is_an_error_in_the_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: CsvSink) -> None:
        raise LookupError("marked value 4")

    monkeypatch.setattr(CsvSink, "sync", fail)
    monkeypatch.setenv("ELSPETH_LOG_FORMAT", "json")
    monkeypatch.setenv("ELSPETH_LOG_LEVEL", "error")
    assert main(RUN) == 1
    errors = capsys.readouterr().err
    assert "marked" not in errors
    stopped, *messages = records_of(errors)
    assert (stopped["event"], stopped["rows"]) == ("run_stopped", 0)
    assert str(stopped["reason"]).startswith("PluginError: sink 'out' failed: LookupError: raised at ")
    assert [(each["level"], each["event"]) for each in messages] == [("error", "message")] * 2
    assert messages[1]["message"] == f"Run {stopped['run_id']} is recorded as failed."


@pytest.mark.usefixtures("job")
def test_a_log_for_debugging_has_tracebacks_of_plugins(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: CsvSink, row: RowData) -> None:
        raise LookupError(f"marked value {row['id']}")

    monkeypatch.setattr(CsvSink, "write", fail)
    assert main(["--log-level", "debug", "--log-format", "json", *RUN]) == 1
    traces = [str(each["traceback"]) for each in records_of(capsys.readouterr().err) if "traceback" in each]
    assert traces
    assert all(f'File "{__file__}", line ' in each for each in traces)
    assert traces[0].endswith("LookupError: marked value 4")


@pytest.mark.usefixtures("job")
def test_the_progress_of_a_run_is_in_its_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    read, came = CsvSource.read, threading.Event()

    def slowly(source: CsvSource) -> Iterator[RowData | InvalidRow]:
        yield from read(source)
        assert came.wait(10)

    def note(stage: Stage) -> None:
        log_stage(stage)
        came.set()

    log_stage = progress._log_stage
    monkeypatch.setattr(progress, "_LINE_INTERVAL_S", 0.001)
    monkeypatch.setattr(progress, "_log_stage", note)
    monkeypatch.setattr(CsvSource, "read", slowly)
    assert main(["--log-format", "json", *RUN]) == 0
    told = next(each for each in records_of(capsys.readouterr().err) if each["event"] == "progress")
    assert set(told) >= {"time", "level", "message", "run_id", "phase", "elapsed_s", "remaining_s"}
    assert (told["phase"], told["level"]) == ("rows", "info")


# -- what else is written to standard error ----------------------------------------------------------------------------


@pytest.mark.usefixtures("own_directory")
def test_messages_of_a_command_are_records_of_any_level(capsys: pytest.CaptureFixture[str]) -> None:
    Path("settings.yaml").write_text("datasource: {plugin: csv}\n")
    assert main(["--log-format", "json", "--log-level", "error", "validate", "-s", "settings.yaml", "--no-dotenv"]) == 2
    told = records_of(capsys.readouterr().err)
    assert {(each["level"], each["event"]) for each in told} == {("error", "message")}
    assert str(told[0]["message"]).startswith("settings.yaml: ")
    with shown_log(LogLevel.ERROR, LogFormat.JSON):
        sys.stderr.write("one\nwarning: two\nthr")
        sys.stderr.write("ee\nerror: four\n")
        assert not sys.stderr.isatty()
    told = records_of(capsys.readouterr().err)
    assert [(each["level"], each["message"]) for each in told] == [
        ("info", "one"),
        ("warning", "two"),
        ("warning", "three"),
        ("error", "four"),
    ]


def test_libraries_are_hidden_without_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    with no_other_handlers():
        with hidden_logs():
            library.error("a connection is cut")
            log_event(logging.ERROR, "something", "of ours")
        assert capsys.readouterr().err == ""
        library.error("a connection is cut")
        assert capsys.readouterr().err == "a connection is cut\n"


def log_exception(error: BaseException, message: str) -> None:
    """Log an exception as libraries do."""
    library.error(message, exc_info=error)


@pytest.mark.parametrize("form", list(LogFormat))
def test_a_log_has_warnings_of_libraries_without_quoted_values(
    form: LogFormat, capsys: pytest.CaptureFixture[str]
) -> None:
    with shown_log(LogLevel.DEBUG, form):
        library.info("INSERT INTO people VALUES ('marked')")
        log_exception(LookupError("marked value"), "closing a connection failed\nbadly")
        log_exception(Stopped(signal.SIGTERM), "closing a connection failed")
    (line,) = capsys.readouterr().err.splitlines()
    assert "marked" not in line
    if form is LogFormat.JSON:
        (told,) = records_of(line)
        assert re.fullmatch(TIME, str(told.pop("time")))
        assert told == {
            "level": "error",
            "event": "message",
            "message": "closing a connection failed\nbadly",
            "logger": "somebodys_package",
        }
    else:
        assert re.fullmatch(rf"{TIME} error   closing a connection failed\\nbadly", line)


def test_a_log_in_json_names_loggers_of_others_and_holds_any_fact(capsys: pytest.CaptureFixture[str]) -> None:
    with shown_log(LogLevel.INFO, LogFormat.JSON):
        logging.getLogger("elspeth.somewhere").warning("ours")
        logging.getLogger("elspeth_addition").warning("theirs")
        log_event(logging.INFO, "opened", "opened", path=Path("in.csv"))
        sys.stderr.write("\n  \nlast\n")
    told = records_of(capsys.readouterr().err)
    assert [{name: fact for name, fact in each.items() if name not in {"time", "level"}} for each in told] == [
        {"event": "message", "message": "ours"},
        {"event": "message", "message": "theirs", "logger": "elspeth_addition"},
        {"event": "opened", "message": "opened", "path": "in.csv"},
        {"event": "message", "message": "last"},
    ]


@pytest.mark.parametrize("level", [LogLevel.WARNING, LogLevel.ERROR])
def test_the_level_is_that_of_libraries_too(level: LogLevel, capsys: pytest.CaptureFixture[str]) -> None:
    with shown_log(level, LogFormat.JSON):
        library.warning("a connection is slow")
        library.error("a connection is cut")
    levels = [each["level"] for each in records_of(capsys.readouterr().err)]
    assert levels == (["error"] if level is LogLevel.ERROR else ["warning", "error"])


def test_events_name_their_run(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "elspeth.events"):
        with events_of_run("some-run"):
            log_event(logging.INFO, "one", "message of 100 %", rows=3)
        log_event(logging.INFO, "two", "message")
        log_event(logging.DEBUG, "three", "message")
    assert [(each.getMessage(), event_of(each)) for each in caplog.records] == [
        ("message of 100 %", ("one", {"run_id": "some-run", "rows": 3})),
        ("message", ("two", {})),
    ]
    assert event_of(logging.LogRecord("x", 0, "", 0, "", None, None)) is None


def test_a_command_leaves_logging_as_it_was(own_directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with no_other_handlers():
        assert main(["--log-level", "debug", "plugins", "list"]) == 0
        assert (logging.getLogger().handlers, logging.getLogger("elspeth").level) == ([], logging.NOTSET)
    assert list(own_directory.iterdir()) == []
    assert capsys.readouterr().err == ""


def test_an_unknown_level_is_wrong_usage(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ELSPETH_LOG_LEVEL", "loud")
    assert main(["plugins", "list"]) == 2
    assert "'loud' is not one of 'debug', 'info', 'warning', 'error'" in capsys.readouterr().err


@pytest.mark.usefixtures("far_from_utc")
def test_the_time_of_a_log_is_in_utc(capsys: pytest.CaptureFixture[str]) -> None:
    record = library.makeRecord(library.name, logging.WARNING, "x.py", 1, "beware", (), None)
    record.created = 1_766_000_000.25
    for form in LogFormat:
        with shown_log(LogLevel.INFO, form):
            library.handle(record)
    text, document = capsys.readouterr().err.splitlines()
    assert text.startswith("2025-12-17T19:33:20.250Z ")
    assert json.loads(document)["time"] == "2025-12-17T19:33:20.250Z"

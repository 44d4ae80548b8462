"""Expected errors become one message; defects are raised."""

from __future__ import annotations

import errno
import json
import logging
import re
import signal
import sqlite3
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from importlib import import_module
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.exc import DatabaseError, NoSuchModuleError

from elspeth.cli import main
from elspeth.cli.failures import EXIT_CODES, WITHHELD_ERRORS, TracebackPrinter
from elspeth.cli.signals import Stopped
from elspeth.contracts.rows import RowData
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.errors import OlderDatabaseError
from elspeth.core.landscape.queries import runs
from elspeth.evidence.format.errors import EvidenceError, KeyFileError
from elspeth.plugins.csv import CsvSink
from elspeth.plugins.transforms.field_mapper import PassthroughTransform

SETTINGS = """
datasource: {plugin: csv, options: {path: in.csv}}
row_plugins: [{plugin: passthrough, options: {on_error: discard}}]
output_sink: out
sinks: {out: {plugin: csv, options: {path: out.csv}}}
landscape: {url: "sqlite:///audit.db"}
"""

EXIT_CODES_PAGE = Path(__file__).parents[2] / "docs" / "exit-codes.md"

RUN = ["run", "-s", "settings.yaml", "-x", "--no-dotenv"]

ARGUMENTS = ["landscape", "runs", "-d", "audit.db"]


def make_database_error() -> DatabaseError:
    """Return an error that holds a statement and its values."""
    with closing(sqlite3.connect(":memory:")) as connection:
        try:
            connection.execute("SELECT * FROM rows")
        except sqlite3.Error as error:
            return DatabaseError("SELECT secret", {"value": "secret"}, error)
    raise AssertionError


FULL = OSError(errno.ENOSPC, "No space left on device", "out.csv")


def test_every_expected_error_is_listed_by_its_name() -> None:
    for name in EXIT_CODES:
        module, _, kind = name.rpartition(".")
        error = getattr(import_module(module), kind)
        assert issubclass(error, BaseException)
        assert f"{error.__module__}.{error.__qualname__}" == name


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (FULL, 1, "out.csv: No space left on device"),
        (OSError(errno.EIO, "Input/output error"), 1, "Input/output error"),
        (OSError("the cable was pulled"), 1, "the cable was pulled"),
        (MemoryError(), 1, "out of memory"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (KeyboardInterrupt("stopped by hand"), 130, "stopped by hand"),
        (make_database_error(), 1, "audit database: no such table: rows"),
        (NoSuchModuleError("no such dialect"), 1, "no such dialect"),
        (sqlite3.DatabaseError("malformed"), 1, "malformed"),
        (psycopg.OperationalError("the connection is lost"), 1, "the connection is lost"),
        (OlderDatabaseError("is of epoch 1"), 1, "is of epoch 1"),
        (EvidenceError("line 3", "is no JSON"), 1, "line 3: is no JSON"),
        (KeyFileError("key.pem", "is no key"), 2, "key.pem: is no key"),
        (
            BrokenProcessPool("x"),
            1,
            "a worker process ended before its work was done, perhaps for lack of memory: use --workers 1",
        ),
    ],
)
def test_an_expected_error_is_one_message(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    message: str,
) -> None:
    def fail(_: str) -> None:
        raise error

    monkeypatch.setattr(runs, "list_runs", fail)
    ended = main(ARGUMENTS)
    assert (ended, type(ended)) == (code, int)
    assert capsys.readouterr() == ("", f"error: {message}\n")


def test_the_notes_of_an_error_are_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(_: str) -> None:
        error = MemoryError()
        error.add_note("Rows are kept.")
        error.add_note("in.csv\x1b[31m")
        raise error

    monkeypatch.setattr(runs, "list_runs", fail)
    assert main(ARGUMENTS) == 1
    assert capsys.readouterr().err == "error: out of memory\nRows are kept.\nin.csv\\x1b[31m\n"


@pytest.mark.parametrize(
    "command",
    [
        ["validate", "-s", "NAME"],
        ["run", "-s", "NAME"],
        ["verify", "NAME"],
        ["verify", "bag", "--key", "NAME"],
        ["import", "NAME", "-d", "audit.db"],
        ["export", "NAME", "-d", "audit.db", "-o", "out.jsonl"],
        ["export", "latest", "-d", "audit.db", "-o", "NAME.xml"],
        ["keys", "generate", "-o", "/dev/null/NAME"],
    ],
)
def test_a_name_cannot_add_a_line_to_a_message(
    own_directory: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    with LandscapeDB("sqlite:///audit.db"):
        pass
    assert main([each.replace("NAME", "no\nerror: fake") for each in command]) in (1, 2)
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if line.startswith("error: fake")] == []
    assert r"no\nerror: fake" in lines[0]
    assert list(own_directory.glob("*fake*")) == []


@pytest.mark.parametrize("text", ["[", "sinks: {a: {plugin: csv, options: {path: 'b\n\nerror: fake'}}}"])
def test_settings_cannot_add_a_line_to_a_message(
    own_directory: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    path = own_directory / "s\nerror: fake.yaml"
    path.write_text(text)
    assert main(["validate", "-s", str(path)]) == 2
    assert not re.search("^error: fake", capsys.readouterr().err, re.MULTILINE)


def test_a_defect_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> None:
        raise AssertionError("never")

    monkeypatch.setattr(runs, "list_runs", fail)
    with pytest.raises(AssertionError, match="never"):
        main(ARGUMENTS)


# -- tracebacks --------------------------------------------------------------------------------------------------------


@pytest.fixture
def failing(own_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a transform fail for every row but the last.

    The messages hold values of rows.
    """

    def fail(_: PassthroughTransform, row: RowData) -> RowData:
        if row["id"] != "3":
            raise LookupError(f"marked value {row['id']}")
        return row

    monkeypatch.setattr(PassthroughTransform, "process", fail)
    (own_directory / "settings.yaml").write_text(SETTINGS)
    (own_directory / "in.csv").write_text("id\n1\n2\n3\n")


@pytest.mark.usefixtures("failing")
def test_without_the_option_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(RUN) == 0
    output, errors = capsys.readouterr()
    assert errors == ""
    assert "marked" not in output


@pytest.mark.usefixtures("failing")
def test_with_the_option_each_frame_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*RUN, "--traceback"]) == 0
    output, errors = capsys.readouterr()
    assert errors.count("Traceback (most recent call last):") == 1
    assert f'File "{__file__}", line ' in errors
    assert errors.endswith("LookupError: marked value 1\n")
    assert "marked" not in output
    assert b"marked" not in Path("audit.db").read_bytes()


@pytest.mark.usefixtures("failing")
def test_the_next_command_prints_nothing_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*RUN, "--traceback"]) == 0
    capsys.readouterr()
    assert main(RUN) == 0
    assert capsys.readouterr().err == ""
    assert (WITHHELD_ERRORS.handlers, WITHHELD_ERRORS.level) == ([], logging.NOTSET)


@pytest.mark.usefixtures("failing")
def test_the_error_that_ends_a_run_is_printed_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: CsvSink) -> None:
        raise LookupError("marked value 4")

    monkeypatch.setattr(CsvSink, "sync", fail)
    assert main([*RUN, "--traceback"]) == 1
    errors = capsys.readouterr().err
    assert errors.count("LookupError: marked value 4") == 1
    assert errors.index("marked value 4") < errors.index("error: sink 'out' failed: LookupError")


def test_a_cause_is_printed_with_its_effect(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        try:
            dict[str, str]()["a"]
        except KeyError as error:
            raise ValueError("b") from error

    printer = TracebackPrinter()
    for _ in range(2):
        try:
            fail()
        except ValueError as error:
            printer.show(error)
    errors = capsys.readouterr().err
    assert (errors.count("KeyError: 'a'"), errors.count("ValueError: b")) == (1, 1)


@pytest.mark.usefixtures("own_directory")
def test_the_page_shows_the_json_form_of_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    Path("settings.yaml").write_text(SETTINGS.replace("output_sink: out\n", ""))
    assert main([*RUN, "--json"]) == 2
    shown = re.search(r"```json\n(.+?)```", EXIT_CODES_PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert shown is not None
    assert json.loads(capsys.readouterr().out) == json.loads(shown[1])


@pytest.mark.usefixtures("own_directory")
def test_an_error_in_json_does_not_enter_a_streamed_output(capsys: pytest.CaptureFixture[str]) -> None:
    with LandscapeDB("sqlite:///audit.db"):
        pass
    assert main(["export", "latest", "-d", "audit.db", "-o", "-", "--json"]) == 1
    output, errors = capsys.readouterr()
    message, document = errors.split("\n", maxsplit=1)
    assert output == ""
    assert f"error: {json.loads(document)['error']['message']}" == message


@pytest.mark.usefixtures("own_directory")
def test_only_the_command_that_requests_json_gets_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ARGUMENTS, "--json"]) == 1
    assert capsys.readouterr().out.startswith("{")
    assert main(ARGUMENTS) == 1
    assert capsys.readouterr().out == ""


def test_a_command_that_a_signal_stops_says_so_in_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(_: str) -> None:
        raise Stopped(signal.SIGTERM)

    monkeypatch.setattr(runs, "list_runs", stop)
    assert main([*ARGUMENTS, "--json"]) == 143
    output, errors = capsys.readouterr()
    assert errors == "error: stopped by SIGTERM\n"
    assert json.loads(output)["error"] == {
        "exit_code": 143,
        "type": "Stopped",
        "message": "stopped by SIGTERM",
        "problems": [],
        "notes": [],
    }

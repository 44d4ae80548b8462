"""Signals stop runs at safe points, other commands at once."""

import logging
import os
import pty
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.engine.interfaces import DBAPIConnection

from elspeth.api.workers import start_workers
from elspeth.cli import main
from elspeth.cli.commands import _record_exports, checks
from elspeth.contracts.enums import RunStatus
from elspeth.contracts.rows import InvalidRow, RowData
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.plugins.csv import CsvSource
from tests.cli.processes import run_with_signal, start_command
from tests.engine.pipelines import groups_of
from tests.fixtures.ids import ID
from tests.fixtures.legacy import LEGACY
from tests.fixtures.records import record_graph

SETTINGS = """
datasource: {plugin: csv, options: {path: in.csv}}
output_sink: out
sinks: {out: {plugin: csv, options: {path: out.csv}}}
landscape: {url: "sqlite:///audit.db"}
"""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

KEY = {"ELSPETH_SIGNING_KEY": "0123456789abcdef"}


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to a directory with settings and rows."""
    monkeypatch.chdir(tmp_path)
    Path("settings.yaml").write_text(SETTINGS)
    write_rows(9)
    return tmp_path


def write_rows(count: int) -> None:
    Path("in.csv").write_text("id\n" + "".join(f"{number}\n" for number in range(count)))


def read_run() -> tuple[str, str, int]:
    """Return the run's id, status and number of rows."""
    with closing(sqlite3.connect("audit.db")) as connection:
        ((run_id, status),) = connection.execute("SELECT run_id, status FROM runs")
        ((rows,),) = connection.execute("SELECT count(*) FROM rows")
    return run_id, status, rows


@pytest.mark.parametrize("number", SIGNALS)
def test_no_library_logs_that_a_command_is_stopped(
    number: signal.Signals, database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    close: Callable[[DefaultDialect, DBAPIConnection], None] = DefaultDialect.do_close

    def interrupted(dialect: DefaultDialect, connection: DBAPIConnection) -> None:
        close(dialect, connection)
        signal.raise_signal(number)

    LandscapeDB.from_url(database_url).close()
    with monkeypatch.context() as patch:
        patch.setattr(logging.getLogger(), "handlers", [])  # those of pytest: a command has none
        patch.setattr(DefaultDialect, "do_close", interrupted)
        code = main(["landscape", "check", "-d", database_url])
    said = "interrupted" if number == signal.SIGINT else f"stopped by {number.name}"
    assert code == 128 + number
    assert capsys.readouterr().err.splitlines()[-1] == f"error: {said}"


@pytest.mark.parametrize("number", SIGNALS)
def test_a_run_asked_to_stop_keeps_its_records(
    job: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    read = CsvSource.read

    def interrupted(source: CsvSource) -> Iterator[RowData | InvalidRow]:
        for index, row in enumerate(read(source)):
            if index == 2:
                signal.raise_signal(number)
            yield row

    groups_of(monkeypatch, 2)
    monkeypatch.setattr(CsvSource, "read", interrupted)
    assert main(["run", "-s", "settings.yaml", "-x", "--no-dotenv"]) == 128 + number
    run_id, status, rows = read_run()
    assert (status, rows) == ("interrupted", 3)
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.splitlines()[1:] == [
        f"error: run {run_id} was interrupted after 3 rows",
        f"Rows that were recorded as written are kept in .out.csv.{run_id}.partial.",
        f"Run {run_id} is recorded as interrupted.",
        f"To go on from row 3: elspeth resume {run_id} -s settings.yaml --execute",
    ]
    assert sorted(path.name for path in job.glob("*.csv")) == ["in.csv"]


MOMENTS: list[object] = [
    pytest.param(number, attempt, marks=[] if number == signal.SIGTERM and attempt < 2 else pytest.mark.thorough)
    for number in SIGNALS
    for attempt in range(20 if number == signal.SIGTERM else 5)
]


@pytest.mark.parametrize(("number", "attempt"), MOMENTS)
@pytest.mark.usefixtures("job")
def test_a_process_stopped_at_any_moment_says_how_to_resume(number: signal.Signals, attempt: int) -> None:
    write_rows(1000)
    moment = random.uniform(0.2, 1.1)  # noqa: S311  not secret
    run = ("run", "-s", "settings.yaml", "-x", "--no-dotenv")
    done = run_with_signal(number, moment, *run, directory=Path.cwd())
    assert done.returncode in (0, 128 + number), (attempt, moment, done.stderr)
    assert "Traceback" not in done.stderr
    if not Path("out.csv").exists():
        assert "error: " in done.stderr
        if Path("audit.db").exists() and (advice := re.search(f"resume {ID} -s settings.yaml", done.stderr)):
            assert main([*advice[0].split(), "--execute", "--no-dotenv"]) == 0
        else:
            assert main([*run]) == 0
    assert Path("out.csv").read_text() == Path("in.csv").read_text()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a directory with a finished and exported run.

    The run has some thousand records.
    """
    directory = tmp_path_factory.mktemp("recorded")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(directory)
        monkeypatch.setenv(*next(iter(KEY.items())))
        Path("settings.yaml").write_text(SETTINGS)
        write_rows(1500)
        assert main(["run", "-s", "settings.yaml", "-x", "--no-dotenv"]) == 0
        assert main(["export", "latest", "-d", "audit.db", "-o", "trail.jsonl", "--hmac"]) == 0
        assert main(["export", "latest", "-d", "audit.db", "-o", "bag", "--format", "bag"]) == 0
    return directory


COMMANDS: list[tuple[str, str | None, int]] = [
    ("export latest -d audit.db -o new.jsonl", "new.jsonl", 0),
    ("export latest -d audit.db -o new --format parquet", "new", 0),
    ("export latest -d audit.db -o new --format bag", "new", 0),
    ("export latest -d audit.db -o new.zip --format bag --zip", "new.zip", 0),
    ("export latest -d audit.db -o new.jsonl --workers 2", "new.jsonl", 0),
    ("verify trail.jsonl --hmac", None, 0),
    ("verify bag", None, 1),
    ("verify bag --workers 2", None, 1),
    ("prove bag row 01", None, 1),
    ("import trail.jsonl -d new.db", "new.db", 0),
    ("landscape check -d audit.db", None, 0),
    ("landscape migrate -d old.db", None, 0),
]
"""Commands that may take long, with what each makes, and its exit code when it comes to its end."""


@pytest.mark.parametrize(("command", "made", "code"), COMMANDS, ids=[command for command, _, _ in COMMANDS])
def test_other_commands_leave_nothing_when_stopped(
    recorded: Path, tmp_path: Path, command: str, made: str | None, code: int
) -> None:
    directory = tmp_path / "work"
    shutil.copytree(recorded, directory)
    shutil.copy(LEGACY / "epoch4-rich.db", directory / "old.db")
    before = {path.name for path in directory.iterdir()}
    number, moment = random.choice(SIGNALS), random.uniform(0.2, 0.8)  # noqa: S311  not secret
    arguments = command.split()
    if arguments[0] == "prove":
        arguments += ["-o", "new.json"]
    done = run_with_signal(number, moment, *arguments, directory=directory, environ=KEY)
    assert "Traceback" not in done.stderr
    made_now = {path.name for path in directory.iterdir()} - before - {"audit.db-wal", "audit.db-shm"}
    if done.returncode == 128 + number:
        said = "interrupted" if number == signal.SIGINT else f"stopped by {number.name}"
        assert done.stderr.splitlines()[-1] == f"error: {said}"
        # A complete backup may stay; an export may have been renamed just before the signal came.
        assert made_now <= {made, *(path.name for path in directory.glob("old.db.*.bak"))}
    else:
        assert done.returncode == code, done.stderr
        assert made is None or made in made_now


@pytest.mark.usefixtures("job")
def test_a_run_whose_terminal_closes_can_be_resumed() -> None:
    write_rows(1500)
    ours, theirs = pty.openpty()
    program = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); from elspeth.cli import run; run()"
    command = [sys.executable, "-c", program, "run", "-s", "settings.yaml", "-x", "--no-dotenv"]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True) as process:
        os.close(theirs)
        while b"rows" not in os.read(ours, 1 << 16):
            pass
        os.close(ours)
    assert process.returncode == 129
    run_id, status, _ = read_run()
    assert status == "interrupted"
    assert main(["resume", run_id, "-s", "settings.yaml", "-x", "--no-dotenv"]) == 0
    assert Path("out.csv").read_text() == Path("in.csv").read_text()


def test_signals_stop_the_command_and_not_its_workers() -> None:
    with start_workers(2, "os") as executor:
        assert executor is not None
        assert set(executor.map(signal.getsignal, SIGNALS)) == {signal.SIG_IGN}


def test_several_stopped_processes_print_one_message(recorded: Path) -> None:
    arguments = ("export", "latest", "-d", "audit.db", "-o", "several.jsonl", "--workers", "3")
    with start_command(*arguments, directory=recorded, own_group=True) as process:
        while not list(recorded.glob("*several.jsonl*")) and process.poll() is None:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGTERM)
        _, errors = process.communicate()
    assert (process.returncode, errors) == (143, "error: stopped by SIGTERM\n")
    assert not list(recorded.glob("*several.jsonl*"))


@pytest.mark.parametrize(
    "command", ["export latest -o trail.jsonl", "export latest -o bag --format bag", "landscape check"]
)
def test_a_command_can_be_stopped_while_the_database_sends_records(
    command: str, database_url: str, own_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def impatient(*_: object) -> Iterator[Callable[[int], None]]:
        yield lambda records: signal.raise_signal(signal.SIGTERM) if records >= 2000 else None

    with LandscapeDB.from_url(database_url) as db:
        recorder = LandscapeRecorder(db)
        record_graph(recorder)
        with recorder.unit_of_work():
            for index in range(6000):
                recorder.create_row("run", "source", index, {})
        recorder.finalize_run("run", RunStatus.FAILED)
    for module in (_record_exports, checks):
        monkeypatch.setattr(module, "record_display", impatient)
    assert main([*command.split(), "-d", database_url]) == 143
    assert {path.suffix for path in own_directory.iterdir()} <= {".db", ".db-wal", ".db-shm"}

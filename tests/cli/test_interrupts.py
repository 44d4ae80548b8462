"""Ctrl-C: the first stops a run at a safe point, the second at once."""

import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from elspeth.cli import main
from elspeth.cli.interrupts import stop_requested
from elspeth.contracts.plugins import InvalidRow, Row
from elspeth.plugins.sources.csv import CsvSource
from tests.engine.pipelines import groups_of

SETTINGS = """
datasource: {plugin: csv, options: {path: in.csv}}
output_sink: out
sinks: {out: {plugin: csv, options: {path: out.csv}}}
landscape: {url: "sqlite:///audit.db"}
"""


@pytest.fixture(autouse=True)
def _as_on_a_terminal() -> Iterator[None]:
    """Whoever runs the tests may ignore Ctrl-C, as shells make commands in the background do."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_command_that_ignores_it_goes_on_ignoring_it() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with stop_requested() as is_stopped:
        signal.raise_signal(signal.SIGINT)
        assert not is_stopped()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_the_first_is_noted_and_the_second_interrupts(capsys: pytest.CaptureFixture[str]) -> None:
    usual = signal.getsignal(signal.SIGINT)
    with stop_requested() as is_stopped:
        assert not is_stopped()
        signal.raise_signal(signal.SIGINT)
        assert is_stopped()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is usual
    message = "stopping when the rows at hand are recorded; press Ctrl-C again to stop at once\n"
    assert capsys.readouterr() == ("", message)


def test_a_run_that_is_interrupted_keeps_what_it_has_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    read = CsvSource.read

    def interrupted(source: CsvSource) -> Iterator[Row | InvalidRow]:
        for number, row in enumerate(read(source)):
            if number == 2:
                signal.raise_signal(signal.SIGINT)
            yield row

    monkeypatch.chdir(tmp_path)
    groups_of(monkeypatch, 2)
    monkeypatch.setattr(CsvSource, "read", interrupted)
    Path("settings.yaml").write_text(SETTINGS)
    Path("in.csv").write_text("id\n" + "".join(f"{number}\n" for number in range(9)))
    assert main(["run", "-s", "settings.yaml", "-x", "--no-dotenv"]) == 1
    with closing(sqlite3.connect("audit.db")) as connection:
        ((run_id, status),) = connection.execute("SELECT run_id, status FROM runs")
        ((rows,),) = connection.execute("SELECT count(*) FROM rows")
    assert (status, rows) == ("interrupted", 4)
    assert capsys.readouterr().err.splitlines() == [
        "stopping when the rows at hand are recorded; press Ctrl-C again to stop at once",
        f"error: run {run_id} was interrupted after 4 rows",
        f"Rows that were recorded as written are kept in .out.csv.{run_id}.partial.",
        f"Run {run_id} is recorded as interrupted.",
        f"To go on from row 4: elspeth resume {run_id} -s settings.yaml --execute",
    ]
    assert sorted(path.name for path in tmp_path.glob("*.csv")) == ["in.csv"]

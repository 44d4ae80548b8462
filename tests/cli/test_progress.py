"""Progress as bars, as lines, or not at all."""

from __future__ import annotations

import io
import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from rich.console import Console

from elspeth.cli import access, main, progress
from elspeth.cli.commands import (
    _lineage_events,
    _record_exports,
    checks,
    evidence,
    imports,
    prune,
    report,
    verify,
)
from elspeth.cli.execution import row_details, row_facts
from elspeth.cli.logs import LogFormat, LogLevel, shown_log
from elspeth.cli.progress import (
    Bars,
    Display,
    Stage,
    duration,
    migration_display,
    progress_display,
    progress_wanted,
    record_display,
)
from elspeth.contracts.enums import RowOutcome
from elspeth.engine.reporting import Progress

DETAILS = ["200,000", "863/s", "failed 12", "quarantined 808", *(f"sink{number} 33,333" for number in range(6))]


class FakeClock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def watch() -> FakeClock:
    return FakeClock()


def make_stage(watch: FakeClock, *, total: float | None = None) -> Stage:
    return Stage(name="rows", total=total, clock=watch)


# -- stages ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00:00"), (61.9, "0:01:01"), (3600, "1:00:00"), (360_000, "100:00:00")]
)
def test_a_duration_is_hours_minutes_and_seconds(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_clock_of_a_stage_runs_until_it_ends(watch: FakeClock) -> None:
    it = make_stage(watch)
    watch.now += 5
    assert it.elapsed == 5
    it.update(3, 3)
    watch.now += 5
    assert (it.elapsed, it.fraction) == (10, 1.0)
    it.end()
    watch.now += 5
    it.end()
    assert (it.elapsed, it.remaining) == (10, None)


def test_the_remaining_time_follows_the_speed_since_the_first_update(watch: FakeClock) -> None:
    it = make_stage(watch, total=1.0)
    watch.now += 100
    it.update(0.5)
    told = [it.remaining]
    watch.now += 10
    it.update(0.6)
    told.append(it.remaining)
    watch.now += 10
    told.append(it.remaining)
    it.update(2.0)
    told.append(it.remaining)
    assert told == [None, pytest.approx(40), pytest.approx(80), 0]
    assert it.fraction == 1.0


def test_without_a_total_the_remaining_time_is_unknown(watch: FakeClock) -> None:
    it = make_stage(watch)
    watch.now += 1
    it.update(5)
    watch.now += 1
    it.update(6)
    assert (it.fraction, it.remaining) == (None, None)
    it.update(0, 0)
    assert (it.fraction, it.remaining, it.as_line()) == (None, None, "rows: 0:00:02")


def test_a_stage_is_printed_as_a_line(watch: FakeClock) -> None:
    it = make_stage(watch)
    assert it.as_line() == "rows: 0:00:00"
    it.update(0.25, 1.0, ["1,000", "10/s"])
    watch.now += 60
    it.update(0.5, details=["2,000", "20/s"])
    assert it.as_line() == "rows: 2,000, 20/s, 50 %, 0:01:00, 0:02:00 left"


# -- bars --------------------------------------------------------------------------------------------------------------


def draw(width: int, *stages: Stage) -> list[str]:
    """Return the lines drawn on a terminal of this width."""
    file = io.StringIO()
    Console(file=file, width=width, legacy_windows=False).print(Bars(stages))
    return file.getvalue().splitlines()


def test_stages_that_begin_later_are_drawn_too(watch: FakeClock) -> None:
    stages = [Stage(name="rows", total=2, clock=watch)]
    file = io.StringIO()
    bars, console = Bars(stages), Console(file=file, width=80, legacy_windows=False)
    stages.append(Stage(name="seal", total=2, clock=watch))
    console.print(bars)
    assert [line.split()[0] for line in file.getvalue().splitlines()] == ["rows", "seal"]


def test_no_time_is_estimated_before_enough_has_passed(watch: FakeClock) -> None:
    it = Stage(name="seal", total=280_100, clock=watch)
    it.update(1)
    watch.now += 0.01
    it.update(16)
    assert it.as_line() == "seal: 0 %, 0:00:00"
    watch.now += 1
    it.update(15_000)
    assert it.as_line() == "seal: 5 %, 0:00:01, 0:00:17 left"
    it.update(280_099)
    assert it.as_line() == "seal: 99 %, 0:00:01, 0:00:00 left"


@pytest.mark.parametrize(
    ("width", "details", "left"),
    [
        (200, 9, True),
        (120, 5, True),
        (80, 3, True),
        (60, 2, True),
        (50, 2, False),
        (40, 2, False),
        (25, 0, False),
        (20, 0, False),
    ],
)
def test_a_narrow_terminal_keeps_the_bar_and_the_clock(watch: FakeClock, width: int, details: int, left: bool) -> None:
    it = make_stage(watch, total=1.0)
    it.update(0.0, details=DETAILS)
    watch.now += 231
    it.update(0.5, details=DETAILS)
    (line,) = draw(width, it)
    assert len(line) <= width
    assert line.startswith("rows ━━")
    assert "0:03:51" in line
    assert ("0:03:51 left" in line) is left
    assert [detail for detail in DETAILS if detail in line] == DETAILS[:details]


def test_the_bar_of_an_ended_stage_is_full_whether_or_not_its_total_was_known(watch: FakeClock) -> None:
    it, half = make_stage(watch), make_stage(watch, total=1.0)
    half.update(0.5)
    it.update(3)
    it.end()
    assert [line.count("━") for line in draw(80, it, half)] == [20, 10]
    half.end()
    assert [line.count("━") for line in draw(80, it, half)] == [20, 20]
    file = io.StringIO()
    Console(file=file, width=80, color_system="truecolor", force_terminal=True, legacy_windows=False).print(Bars([it]))
    assert file.getvalue().count("\x1b[38;2;") <= 2, "a bar that pulses has a colour for each character"


def test_each_stage_has_a_line(watch: FakeClock) -> None:
    first, second = make_stage(watch), Stage(name="proof", clock=watch)
    first.end()
    assert [line.split()[0] for line in draw(80, first, second)] == ["rows", "proof"]
    assert draw(80) == []


# -- displays ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def frequent_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Print lines as fast as possible."""
    monkeypatch.setattr(progress, "_LINE_INTERVAL_S", 0.001)


class LineStream(io.StringIO):
    """Standard error without a terminal, which signals every line."""

    def __init__(self) -> None:
        super().__init__()
        self.came = threading.Event()

    def flush(self) -> None:
        """Signal a line."""
        self.came.set()


@pytest.mark.usefixtures("frequent_lines")
def test_without_a_terminal_lines_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = LineStream()
    monkeypatch.setattr(sys, "stderr", errors)
    with record_display("export", 20_000) as tell:
        tell(10_000)
        errors.came.clear()
        assert errors.came.wait(10)
    assert "export: 10,000 of 20,000 records, 50 %, 0:00:0" in errors.getvalue()
    assert threading.active_count() == 1 or "progress" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.usefixtures("frequent_lines")
def test_the_lines_are_about_the_stage_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = LineStream()
    monkeypatch.setattr(sys, "stderr", errors)
    with progress_display() as display:
        display.begin("rows")
        display.begin("proof", 3)
        display.update(1, 3, ["1 of 3"])
        errors.truncate(0)
        errors.came.clear()
        assert errors.came.wait(10)
        errors.came.clear()
        assert errors.came.wait(10)
        assert errors.getvalue().splitlines()[-1].strip("\0") == "proof: 1 of 3, 33 %, 0:00:00"


@pytest.mark.usefixtures("frequent_lines")
@pytest.mark.parametrize("is_terminal", [True, False])
def test_progress_can_be_switched_off(monkeypatch: pytest.MonkeyPatch, is_terminal: bool) -> None:
    errors = LineStream()
    monkeypatch.setattr(errors, "isatty", lambda: is_terminal)
    monkeypatch.setattr(sys, "stderr", errors)
    token = progress_wanted.set(False)
    try:
        with record_display("export") as tell:
            tell(10_000)
            assert not errors.came.wait(0.05)
    finally:
        progress_wanted.reset(token)
    assert errors.getvalue() == ""


def test_a_terminal_gets_bars(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    with record_display("export") as tell:
        tell(12_345)
    output, errors = capsys.readouterr()
    assert output == ""
    assert "12,345 records" in errors


def test_nothing_is_drawn_before_there_is_a_stage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress_display():
        pass
    assert capsys.readouterr() == ("", "")


def test_the_rate_counts_the_rows_of_this_attempt() -> None:
    endings = {
        (RowOutcome.COMPLETED, "out"): 4_000,
        (RowOutcome.QUARANTINED, "bad"): 1_200,
        (RowOutcome.FAILED, None): 500,
    }
    told = Progress(rows=4_500, rows_before=3_500, fraction=0.5, endings=endings)
    assert row_details(told, 10.0) == ["4,500", "100/s", "failed 500", "quarantined 1,200", "bad 1,200", "out 4,000"]
    assert row_details(told, 0.0) == ["4,500", "failed 500", "quarantined 1,200", "bad 1,200", "out 4,000"]
    assert row_facts(told) == {
        "rows": 4_500,
        "rows_before": 3_500,
        "fraction": 0.5,
        "failed": 500,
        "quarantined": 1_200,
        "rows_by_sink": {"out": 4_000, "bad": 1_200},
    }


def test_a_stage_is_logged_with_its_facts(watch: FakeClock, capsys: pytest.CaptureFixture[str]) -> None:
    it = make_stage(watch)
    it.update(1, 3)
    watch.now += 4.26
    it.update(2, 3)
    with shown_log(LogLevel.INFO, LogFormat.JSON):
        progress._log_stage(it)
    told = json.loads(capsys.readouterr().err)
    assert {name: told[name] for name in ("phase", "done", "total", "elapsed_s", "remaining_s")} == {
        "phase": "rows",
        "done": 2,
        "total": 3,
        "elapsed_s": 4.3,
        "remaining_s": 4.3,
    }


def test_a_stage_ends_when_the_next_begins_and_a_migration_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Display] = []
    display = Display(shown.append)
    display.begin("rows")
    display.begin("proof", 3)
    assert [(each.name, each.total, each.is_ended) for each in display.stages] == [
        ("rows", None, True),
        ("proof", 3, False),
    ]
    assert shown == [display]
    display = Display(shown.append)
    monkeypatch.setattr(progress, "progress_display", lambda: nullcontext(display))
    with migration_display() as report:
        report("runs", 1, 3)
        report("rows", 3, 3)
    assert [(each.name, each.total, each.done) for each in display.stages] == [("migrate", 3, 3)]


TOLD = {
    "export latest -d audit.db -o bag.zip": ["export"],
    "verify bag.zip": ["verify"],
    "import bag.zip -d new.db": ["import"],
    "rows --from bag.zip": ["read"],
    "prove bag.zip row missing -o proof.json": ["prove"],
    "report latest -d audit.db -o report.html": ["report"],
    "report bag.zip -o report.html": ["read", "report"],
    "export bag.zip -o events.ndjson --format openlineage": ["read"],
    "landscape check -d audit.db": ["check seals"],
    "landscape prune -d audit.db --before 2999-01-01 --archive old -x": ["bag 1 of 1"],
}
"""Commands, with whatever each tells its progress of."""


@pytest.mark.usefixtures("own_directory")
def test_every_command_shows_how_many_records_it_has_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told: dict[str, tuple[int | None, list[int]]] = {}

    @contextmanager
    def display(description: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        told[description] = total, []
        yield told[description][1].append

    for module in (_lineage_events, _record_exports, access, checks, evidence, imports, prune, report, verify):
        monkeypatch.setattr(module, "record_display", display)
    run_small(capsys)
    for command, names in TOLD.items():
        told.clear()
        main(command.split())
        assert [name for name, (_, numbers) in told.items() if numbers] == names, command
        if names == ["export"]:
            total, numbers = told["export"]
            assert total == numbers[-1], "the seal says how many there are"


def run_small(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """Run a pipeline of one row; return its messages."""
    Path("settings.yaml").write_text(
        "datasource: {plugin: csv, options: {path: in.csv}}\noutput_sink: out\n"
        "sinks: {out: {plugin: csv, options: {path: out.csv}}}\nlandscape: {url: 'sqlite:///audit.db'}\n"
    )
    Path("in.csv").write_text("id\n1\n")
    assert main([*options, "run", "-s", "settings.yaml", "-x", "--no-dotenv"]) == 0
    return capsys.readouterr().err


@pytest.mark.usefixtures("frequent_lines", "own_directory")
@pytest.mark.parametrize("how", ["option", "environment"])
def test_progress_can_be_switched_off_by_an_option_or_the_environment(
    how: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if how == "environment":
        monkeypatch.setenv("ELSPETH_NO_PROGRESS", "1")
    assert run_small(capsys, *(["--no-progress"] if how == "option" else [])) == ""
    assert progress_wanted.get()

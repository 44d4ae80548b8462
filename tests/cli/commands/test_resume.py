"""`elspeth resume` shows, resumes and abandons a stopped run."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from elspeth.cli import main
from elspeth.contracts.plugins import PluginError
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.claim import claim_run
from elspeth.engine import resuming
from elspeth.plugins.csv import CsvSink
from tests.engine.pipelines import groups_of

pytestmark = pytest.mark.usefixtures("own_directory")

Captured = pytest.CaptureFixture[str]

SETTINGS = """
datasource: {plugin: csv, options: {path: in.csv}}
aggregations:
  - {name: threes, plugin: batch_replicate, trigger: {count: 3}, output_mode: passthrough,
     options: {copies_field: copies}}
output_sink: out
sinks: {out: {plugin: csv, options: {path: out.csv}}}
landscape: {url: "sqlite:///audit.db"}
"""


def run_resume(capsys: Captured, *arguments: str) -> tuple[int, str, str]:
    """Run `elspeth resume`; return its exit code, output and errors."""
    code = main(["resume", *arguments, "-s", "settings.yaml", "--no-dotenv"])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def read_status() -> str:
    """Return the status of the only run."""
    with closing(sqlite3.connect("audit.db")) as connection:
        ((found,),) = connection.execute("SELECT status FROM runs")
    return str(found)


@pytest.fixture
def run_id(own_directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> str:
    """Stop a run of nine rows after eight were recorded.

    Two of them wait in a batch.
    """
    sync = CsvSink.sync
    left = iter([True, True])

    def fail_at_the_third(sink: CsvSink) -> None:
        if not next(left, False):
            raise PluginError("out.csv: the cable was pulled")
        sync(sink)

    groups_of(monkeypatch, 2)
    Path("settings.yaml").write_text(SETTINGS)
    Path("in.csv").write_text("id\n" + "".join(f"{number}\n" for number in range(9)))
    with monkeypatch.context() as patch:
        patch.setattr(CsvSink, "sync", fail_at_the_third)
        assert main(["run", "-s", "settings.yaml", "-x", "--no-dotenv"]) == 1
    capsys.readouterr()
    with closing(sqlite3.connect(own_directory / "audit.db")) as connection:
        ((found,),) = connection.execute("SELECT run_id FROM runs")
    return str(found)


NOTHING = "Nothing was resumed: add --execute (-x) to go on, or --abandon to abandon the run.\n"
REASON = "PluginError: out.csv: the cable was pulled"


def format_run(run_id: str, *, status: str, waiting: int, rows: int = 8, reasons: tuple[str, ...] = (REASON,)) -> str:
    """Return what is printed about a run."""
    told = "".join(f"stopped by     {reason}\n" for reason in reasons)
    return f"run            {run_id}\nstatus         {status}\nrows recorded  {rows}\nwaiting        {waiting}\n{told}"


def test_without_execute_resume_shows_the_state_of_the_run(run_id: str, capsys: Captured) -> None:
    before = Path("audit.db").read_bytes()
    expected = format_run(run_id, status="interrupted", waiting=2)
    assert run_resume(capsys, run_id) == (1, expected, NOTHING)
    assert run_resume(capsys, "latest") == (1, expected, NOTHING)
    code, out, err = run_resume(capsys, run_id, "--json")
    assert (code, err) == (1, NOTHING)
    assert json.loads(out) == {
        "run_id": run_id,
        "status": "interrupted",
        "rows": 8,
        "waiting": 2,
        "reasons": [REASON],
    }
    assert Path("audit.db").read_bytes() == before


def test_with_execute_resume_completes_the_run(run_id: str, capsys: Captured) -> None:
    code, out, err = run_resume(capsys, "latest", "--execute")
    assert (code, err) == (0, "")
    assert re.fullmatch(
        rf"run             {run_id}\n"
        r"took            \d+\.\d s, [\d,]+ rows/s\n"
        r"rows in         9\n"
        r"to sink out     9 in out\.csv, 50 bytes, SHA-256 [0-9a-f]{12}\n"
        r"failed          0\n"
        r"quarantined     0\n"
        r"audit database  sqlite:///audit\.db\n"
        rf"report          elspeth report {run_id} -d sqlite:///audit\.db -o report\.html\n",
        out,
    )
    assert Path("out.csv").read_text() == "id,copy_index\n" + "".join(f"{number},0\n" for number in range(9))
    assert read_status() == "completed"
    assert sorted(path.name for path in Path().iterdir() if path.name.startswith((".out", "audit.db."))) == []


def test_the_summary_of_a_resumed_run_covers_the_whole_run(run_id: str, capsys: Captured) -> None:
    code, out, err = run_resume(capsys, run_id, "-x", "--json")
    assert (code, err) == (0, "")
    summary = json.loads(out)
    assert (summary["run_id"], summary["rows"], summary["rows_by_sink"]) == (run_id, 9, {"out": 9})
    assert summary["rows_before"] == 8
    assert summary["rows_per_second"] == pytest.approx(1 / summary["seconds"], rel=0.1)
    assert [each["path"] for each in summary["outputs"]] == ["out.csv"]


def test_a_run_that_stops_again_repeats_the_message(
    run_id: str, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setattr(CsvSink, "publish", fail)
    kept = f".out.csv.{run_id}.partial"
    code, out, err = run_resume(capsys, run_id, "-x")
    assert (code, out) == (1, "")
    assert err == (
        "error: out.csv: the cable was pulled\n"
        f"Rows that were recorded as written are kept in {kept}.\n"
        f"Run {run_id} is recorded as interrupted.\n"
        f"To go on from row 9: elspeth resume {run_id} -s settings.yaml --execute\n"
    )
    assert Path(kept).exists()


def fail(_: CsvSink) -> None:
    raise PluginError("out.csv: the cable was pulled")


def test_an_abandoned_run_has_failed_and_cannot_be_resumed(run_id: str, capsys: Captured) -> None:
    failed = format_run(run_id, status="failed", waiting=0)
    assert run_resume(capsys, run_id, "--abandon") == (0, failed, "")
    assert read_status() == "failed"
    assert run_resume(capsys, run_id) == (1, failed, "Nothing can be resumed: the run has ended.\n")
    ended = f"error: run {run_id} is failed: only a run that has not ended can be resumed\n"
    assert run_resume(capsys, run_id, "-x") == (1, "", ended)
    assert run_resume(capsys, run_id, "--abandon") == (1, "", ended)


def test_what_could_not_be_done_for_an_abandoned_run_is_a_warning(
    run_id: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resuming, "abandon_run", lambda *_: ["no checkpoint\x1b", "no events"])
    code, _, err = run_resume(capsys, run_id, "--abandon")
    assert (code, err) == (0, "warning: no checkpoint\\x1b\nwarning: no events\n")


def test_execute_and_abandon_contradict_each_other(run_id: str, capsys: Captured) -> None:
    code, out, err = run_resume(capsys, run_id, "-x", "--abandon")
    assert (code, out) == (2, "")
    assert err == "error: --execute and --abandon contradict each other: give one of them\n"
    assert read_status() == "interrupted"


@pytest.mark.parametrize("arguments", [[], ["-x"], ["--abandon"]])
def test_an_unknown_run_is_named(run_id: str, capsys: Captured, arguments: list[str]) -> None:
    expected = (1, "", "error: audit database sqlite:///audit.db holds no run 'nowhere'\n")
    assert run_resume(capsys, "nowhere", *arguments) == expected
    assert run_id


def test_changed_settings_are_named_and_change_nothing(run_id: str, capsys: Captured) -> None:
    Path("settings.yaml").write_text(SETTINGS.replace("count: 3", "count: 4"))
    code, out, err = run_resume(capsys, run_id, "-x")
    assert (code, out) == (1, "")
    assert err == (
        f"error: run {run_id} began with other settings or plugins: aggregations[0].trigger.count; resume it with "
        "those that it began with, or run the pipeline again\n"
    )
    assert read_status() == "interrupted"


def test_a_run_in_another_process_is_left_alone(run_id: str, capsys: Captured) -> None:
    claim = f"error: run {run_id} is being recorded by another process: wait for its end, or stop it first\n"
    expected = (1, "", claim)
    with LandscapeDB.from_url("sqlite:///audit.db") as db, claim_run(db, run_id):
        assert run_resume(capsys, run_id, "-x") == expected
        assert run_resume(capsys, run_id, "--abandon") == expected
    assert read_status() == "interrupted"


def test_a_missing_database_is_named_and_not_created(capsys: Captured) -> None:
    Path("settings.yaml").write_text(SETTINGS)
    code, out, err = run_resume(capsys, "latest", "-x")
    assert (code, out) == (1, "")
    assert err == "error: audit database audit.db does not exist\n"
    assert not Path("audit.db").exists()

"""`elspeth landscape status`, `check`, `migrate` and `runs`."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import typer
from sqlalchemy import make_url

from elspeth.cli import main
from elspeth.cli.commands import checks, migration
from elspeth.cli.progress import migration_display
from elspeth.contracts.database_urls import mask_url
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.migration.migrate import MigrationReport
from elspeth.core.landscape.queries import runs
from elspeth.core.landscape.queries.runs import ListedRun
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.landscape.sealing.check import SealReport
from elspeth.core.landscape.sealing.log_check import LogReport
from elspeth_schema import EPOCH
from tests.fixtures.epochs import lacking
from tests.fixtures.legacy import EPOCHS, LEGACY, OldDatabaseMaker, rows_of
from tests.fixtures.rich_run import recorded, rich_run
from tests.fixtures.untouched import untouched

pytestmark = pytest.mark.usefixtures("own_directory")

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Copy a database of epoch 4."""
    return Path(shutil.copy(LEGACY / "epoch4-rich.db", tmp_path / "old.db"))


def run_landscape(capsys: Captured, *arguments: str) -> tuple[int, str, str]:
    """Run `elspeth landscape`; return its exit code, output and errors."""
    code = main(["landscape", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


# -- status ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EPOCHS)
def test_status_describes_a_historical_database(name: str, tmp_path: Path, capsys: Captured) -> None:
    path = Path(shutil.copy(LEGACY / f"{name}.db", tmp_path / "old.db"))
    with untouched(path):
        code, output, errors = run_landscape(capsys, "status", "-d", "old.db")
    assert code == 1
    assert output.splitlines()[:3] == [
        "audit database  sqlite:///old.db",
        "state           older",
        f"epoch           {EPOCHS[name]} (this version: {EPOCH})",
    ]
    assert errors.startswith(
        f"audit database sqlite:///old.db is of epoch {EPOCHS[name]}, this version records in epoch {EPOCH}."
        " Nothing was changed."
    )
    assert errors.endswith(" To record into it, run: elspeth landscape migrate -d sqlite:///old.db\n")


@pytest.mark.usefixtures("old")
def test_status_lists_every_difference(capsys: Captured) -> None:
    tables, columns = lacking(4)
    assert run_landscape(capsys, "status", "-d", "old.db") == (
        1,
        (
            "audit database  sqlite:///old.db\n"
            "state           older\n"
            f"epoch           4 (this version: {EPOCH})\n"
            f"differences     {tables}\n"
            f"                {columns}\n"
            "possible        to record into it, migrate it: elspeth landscape migrate -d sqlite:///old.db\n"
            "                to record beside its runs, adopt them: elspeth landscape adopt sqlite:///old.db -d NEW\n"
            "                to list its runs: elspeth landscape runs -d sqlite:///old.db\n"
            "                to export a run: elspeth export latest -d sqlite:///old.db --format bag -o OUTPUT\n"
            "                to explain a row: elspeth explain --run latest --row 0 -d sqlite:///old.db\n"
            "                to export all as it is found:"
            " elspeth export --as-found sqlite:///old.db --format bag -o OUTPUT\n"
        ),
        (
            f"audit database sqlite:///old.db is of epoch 4, this version records in epoch {EPOCH}."
            " Nothing was changed. Reading it is safe as it is (elspeth export, explain, landscape runs)."
            " To record into it, run: elspeth landscape migrate -d sqlite:///old.db\n"
        ),
    )


@pytest.mark.usefixtures("old")
def test_status_can_be_printed_as_json(capsys: Captured) -> None:
    code, output, _ = run_landscape(capsys, "status", "-d", "old.db", "--json")
    assert (code, json.loads(output)) == (
        1,
        {
            "database": "sqlite:///old.db",
            "state": "older",
            "epoch": 4,
            "expected_epoch": EPOCH,
            "predecessor": None,
            "differences": [*lacking(4)],
            "history": [],
            "overdue_checkpoints": [],
            "unsent_events": [],
            "ways": json.loads(output)["ways"],
        },
    )


def test_status_shows_the_history_of_a_migrated_database(old: Path, capsys: Captured) -> None:
    assert main(["landscape", "migrate", "-d", str(old)]) == 0
    capsys.readouterr()
    code, output, errors = run_landscape(capsys, "status", "-d", "old.db")
    (history,) = (line for line in output.splitlines() if line.startswith("history"))
    assert (code, errors) == (0, f"audit database sqlite:///old.db is of epoch {EPOCH}, as this version expects.\n")
    assert re.fullmatch(rf"history {{9}}\d{{4}}-\d\d-\d\dT[\d:.]+Z  epoch 4 to {EPOCH}, elspeth [\d.]+", history)
    data = json.loads(run_landscape(capsys, "status", "-d", "old.db", "--json")[1])
    assert data["history"][0]["tables"]["calls"]["rows_before"] == 12


def test_status_describes_a_new_database(capsys: Captured) -> None:
    LandscapeDB("sqlite:///new.db").close()
    with untouched(Path("new.db")):
        code, output, errors = run_landscape(capsys, "status", "-d", "new.db")
    assert (code, errors) == (0, f"audit database sqlite:///new.db is of epoch {EPOCH}, as this version expects.\n")
    assert re.search(rf"^history {{9}}\S+  made at epoch {EPOCH}, elspeth [\d.]+$", output, re.MULTILINE)


def test_status_describes_a_missing_database(capsys: Captured, tmp_path: Path) -> None:
    assert run_landscape(capsys, "status", "-d", "nothing.db") == (
        0,
        (
            "audit database  sqlite:///nothing.db\n"
            "state           empty\n"
            f"epoch           none (this version: {EPOCH})\n"
            "possible        to record a run: elspeth run -s SETTINGS --execute"
            "  (with landscape.url: sqlite:///nothing.db)\n"
            "                to adopt runs of the predecessor: elspeth landscape adopt OLD -d sqlite:///nothing.db\n"
            "                to take in an exported run: elspeth import EXPORT -d sqlite:///nothing.db\n"
        ),
        (
            "audit database sqlite:///nothing.db does not exist: its path may be wrong."
            " A run with it as landscape.url creates it.\n"
        ),
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.postgres
def test_status_works_on_postgresql(old_database_of: OldDatabaseMaker, capsys: Captured) -> None:
    url = old_database_of("epoch4-rich", "postgresql").url
    code, output, _ = run_landscape(capsys, "status", "-d", url)
    assert (code, output.splitlines()[0]) == (1, f"audit database  {mask_url(make_url(url))}")


# -- check -------------------------------------------------------------------------------------------------------------


def test_check_passes_for_a_current_database(capsys: Captured) -> None:
    LandscapeDB("sqlite:///new.db").close()
    assert run_landscape(capsys, "check", "-d", "new.db") == (
        0,
        "",
        (
            f"audit database sqlite:///new.db is of epoch {EPOCH}, as this version expects.\n"
            "0 of 0 sealed runs unchanged\n"
            "0 runs in the log of runs, 1 entry\n"
        ),
    )


def test_check_fails_for_an_empty_database(capsys: Captured) -> None:
    assert run_landscape(capsys, "check", "-d", "new.db")[0] == 1


def test_check_waits_for_a_migration(old: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    slept = []

    def migrate_meanwhile(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            assert main(["landscape", "migrate", "-d", str(old)]) == 0
            capsys.readouterr()

    monkeypatch.setattr(time, "sleep", migrate_meanwhile)
    assert run_landscape(capsys, "check", "-d", "old.db", "--wait", "60", "--no-seals") == (
        0,
        "",
        f"audit database sqlite:///old.db is of epoch {EPOCH}, as this version expects.\n",
    )
    assert slept == [1.0, 1.0]


def test_check_stops_waiting_after_the_given_time(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    code, _, errors = run_landscape(capsys, "check", "-d", "postgresql://127.0.0.1:1/audit", "--wait", "3")
    assert (code, now, errors.count("\n")) == (1, [3.0], 1)


# -- migrate -----------------------------------------------------------------------------------------------------------


def test_migrate_reports_what_it_did(old: Path, capsys: Captured) -> None:
    code, output, errors = run_landscape(capsys, "migrate", "-d", "old.db", "--backup", "saved.db")
    assert (code, errors) == (0, "")
    lines = dict(re.split(r" {2,}", line) for line in output.splitlines())
    assert lines == {
        "audit database": "sqlite:///old.db",
        "migrated": f"from epoch 4 to {EPOCH}",
        "backup": "saved.db",
        **{f"rows of {name}": str(len(rows)) for name, rows in rows_of(LEGACY / "epoch4-rich.db").items()},
        "seals": "0 of 0 sealed runs unchanged",
    }
    assert rows_of(old.parent / "saved.db") == rows_of(LEGACY / "epoch4-rich.db")


def test_a_second_migrate_has_nothing_to_do(old: Path, capsys: Captured) -> None:
    main(["landscape", "migrate", "-d", "old.db"])
    capsys.readouterr()
    with untouched(old):
        for arguments in ([], ["--dry-run"]):
            assert run_landscape(capsys, "migrate", "-d", "old.db", *arguments) == (
                0,
                f"audit database sqlite:///old.db is of epoch {EPOCH} already: there is nothing to migrate.\n",
                "",
            )
        assert run_landscape(capsys, "migrate", "-d", "old.db", "--sql") == (0, "", "")


def test_migrate_works_without_a_backup(old: Path, capsys: Captured) -> None:
    code, output, _ = run_landscape(capsys, "migrate", "-d", "old.db", "--no-backup")
    assert (code, output.splitlines()[2]) == (0, "backup                      none")
    assert list(old.parent.iterdir()) == [old]


def test_a_dry_run_changes_nothing(old: Path, capsys: Captured) -> None:
    with untouched(old):
        code, output, errors = run_landscape(capsys, "migrate", "-d", "old.db", "--dry-run")
    assert (code, errors) == (0, "")
    assert output.splitlines()[1] == f"would migrate               from epoch 4 to {EPOCH}"


def test_the_script_goes_to_standard_output(old: Path, capsys: Captured) -> None:
    with untouched(old):
        code, output, errors = run_landscape(capsys, "migrate", "-d", "old.db", "--sql")
    assert (code, errors) == (0, "")
    lines = output.splitlines()
    assert lines[:3] == [".bail on", "PRAGMA foreign_keys = OFF;", "BEGIN EXCLUSIVE;"]
    assert lines[-2:] == ["COMMIT;", "PRAGMA foreign_key_check;"]


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        (["--backup", "x", "--no-backup"], "--backup and --no-backup"),
        (["--sql", "--dry-run"], "--sql and --dry-run"),
        (["--sql", "--backup", "x", "--dry-run"], "--backup, --sql and --dry-run"),
    ],
)
def test_contradictory_options_are_usage_errors(arguments: list[str], given: str, old: Path, capsys: Captured) -> None:
    with untouched(old):
        found = run_landscape(capsys, "migrate", "-d", "old.db", *arguments)
    assert found == (2, "", f"error: {given} contradict each other: give one of them\n")


@pytest.mark.postgres
def test_a_backup_on_postgresql_is_left_to_the_administrator(
    old_database_of: OldDatabaseMaker, capsys: Captured
) -> None:
    url = old_database_of("epoch4-rich", "postgresql").url
    code, output, errors = run_landscape(capsys, "migrate", "-d", url)
    name = mask_url(make_url(url))
    assert (code, output) == (1, "")
    assert errors == (
        f"error: audit database {name} was not migrated and not changed: a PostgreSQL database is backed up by its"
        " administrator, for example with: pg_dump --format=custom --file=audit.dump"
        f" {make_url(url).database}. After that, migrate with --no-backup.\n"
    )
    assert run_landscape(capsys, "migrate", "-d", url, "--no-backup")[0] == 0
    assert run_landscape(capsys, "check", "-d", url)[0] == 0


def test_a_bar_is_drawn_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with migration_display() as report:
        report("node_states", 5, 10)
    assert "node_states  5 of 10 rows" in capsys.readouterr().err


# -- runs --------------------------------------------------------------------------------------------------------------

RUNS = {
    "epoch1-audit-export": [("completed", "8", "completed")],
    "epoch4-audit-export": [("completed", "8", "completed")],
    "epoch1-rich": [("completed", "10", "completed"), ("failed", "10", "completed"), ("running", "10", "none")],
    "epoch4-rich": [("completed", "10", "completed"), ("failed", "10", "completed"), ("running", "10", "none")],
}


@pytest.mark.parametrize("name", RUNS)
def test_runs_are_listed_before_and_after_a_migration(name: str, tmp_path: Path, capsys: Captured) -> None:
    path = Path(shutil.copy(LEGACY / f"{name}.db", tmp_path / "old.db"))
    with untouched(path):
        code, before, _ = run_landscape(capsys, "runs", "-d", "old.db")
    assert code == 0
    heading, *lines = [line.split() for line in before.splitlines()]
    assert heading == ["run", "status", "started", "rows", "export"]
    started = sorted(
        (str(run["started_at"]).replace(" ", "T") + "Z", str(run["run_id"])) for run in rows_of(path)["runs"]
    )
    assert [(line[2], line[0]) for line in lines] == started
    assert [(line[1], line[3], line[4]) for line in lines] == RUNS[name]
    assert main(["landscape", "migrate", "-d", "old.db"]) == 0
    capsys.readouterr()
    assert run_landscape(capsys, "runs", "-d", "old.db") == (0, before, "")


@pytest.mark.usefixtures("old")
def test_runs_can_be_listed_as_json(capsys: Captured) -> None:
    _, output, _ = run_landscape(capsys, "runs", "-d", "old.db", "--json")
    assert json.loads(output)[2] == {
        "run_id": "run-running",
        "status": "running",
        "started_at": json.loads(output)[2]["started_at"],
        "rows": 10,
        "export_status": None,
        "user": None,
        "host": None,
        "labels": None,
        "at_work": None,
        "pruned_at": None,
        "bag": None,
    }


def test_runs_as_json_name_who_began_them(database_url: str, capsys: Captured) -> None:
    with LandscapeDB(database_url) as database:
        recorded(database, rich_run())
    (told,) = json.loads(run_landscape(capsys, "runs", "-d", database_url, "--json")[1])
    assert (told["user"], told["host"], told["labels"]) == ("jörg", None, {"=1+1": "\U0001f600"})


def test_a_run_without_a_process_is_reported(database_url: str, capsys: Captured) -> None:
    with LandscapeDB(database_url) as database:
        recorder = LandscapeRecorder(database)
        for run_id, status in (("ended", "completed"), ("gone", None), ("here", None)):
            recorder.begin_run({}, "v1", run_id=run_id)
            if status is not None:
                recorder.complete_run(run_id, status)
        with recorder.claimed("here"):
            code, output, errors = run_landscape(capsys, "runs", "-d", database_url)
            told = json.loads(run_landscape(capsys, "runs", "-d", database_url, "--json")[1])
    assert (code, len(output.splitlines())) == (0, 4)
    assert errors == "run gone has the status running, but no process works on it: resume it\n"
    assert {run["run_id"]: run["at_work"] for run in told} == {"ended": None, "gone": False, "here": True}


def test_only_a_pruned_run_is_listed_with_the_bag_that_holds_its_records(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    began = "2026-03-01T12:00:00.000000Z"
    found = [
        ListedRun(
            run_id="old", status="completed", started_at=began, rows=1_200, export_status="completed", bag="b.zip"
        ),
        ListedRun(run_id="new", status="failed", started_at=began, rows=0, export_status=None),
    ]
    monkeypatch.setattr(runs, "list_runs", lambda _: found)
    code, output, errors = run_landscape(capsys, "runs", "-d", "audit.db")
    assert (code, output.splitlines(), errors) == (
        0,
        [
            "run  status     started                      rows   export     pruned, now in",
            f"old  completed  {began}  1,200  completed  b.zip",
            f"new  failed     {began}  0      none",
        ],
        "",
    )
    monkeypatch.setattr(runs, "list_runs", lambda _: found[1:])
    assert run_landscape(capsys, "runs", "-d", "audit.db")[1].splitlines()[0].endswith("export")


SEALS = SealReport(sealed=2, unchanged=1, faults=(), signers={}, unsealed=(), unfinished={}, pruned=0)


def test_a_migration_without_a_backup_shows_what_it_did_with_the_seals() -> None:
    done = MigrationReport(from_epoch=4, rows={"runs": 1_200, "rows": 0}, seals=SEALS)
    assert list(migration._migration_lines(done)) == [
        ("backup", "none"),
        ("rows of runs", "1,200"),
        ("rows of rows", "0"),
        ("seals", "1 of 2 sealed runs unchanged"),
    ]


def test_every_run_that_was_altered_before_a_migration_is_named(capsys: Captured) -> None:
    migration._report_altered_runs(MigrationReport(from_epoch=4, rows={}))
    migration._report_altered_runs(MigrationReport(from_epoch=4, rows={}, seals=SEALS))
    altered = replace(SEALS, faults=cast("Any", ("run a: was changed\x1b", "run b: was changed")))
    with pytest.raises(typer.Exit) as ended:
        migration._report_altered_runs(MigrationReport(from_epoch=4, rows={}, seals=altered))
    assert ended.value.exit_code == 1
    output, errors = capsys.readouterr()
    assert (output, errors.splitlines()) == (
        "",
        [
            "run a: was changed\\x1b (before the migration, which changed no value)",
            "run b: was changed (before the migration, which changed no value)",
        ],
    )


def test_the_findings_about_seals_and_the_log_are_in_the_json() -> None:
    report = replace(SEALS, signers={"abc": 1, None: 1}, unsealed=("x",), unfinished={"y": "running"}, pruned=3)
    assert checks.seals_data(None) is None
    assert checks.seals_data(report) == {
        "sealed": 2,
        "unchanged": 1,
        "faults": [],
        "signers": [{"key": "abc", "seals": 1}, {"key": None, "seals": 1}],
        "unsealed": ("x",),
        "unfinished": {"y": "running"},
        "pruned": 3,
        "verdict": "1 of 2 sealed runs unchanged; the records of 3 more are in bags",
    }
    assert checks._log_data(None) is None
    assert checks._log_data(LogReport(size=5, runs=2, faults=())) == {
        "size": 5,
        "runs": 2,
        "verdict": "2 runs in the log of runs, 5 entries",
        "faults": [],
    }


def test_runs_of_a_missing_database_are_an_error(capsys: Captured) -> None:
    assert run_landscape(capsys, "runs", "-d", "nothing.db") == (
        1,
        "",
        (
            "error: audit database sqlite:///nothing.db does not exist: its path may be wrong."
            " A run with it as landscape.url creates it.\n"
        ),
    )


# -- adopt -----------------------------------------------------------------------------------------------------------


def test_a_script_is_not_printed_as_json(old: Path, capsys: Captured) -> None:
    with untouched(old):
        code, _, errors = run_landscape(capsys, "migrate", "-d", "old.db", "--sql", "--json")
    assert (code, errors) == (2, "error: --sql and --json contradict each other: give one of them\n")


RELEASED = "0.5.1-0511__batch_aggregation.db"


def test_adopt_copies_the_runs_of_the_predecessor(
    predecessor_files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = predecessor_files / RELEASED, tmp_path / "new.db"
    with untouched(old):
        assert main(["landscape", "adopt", str(old), "-d", str(new)]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"old database            sqlite:///{old}\nadopted                 1 run\n")
    assert "rows of token_outcomes  33, 33 of them kept as found\n" in out or "rows of token_outcomes  33\n" in out
    assert not re.search("^rows of [a-z_]+ +0", out, re.MULTILINE), "empty tables are left out"
    assert main(["landscape", "adopt", str(old), "-d", str(new)]) == 0
    assert capsys.readouterr().out == (f"every run of sqlite:///{old} was adopted before: there is nothing to do.\n")
    assert main(["landscape", "check", "-d", str(new)]) == 0


def test_adopt_reports_an_adopted_run_that_was_changed(
    predecessor_files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = Path(shutil.copy(predecessor_files / RELEASED, tmp_path / "old.db")), tmp_path / "new.db"
    assert main(["landscape", "adopt", str(old), "-d", str(new)]) == 0
    with closing(sqlite3.connect(old)) as connection:
        connection.execute("DELETE FROM artifacts")
        connection.commit()
    capsys.readouterr()
    assert main(["landscape", "adopt", str(old), "-d", str(new)]) == 1
    told = capsys.readouterr()
    assert told.out == f"every run of sqlite:///{old} was adopted before: there is nothing to do.\n"
    begin = re.escape(f"sqlite:///{old} was changed since: table artifacts of runs that were adopted at ")
    assert re.fullmatch(rf"{begin}\S+: \d rows then, 0 now\n", told.err), told.err


def test_adopt_can_report_as_json(predecessor_files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["landscape", "adopt", str(predecessor_files / RELEASED), "-d", str(tmp_path / "n.db"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["runs"]) == 1
    assert found["tables"]["rows"] == {"rows": 15, "records": 15}


def test_a_database_of_the_predecessor_is_read_as_it_is(
    predecessor_files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, trail = predecessor_files / RELEASED, tmp_path / "trail.jsonl"
    with untouched(old):
        assert main(["landscape", "runs", "-d", str(old)]) == 0
        assert main(["explain", "--run", "latest", "--row", "2", "-d", str(old)]) == 0
        assert main(["export", "latest", "-d", str(old), "-o", str(trail)]) == 0
    assert "completed" in capsys.readouterr().out
    assert {json.loads(line)["record_type"] for line in trail.read_text().splitlines()} >= {"run", "adopted_value"}


def test_adopt_refuses_databases_that_are_not_the_predecessors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours, new = tmp_path / "ours.db", tmp_path / "new.db"
    LandscapeDB(f"sqlite:///{ours}").close()
    assert main(["landscape", "adopt", str(ours), "-d", str(new)]) == 1
    assert "is not the predecessor's. Nothing was changed." in capsys.readouterr().err
    assert main(["landscape", "adopt", str(tmp_path / "none.db"), "-d", str(new)]) == 1
    assert not new.exists()

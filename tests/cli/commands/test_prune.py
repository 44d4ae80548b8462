"""`elspeth landscape prune` moves old runs into bags."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from elspeth.cli import main
from elspeth.cli.commands.prune import _moment, _remarks
from elspeth.core.canonical import timestamp_text
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.exporting.files import write_export
from elspeth.core.landscape.retention import prune
from elspeth.core.landscape.retention.prune import PrunableRun
from elspeth.evidence.format.signatures import PRIVATE_KEY
from tests.fixtures.untouched import untouched

Captured = pytest.CaptureFixture[str]

SETTINGS = """
datasource:
  plugin: csv
  options: {{path: in.csv, schema: {{mode: strict, fields: ["id: int"]}}, on_validation_failure: discard}}
output_sink: out
sinks: {{out: {{plugin: csv, options: {{path: out.csv}}}}}}
landscape: {{url: "{url}"}}
"""

LATER = ("--before", "2999-01-01", "--archive", "archive")


@pytest.fixture
def run_id(own_directory: Path, sqlite_url: str, capsys: Captured) -> str:
    """Run a pipeline whose last row is rejected."""
    return first_run(own_directory, sqlite_url, capsys)


@pytest.fixture
def any_run_id(own_directory: Path, database_url: str, capsys: Captured) -> str:
    """Run the same pipeline on each engine."""
    return first_run(own_directory, database_url, capsys)


def first_run(directory: Path, url: str, capsys: Captured) -> str:
    (directory / "elspeth.yaml").write_text(SETTINGS.format(url=url))
    (directory / "in.csv").write_text("id\n1\n2\nx\n")
    return run(capsys)


def run(capsys: Captured) -> str:
    assert main(["run", "--execute", "--json"]) == 0
    run_id: str = json.loads(capsys.readouterr().out)["run_id"]
    return run_id


def told(capsys: Captured, *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main([*arguments])
    return (code, *capsys.readouterr())


def stories(capsys: Captured, *arguments: str) -> list[tuple[int, str, str]]:
    """Return what several commands say about a run."""
    questions = (
        ("explain", "--row", "0"),
        ("explain", "--row", "2", "--json"),
        ("rows", "--json"),
        ("outputs", "--json"),
    )
    return [told(capsys, *question, *arguments) for question in questions]


def test_the_bag_gives_the_answers_of_the_database(any_run_id: str, capsys: Captured) -> None:
    before = stories(capsys)
    code, output, errors = told(capsys, "landscape", "prune", *LATER, "--execute")
    bag = Path("archive") / f"{any_run_id}.zip"
    assert (code, output.splitlines()[1].split()[-2:]) == (0, [str(bag.absolute()), "yes"])
    assert stories(capsys, "--from", str(bag)) == before
    assert told(capsys, "landscape", "check")[0] == 0
    for question in (["explain", "--row", "0"], ["rows"], ["export", "-o", "x.jsonl"], ["resume", "--dry-run"]):
        names_run = ["--run"] if question[0] in {"explain", "rows"} else []
        code, _, errors = told(capsys, *question, *names_run, any_run_id)
        assert (code, errors.startswith(f"error: run {any_run_id} was pruned at ")) == (1, True), errors
        where = f"Read them there: --from {bag.absolute()} with explain, rows, outputs and differences;"
        assert f"{where} in place of the run with report and diff" in errors
    assert told(capsys, "report", str(bag.absolute()), "-o", "report.html")[0] == 0


def test_nothing_is_pruned_without_execute(run_id: str, sqlite_url: str, capsys: Captured) -> None:
    code, output, errors = told(capsys, "landscape", "prune", *LATER)
    assert (code, output.split()[-6], output.split()[-1]) == (1, run_id, "no")
    withheld = "1 withheld values, such as the content of rejected rows, are in no bag, and go with their runs: "
    assert errors == (
        f"{withheld}keep them with elspeth export RUN --include-withheld\nNothing was pruned: add --execute (-x).\n"
    )
    with untouched(Path(sqlite_url.removeprefix("sqlite:///"))):
        assert told(capsys, "landscape", "prune", *LATER, "--dry-run", "--vacuum")[0] == 0
    earlier = ("--before", "2020-01-01T12:00+02:00", "--archive", "archive")
    code, output, errors = told(capsys, "landscape", "prune", *earlier, "--dry-run", "--json")
    assert (code, json.loads(output)["before"], json.loads(output)["runs"]) == (0, "2020-01-01T10:00:00.000000Z", [])
    assert "ended before that time" in errors
    assert not Path("archive").exists()


def test_pruned_runs_are_listed_with_their_bags(run_id: str, capsys: Captured) -> None:
    pruned = json.loads(told(capsys, "landscape", "prune", *LATER, "-x", "--json")[1])["runs"]
    second = run(capsys)
    listed = json.loads(told(capsys, "landscape", "runs", "--json")[1])
    assert [(each["run_id"], each["status"], each["rows"]) for each in listed] == [
        (run_id, "completed", 3),
        (second, "completed", 3),
    ]
    assert [each["bag"] for each in listed] == [pruned[0]["bag"], None]
    assert [each["pruned_at"] is None for each in listed] == [False, True]
    content_hash = hashlib.sha256(Path(pruned[0]["bag"]).read_bytes()).hexdigest()
    assert (pruned[0]["bag_hash"], pruned[0]["rows"], pruned[0]["withheld"]) == (content_hash, 3, 1)
    table = told(capsys, "landscape", "runs")[1].splitlines()
    assert [line.split()[-1] for line in table] == ["in", pruned[0]["bag"], "none"]


def test_outputs_of_a_pruned_run_are_still_known(any_run_id: str, capsys: Captured) -> None:
    assert told(capsys, "landscape", "prune", *LATER, "-x")[0] == 0
    found = json.loads(told(capsys, "outputs", "--file", "out.csv", "--json")[1])["outputs"]
    assert [(each["run_id"], each["path"]) for each in found] == [(any_run_id, "out.csv")]
    content = Path("out.csv").read_text()
    Path("out.csv").write_text(f"{content}7\n")
    code, _, errors = told(capsys, "run", "--execute")
    assert (code, f"is not as run {any_run_id} wrote it" in errors) == (2, True), errors
    Path("out.csv").write_text(content)
    run(capsys)


@pytest.mark.usefixtures("any_run_id")
def test_an_output_without_rows_of_a_pruned_run_may_be_replaced(capsys: Captured) -> None:
    Path("in.csv").write_text("id\n")
    run(capsys)
    assert told(capsys, "landscape", "prune", *LATER, "-x")[0] == 0
    run(capsys)


def test_a_run_that_cannot_be_pruned_does_not_stop_the_others(run_id: str, capsys: Captured) -> None:
    second = run(capsys)
    Path("archive").mkdir()
    (Path("archive") / f"{run_id}.zip").write_bytes(b"no bag")
    code, output, errors = told(capsys, "landscape", "prune", *LATER, "-x", "--json")
    results = {each["run_id"]: each["pruned"] for each in json.loads(output)["runs"]}
    assert (code, results) == (1, {run_id: False, second: True})
    assert errors.startswith(f"error: run {run_id} was not pruned: ")
    assert json.loads(output)["runs"][0]["problem"] in errors
    listed = json.loads(told(capsys, "landscape", "runs", "--json")[1])
    assert {each["run_id"]: each["bag"] is not None for each in listed} == results


def test_a_full_disk_reports_how_many_runs_were_pruned(
    run_id: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = [run(capsys), run(capsys)][-1]
    Path("archive").mkdir()
    (Path("archive") / f"{run_id}.zip").write_bytes(b"no bag")

    def fail_at_last(db: LandscapeDB, found: str, *arguments: Any, **options: Any) -> object:  # noqa: ANN401
        if found == last:
            raise OSError(28, "No space left on device", "archive")
        return write_export(db, found, *arguments, **options)

    monkeypatch.setattr(prune, "write_export", fail_at_last)
    code, output, errors = told(capsys, "landscape", "prune", *LATER, "-x", "--json")
    assert (code, json.loads(output)["error"]["notes"]) == (
        1,
        ["1 of 3 runs were pruned before that; go on with the same command"],
    ), "the first was refused"
    assert errors.startswith("error: archive: No space left on device\n1 of 3 runs were pruned")


def test_bags_are_signed(run_id: str, key_directory: Path, capsys: Captured) -> None:
    key = str(key_directory / PRIVATE_KEY)
    assert told(capsys, "landscape", "prune", *LATER, "-x", "--key", key)[0] == 0
    public = str(key_directory / "elspeth.pub.pem")
    assert told(capsys, "verify", f"archive/{run_id}.zip", "--key", public)[0] == 0


@pytest.mark.usefixtures("run_id")
def test_vacuum_returns_the_space_of_pruned_runs(sqlite_url: str, capsys: Captured) -> None:
    Path("in.csv").write_text("id\n" + "".join(f"{number}\n" for number in range(700)))
    run(capsys)
    database = Path(sqlite_url.removeprefix("sqlite:///"))
    before = database.stat().st_size
    code, _, errors = told(capsys, "landscape", "prune", *LATER, "-x")
    assert (code, "--vacuum gives it back" in errors, database.stat().st_size >= before) == (0, True, True)
    assert told(capsys, "landscape", "prune", *LATER, "-x", "--vacuum")[0] == 0
    assert database.stat().st_size < before


@pytest.mark.postgres
def test_vacuum_is_not_for_a_server(own_directory: Path, postgresql_url: str, capsys: Captured) -> None:
    LandscapeDB(postgresql_url).close()
    arguments = ("--before", "2999-01-01", "--archive", str(own_directory), "-d", postgresql_url, "-x", "--vacuum")
    code, _, errors = told(capsys, "landscape", "prune", *arguments)
    assert (code, errors.startswith("error: --vacuum: only for SQLite")) == (2, True)


@pytest.mark.parametrize(
    ("database", "vacuumed", "count"),
    [("sqlite:///a.db", False, 1), ("sqlite:///a.db", True, 0), ("postgresql:", False, 0)],
)
def test_the_remark_about_size_is_only_for_files_that_keep_theirs(database: str, vacuumed: bool, count: int) -> None:
    (run,) = [cast("PrunableRun", SimpleNamespace(withheld=1))]
    assert len([*_remarks([run], database, pruned=1, vacuumed=vacuumed)]) == count


def test_bags_are_not_put_into_a_file_or_signed_with_half_a_key(own_directory: Path, capsys: Captured) -> None:
    (own_directory / "file").touch()
    prune = ("landscape", "prune", "--before", "2026-01-31", "-d", "audit.db", "--archive")
    problem = "--archive file: expected a directory, got a file"
    assert told(capsys, *prune, "file") == (2, "", f"error: {problem}\n")
    problem = "--public: only with --key: it is the other half of that key"
    assert told(capsys, *prune, "bags", "--public", "pub.pem") == (2, "", f"error: {problem}\n")


@pytest.mark.parametrize("text", ["yesterday", "", "2026-13-01"])
def test_an_invalid_date_is_refused(own_directory: Path, capsys: Captured, text: str) -> None:
    arguments = ("--before", text, "--archive", str(own_directory), "-d", "audit.db")
    code, _, errors = told(capsys, "landscape", "prune", *arguments)
    assert (code, errors) == (
        2,
        f"error: --before: expected a date such as 2026-01-31, or a time in ISO 8601, got {text!r}\n",
    )


@pytest.mark.parametrize(
    ("text", "moment"),
    [("2026-01-31", "2026-01-31T00:00:00.000000Z"), ("2026-01-31T01:00+02:00", "2026-01-30T23:00:00.000000Z")],
)
def test_a_time_is_in_utc_unless_it_has_a_zone(text: str, moment: str) -> None:
    assert timestamp_text(_moment(text)) == moment

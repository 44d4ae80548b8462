"""What `elspeth landscape prune` says about runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from elspeth.cli import main
from elspeth.cli.commands.prune import _remarks
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.pruned_runs import PrunedRun
from elspeth.core.landscape.retention import prune as retention
from elspeth.core.landscape.retention.prune import BagRefusedError, PrunableRun
from elspeth.evidence.format.signatures import PRIVATE_KEY, generate_keys, load_signer
from elspeth_schema.contracts import RunStatus

pytestmark = pytest.mark.usefixtures("own_directory")

Captured = pytest.CaptureFixture[str]

ENDED = datetime(2026, 3, 1, 12, tzinfo=UTC)
TIME = "2026-03-01T12:00:00.000000Z"
FIRST = PrunableRun(
    run_id="first",
    status=RunStatus.COMPLETED,
    started_at=ENDED,
    completed_at=ENDED,
    rows=1_200,
    withheld=0,
    bag=Path("old/first.zip"),
)
SECOND = replace(FIRST, run_id="second", status=RunStatus.FAILED, rows=0, withheld=3, bag=Path("old/second.zip"))
THIRD = replace(FIRST, run_id="third", bag=Path("old/third.zip"))
PRUNED = PrunedRun(
    run_id="",
    status="completed",
    started_at=TIME,
    completed_at=TIME,
    row_count=1,
    record_count=1,
    outputs_json="[]",
    bag_path="",
    bag_hash="abc",
    bag_root="",
    pruned_at=TIME,
    tool="",
)
COMMAND = ["landscape", "prune", "-d", "audit.db", "--before", "2026-04-01", "--archive", "old"]
SPACE = "the file keeps its size, and uses the space for new records: --vacuum gives it back\n"
WITHHELD = (
    "3 withheld values, such as the content of rejected rows, are in no bag, and go with their runs:"
    " keep them with elspeth export RUN --include-withheld\n"
)

Pruning = Callable[[PrunableRun, object], PrunedRun]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Return the signers used for three runs.

    The second one cannot be pruned.
    """
    LandscapeDB("sqlite:///audit.db").close()
    signers: list[object] = []

    def prune_run(_: object, run: PrunableRun, *, signer: object, progress: object) -> PrunedRun:
        assert callable(progress)
        signers.append(signer)
        if run is SECOND:
            raise BagRefusedError("run second: its bag is refused")
        return replace(PRUNED, run_id=run.run_id)

    def find(_: object, before: datetime, archive: Path) -> list[PrunableRun]:
        assert (before, archive) == (datetime(2026, 4, 1, tzinfo=UTC), Path("old"))
        return [FIRST, SECOND, THIRD]

    monkeypatch.setattr(retention, "find_prunable", find)
    monkeypatch.setattr(retention, "prune_run", prune_run)
    return signers


def table(*pruned: str) -> str:
    first, second, third = pruned
    return (
        "run     status     ended                        rows   bag             pruned\n"
        f"first   completed  {TIME}  1,200  old/first.zip   {first}\n"
        f"second  failed     {TIME}  0      old/second.zip  {second}\n"
        f"third   completed  {TIME}  1,200  old/third.zip   {third}\n"
    )


def test_runs_are_listed_with_what_would_be_lost(given: list[object], capsys: Captured) -> None:
    assert main([*COMMAND, "--dry-run"]) == 0
    assert capsys.readouterr() == (table("no", "no", "no"), WITHHELD)
    assert main(COMMAND) == 1
    assert capsys.readouterr().err == f"{WITHHELD}Nothing was pruned: add --execute (-x).\n"
    assert main([*COMMAND, "--dry-run", "--json"]) == 0
    assert {run["pruned"] for run in json.loads(capsys.readouterr().out)["runs"]} == {False}
    assert given == []


def test_a_run_that_cannot_be_pruned_is_kept_and_the_others_are_pruned(given: list[object], capsys: Captured) -> None:
    refused = "error: run second: its bag is refused\n"
    assert main([*COMMAND, "--execute"]) == 1
    assert capsys.readouterr() == (table("yes", "no", "yes"), refused + SPACE)
    assert main([*COMMAND, "--execute", "--json"]) == 1
    output, errors = capsys.readouterr()
    assert errors == refused + SPACE
    told = json.loads(output)
    assert {name: told[name] for name in ("before", "archive")} == {
        "before": "2026-04-01T00:00:00.000000Z",
        "archive": str(Path("old").absolute()),
    }
    first, second, third = told["runs"]
    assert first == {
        "run_id": "first",
        "status": "completed",
        "completed_at": TIME,
        "rows": 1_200,
        "withheld": 0,
        "bag": "old/first.zip",
        "pruned": True,
        "bag_hash": "abc",
        "problem": None,
    }
    assert (second["pruned"], second["bag_hash"], second["problem"]) == (False, None, "run second: its bag is refused")
    assert (third["run_id"], third["pruned"]) == ("third", True)
    assert given == [None] * 6


def test_a_command_that_pruned_nothing_speaks_of_no_space(
    given: list[object], capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "find_prunable", lambda *_: [SECOND])
    assert main([*COMMAND, "--execute"]) == 1
    assert capsys.readouterr().err == f"error: run second: its bag is refused\n{WITHHELD}"
    assert given == [None]


def test_bags_are_signed_with_the_key(given: list[object]) -> None:
    generate_keys(Path("keys"))
    key = f"keys/{PRIVATE_KEY}"
    assert main([*COMMAND, "--execute", "--key", key]) == 1
    keys = {signer.public_key.fingerprint for signer in given if hasattr(signer, "public_key")}
    assert (len(given), keys) == (3, {load_signer(key).public_key.fingerprint})


def test_an_error_that_ends_the_command_says_how_many_runs_were_pruned(
    given: list[object], capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    prune_run = retention.prune_run

    def fail(db: LandscapeDB, run: PrunableRun, **options: object) -> PrunedRun:
        if run is THIRD:
            raise OSError(28, "No space left on device", "old/third.zip")
        return prune_run(db, run, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(retention, "prune_run", fail)
    assert main([*COMMAND, "--execute"]) == 1
    output, errors = capsys.readouterr()
    assert (output, errors.splitlines()) == (
        "",
        [
            "error: old/third.zip: No space left on device",
            "1 of 3 runs were pruned before that; go on with the same command",
        ],
    )
    assert len(given) == 2


def test_the_archive_is_a_directory(capsys: Captured) -> None:
    Path("old").write_text("a file")
    assert main(COMMAND) == 2
    assert capsys.readouterr().err == "error: --archive old: expected a directory, got a file\n"


@pytest.mark.parametrize(
    ("runs", "pruned", "vacuumed", "database", "remarks"),
    [
        ([], 0, False, "sqlite:///audit.db", ["no run in audit database sqlite:///audit.db ended before that time"]),
        ([FIRST], 0, False, "sqlite:///audit.db", []),
        ([SECOND, SECOND], 0, False, "postgresql://h/d", [WITHHELD.replace("3", "6", 1).rstrip()]),
        ([SECOND], 1, False, "sqlite:///audit.db", [SPACE.rstrip()]),
        ([SECOND], 1, True, "sqlite:///audit.db", []),
        ([SECOND], 1, False, "postgresql://h/d", []),
    ],
)
def test_remarks_concern_what_was_done(
    runs: list[PrunableRun], pruned: int, vacuumed: bool, database: str, remarks: list[str]
) -> None:
    assert list(_remarks(runs, database, pruned=pruned, vacuumed=vacuumed)) == remarks


@pytest.mark.parametrize("execute", [False, True])
def test_space_is_given_back_only_after_pruning(
    given: list[object], execute: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    vacuumed: list[object] = []
    monkeypatch.setattr(retention, "vacuum", vacuumed.append)
    main([*COMMAND, "--vacuum", *(["--execute"] if execute else ["--dry-run"])])
    assert (len(vacuumed), len(given)) == ((1, 3) if execute else (0, 0))

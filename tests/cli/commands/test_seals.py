"""`elspeth landscape check` recomputes the seals of all runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import delete, insert

from elspeth.cli import main
from elspeth.cli.commands import checks
from elspeth.contracts.schema import SchemaConfig
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.landscape.sealing.check import SealReport
from elspeth.evidence.format.signatures import (
    PRIVATE_KEY,
    PUBLIC_KEY,
    Signer,
    load_public_key,
)
from elspeth_schema import EPOCH
from elspeth_schema.contracts import NodeType, RunStatus
from elspeth_schema.tables import metadata, run_log_table
from tests.core.landscape.sealing.test_seal import drop_guards

UNSIGNED = "2 seals are unsigned: anyone who can write to the database can replace them"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Record two finished runs with unsigned seals."""
    return record_runs(tmp_path / "audit.db", None)


@pytest.fixture
def signed(tmp_path: Path, signer: Signer) -> Path:
    """Record two finished runs with signed seals."""
    return record_runs(tmp_path / "signed.db", signer)


def record_runs(path: Path, signer: Signer | None) -> Path:
    with LandscapeDB(f"sqlite:///{path}") as landscape:
        recorder = LandscapeRecorder(landscape, seal_signer=signer)
        for run_id in ("first", "second"):
            recorder.begin_run({}, "v1", run_id=run_id)
            schema = SchemaConfig.from_dict({"fields": "dynamic"})
            recorder.register_node(run_id, "csv", NodeType.SOURCE, "1", {}, node_id="source", schema_config=schema)
            recorder.create_row(run_id, "source", 0, {"a": 1}, row_id="row")
            recorder.complete_run(run_id, RunStatus.COMPLETED)
    return path


def check(database: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, list[str]]:
    capsys.readouterr()
    code = main(["landscape", "check", "-d", str(database), *options])
    out, err = capsys.readouterr()
    assert out == ""
    return code, err.splitlines()


def test_unchanged_sealed_runs_pass_the_check(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, (state, verdict, remark, log) = check(database, capsys)
    assert code == 0
    assert state == f"audit database sqlite:///{database} is of epoch {EPOCH}, as this version expects."
    assert verdict == "2 of 2 sealed runs unchanged"
    assert remark == UNSIGNED
    assert log == "2 runs in the log of runs, 5 entries"


def test_an_edit_is_found_by_run_table_and_key(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with LandscapeDB(f"sqlite:///{database}") as landscape, landscape.write_transaction() as connection:
        drop_guards(connection)
        connection.exec_driver_sql("UPDATE rows SET row_index = 7 WHERE run_id = 'second'")
    code, (state, fault, verdict, _, _) = check(database, capsys)
    assert code == 1
    assert "trigger guard_runs_update is missing" in state
    assert fault == (
        "run second is not what was sealed: rows run_id='second' row_id='row': is not the record that was sealed here"
    )
    assert verdict == "1 of 2 sealed runs unchanged"


def test_no_seals_checks_only_the_epoch(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = check(database, capsys, "--no-seals")
    assert (code, len(lines)) == (0, 1)


def test_signed_seals_are_checked_with_the_key(
    signed: Path, key_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fingerprint = load_public_key(key_directory / PUBLIC_KEY).fingerprint
    code, (_, verdict, whose, log) = check(signed, capsys, "--key", str(key_directory / PUBLIC_KEY))
    assert (code, verdict) == (0, "2 of 2 sealed runs unchanged")
    assert log == "2 runs in the log of runs, 5 entries"
    assert whose == f"every finished run has a seal signed by the key {fingerprint}"


def test_runs_that_have_not_ended_are_named(
    signed: Path, key_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with LandscapeDB(f"sqlite:///{signed}") as landscape:
        recorder = LandscapeRecorder(landscape)
        for run_id, status in (("third", RunStatus.RUNNING), ("fourth", RunStatus.INTERRUPTED)):
            recorder.begin_run({}, "v1", run_id=run_id)
            recorder.update_run_status(run_id, status)
    remark = (
        "2 runs have not ended (fourth: interrupted; third: running): without a seal nothing shows whether records were"
        " changed"
    )
    for options in ((), ("--key", str(key_directory / PUBLIC_KEY))):
        code, (_, verdict, *remarks) = check(signed, capsys, *options)
        assert (code, verdict) == (0, "2 of 2 sealed runs unchanged")
        assert remark in remarks


def test_signed_seals_without_a_key_are_reported_as_unchecked(
    signed: Path, key_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fingerprint = load_public_key(key_directory / PUBLIC_KEY).fingerprint
    code, (_, _, remark, _) = check(signed, capsys)
    assert code == 0
    assert remark == f"2 seals claim to be signed by the key {fingerprint}: not checked, as no --key was given"


def test_unsigned_seals_fail_with_a_key(
    database: Path, key_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fingerprint = load_public_key(key_directory / PUBLIC_KEY).fingerprint
    code, (_, *faults, verdict, _) = check(database, capsys, "--key", str(key_directory / PUBLIC_KEY))
    problem = f"expected a seal signed by the key {fingerprint}, got an unsigned one"
    assert faults == [
        f"run {run} is not what was sealed: seals run_id='{run}': {problem}: it was made without a key, or replaced"
        for run in ("first", "second")
    ]
    assert (code, verdict) == (1, "0 of 2 sealed runs unchanged")


def test_an_unusable_key_is_refused(database: Path, key_directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = key_directory / PRIVATE_KEY
    code, (_, error) = check(database, capsys, "--key", str(path))
    problem = "expected a public key in PEM; this is a private key, its public half is needed"
    assert (code, error) == (2, f"error: {path}: {problem}")


def test_a_key_and_no_seals_contradict_each_other(
    database: Path, key_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, lines = check(database, capsys, "--no-seals", "--key", str(key_directory / PUBLIC_KEY))
    assert code == 2
    assert lines == ["error: --key and --no-seals contradict each other: give one of them"]


def test_a_run_that_was_removed_is_named(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with LandscapeDB(f"sqlite:///{database}") as landscape, landscape.write_transaction() as connection:
        drop_guards(connection)
        for table in reversed(metadata.sorted_tables):
            if "run_id" in table.c:
                connection.execute(delete(table).where(table.c.run_id == "second"))
    code, lines = check(database, capsys)
    assert code == 1
    problem = "is in the log at entry 3, with the status 'completed', but not in the database: it was removed"
    assert f"log of runs: run second: {problem}" in lines
    assert lines[-1] == "2 runs in the log of runs, 5 entries, 1 fault"


def test_a_fault_of_the_log_alone_fails_the_check(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with LandscapeDB(f"sqlite:///{database}") as landscape, landscape.write_transaction() as connection:
        connection.execute(insert(run_log_table).values(position=5, entry_json="{}"))
    code, (_, fault, *_) = check(database, capsys)
    assert (code, fault[:68]) == (1, "log of runs: entry 5: expected an entry in canonical JSON, got '{}':")
    assert main(["landscape", "check", "-d", str(database), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["state"], found["epoch"], found["seals"]["verdict"]) == (
        "current",
        EPOCH,
        "2 of 2 sealed runs unchanged",
    )
    assert found["seals"]["signers"] == [{"key": None, "seals": 2}]
    assert (found["log"]["faults"], found["log"]["size"], found["log"]["runs"]) == ([fault], 6, 2)


NOTHING = SealReport(sealed=1, unchanged=1, faults=(), signers={}, unsealed=(), unfinished={}, pruned=0)


@pytest.mark.parametrize(
    ("report", "remark"),
    [
        (replace(NOTHING, signers={None: 1}), UNSIGNED.replace("2 seals are", "1 seal is")),
        (
            replace(NOTHING, signers={"f": 1}),
            "1 seal claims to be signed by the key f: not checked, as no --key was given",
        ),
        (
            replace(NOTHING, unsealed=("a",)),
            "1 finished run has no seal: imported, or recorded before there were seals",
        ),
    ],
)
def test_a_remark_about_one_run_is_in_the_singular(report: SealReport, remark: str) -> None:
    assert [*checks._unchecked_seals(report)] == [remark]

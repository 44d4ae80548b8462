"""Checking the seals of a database, with and without key."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, delete, insert, make_url, update
from sqlalchemy.exc import OperationalError

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.connections import read_only_connection
from elspeth.core.landscape.database.errors import LandscapeError
from elspeth.core.landscape.lines.reading import TypedChunk
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.landscape.sealing.check import AlteredRunError, SealReport, check_seals, sealed_lines_of_run
from elspeth.core.landscape.sealing.scope import SealedLines
from elspeth.core.landscape.sealing.seal import read_seals, seal_run
from elspeth.evidence.format.envelopes import Envelope
from elspeth.evidence.format.signatures import PRIVATE_KEY, PUBLIC_KEY, PublicKey, Signer, generate_keys, load_signer
from elspeth.evidence.writer._instructions import commands_for_signature
from elspeth_schema import EPOCH
from elspeth_schema.contracts import ExportStatus, NodeType, OperationStatus, OperationType, RunStatus
from elspeth_schema.records import RECORD_TYPES
from elspeth_schema.tables import runs_table, seal_leaves_table, seals_table
from tests.core.landscape.sealing.test_seal import drop_guards
from tests.fixtures.corruption import edit_unseen
from tests.fixtures.effort import some_of
from tests.fixtures.every_type import with_every_type
from tests.fixtures.landscapes import NewLandscape
from tests.fixtures.records import DYNAMIC, record_graph
from tests.fixtures.rich_run import recorded, rich_run


def finish(database: LandscapeDB, run_id: str, signer: Signer | None) -> None:
    recorder = LandscapeRecorder(database, seal_signer=signer)
    recorder.begin_run({}, "v1", run_id=run_id)
    recorder.complete_run(run_id, RunStatus.COMPLETED)


def report_of(database: LandscapeDB, key: PublicKey | None = None) -> SealReport:
    with database.snapshot() as connection:
        return check_seals(connection, key=key)


def faults_of(database: LandscapeDB, key: PublicKey | None = None) -> list[str]:
    return [str(fault) for fault in report_of(database, key).faults]


def seal_again(connection: Connection, run_id: str, signer: Signer | None = None) -> None:
    """Seal the run again, as the database's owner can."""
    for table in (seals_table, seal_leaves_table):
        connection.execute(delete(table).where(table.c.run_id == run_id))
    seal_run(connection, run_id, signer)


def test_signed_seals_pass_the_check(landscape: LandscapeDB, signer: Signer, key: PublicKey) -> None:
    finish(landscape, "a", signer)
    finish(landscape, "b", signer)
    report = report_of(landscape, key)
    assert (report.faults, report.verdict) == ((), "2 of 2 sealed runs unchanged")
    assert report.signers == {key.fingerprint: 2}


def test_progress_goes_on_within_a_run_and_over_all_runs(landscape: LandscapeDB) -> None:
    for run_id in ("a", "b"):
        recorder = LandscapeRecorder(landscape)
        record_graph(recorder, run_id)
        recorder.complete_run(run_id, RunStatus.FAILED)
    reported: list[int] = []
    with landscape.snapshot() as connection:
        check_seals(connection, progress=reported.append)
        total = sum(seal.record_count for seal in read_seals(connection))
    assert reported == sorted(reported)
    assert reported[-1] == total
    assert len({count for count in reported if count > total // 2}) > 1


def test_sealing_again_after_an_edit_is_found_only_with_the_key(
    landscape: LandscapeDB, signer: Signer, key: PublicKey
) -> None:
    finish(landscape, "a", signer)
    with landscape.write_transaction() as connection:
        drop_guards(connection)
        connection.exec_driver_sql("UPDATE runs SET canonical_version = 'v2'")
        seal_again(connection, "a")
    assert faults_of(landscape) == []
    problem = f"expected a seal signed by the key {key.fingerprint}, got an unsigned one"
    assert faults_of(landscape, key) == [
        f"run a is not what was sealed: seals run_id='a': {problem}: it was made without a key, or replaced"
    ]


def test_a_removed_signature_is_found_with_the_key(landscape: LandscapeDB, signer: Signer, key: PublicKey) -> None:
    finish(landscape, "a", signer)
    with landscape.write_transaction() as connection:
        drop_guards(connection)
        connection.execute(update(seals_table).values(envelope_json=None))
    report = report_of(landscape)
    assert (report.faults, report.signers) == ((), {None: 1})
    assert report_of(landscape, key).verdict == "0 of 1 sealed runs unchanged"


def test_a_signature_for_another_purpose_is_refused(landscape: LandscapeDB, signer: Signer, key: PublicKey) -> None:
    finish(landscape, "a", signer)
    with landscape.write_transaction() as connection:
        (seal,) = read_seals(connection)
        envelope = Envelope.sign(seal.payload, "application/json", signer).to_bytes().decode()
        drop_guards(connection)
        connection.execute(update(seals_table).values(envelope_json=envelope))
    problem = "expected the seal that was signed, got another: it was altered"
    assert faults_of(landscape, key) == [f"run a is not what was sealed: seals run_id='a': {problem}"]


def test_the_old_signature_is_refused_for_a_new_seal(landscape: LandscapeDB, signer: Signer, key: PublicKey) -> None:
    finish(landscape, "a", signer)
    with landscape.write_transaction() as connection:
        (before,) = read_seals(connection)
        drop_guards(connection)
        connection.exec_driver_sql("UPDATE runs SET canonical_version = 'v2'")
        seal_again(connection, "a")
        connection.execute(update(seals_table).values(envelope_json=before.envelope_json))
    problem = "expected the seal that was signed, got another: it was altered"
    expected = [f"run a is not what was sealed: seals run_id='a': {problem}"]
    assert faults_of(landscape, key) == expected
    assert faults_of(landscape) == expected


def test_a_signature_by_another_key_is_found(landscape: LandscapeDB, key: PublicKey, tmp_path: Path) -> None:
    generate_keys(tmp_path)
    other = load_signer(str(tmp_path / PRIVATE_KEY))
    finish(landscape, "a", other)
    expected = f"expected a signature by the key {key.fingerprint}, got one by '{other.public_key.fingerprint}'"
    assert faults_of(landscape, key) == [f"run a is not what was sealed: seals run_id='a': envelope: {expected}"]


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("counts_json", "no JSON", "was altered: it cannot be read"),
        ("counts_json", '{"run":2}', "was altered: it has other counts than the records that it is over"),
        ("record_count", 2, "was altered: it has other counts than the records that it is over"),
        ("scope_json", "[1]", "was altered: it cannot be read"),
        ("epoch", 9999, "was altered: it cannot be read"),
    ],
)
def test_an_unsigned_seal_that_was_overwritten_is_found(
    landscape: LandscapeDB, column: str, value: object, problem: str
) -> None:
    finish(landscape, "a", None)
    with landscape.write_transaction() as connection:
        drop_guards(connection)
        connection.execute(update(seals_table).values({column: value}))
    assert faults_of(landscape) == [f"run a is not what was sealed: seals run_id='a': {problem}"]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("counts_json", "no JSON"),
        ("epoch", EPOCH + 1),
        ("root", "0" * 64),
        ("sealed_at", "2026-01-01"),
        ("envelope_json", "{}"),
        ("envelope_json", "\u20ac"),
    ],
)
def test_a_signed_seal_that_was_overwritten_is_found(
    landscape: LandscapeDB, signer: Signer, key: PublicKey, column: str, value: object
) -> None:
    finish(landscape, "a", signer)
    with landscape.write_transaction() as connection:
        drop_guards(connection)
        place = "%s" if connection.dialect.name == "postgresql" else "?"
        connection.exec_driver_sql(f"UPDATE seals SET {column} = {place}", (value,))  # noqa: S608
    (fault,) = report_of(landscape, key).faults
    assert fault.run_id == "a"


def test_a_record_of_a_type_that_is_newer_than_the_seal_is_found(landscape: LandscapeDB) -> None:
    """Another run has no such record, and is unchanged."""
    finish(landscape, "a", None)
    finish(landscape, "b", None)
    newer = RECORD_TYPES["adopted_value"].table
    with landscape.write_transaction() as connection:
        drop_guards(connection)
        seal, _ = read_seals(connection)
        scope = [each for each in json.loads(seal.scope_json) if each["table"] != newer.name]
        connection.execute(update(seals_table).values(scope_json=json.dumps(scope)))
    assert faults_of(landscape) == []
    with landscape.write_transaction() as connection:
        row = {"run_id": "a", "source_key": "[1]", "source_table": "rows", "values_json": "{}"}
        connection.execute(insert(newer), row)
    problem = "adopted_values: a record was added after the seal"
    assert faults_of(landscape) == [f"run a is not what was sealed: {problem}"]


def test_a_run_with_an_older_seal_is_checked_before_its_lines_are_used(landscape: LandscapeDB) -> None:
    finish(landscape, "a", None)
    newer = RECORD_TYPES["adopted_value"].table
    with landscape.write_transaction() as connection:
        drop_guards(connection)
        (seal,) = read_seals(connection)
        scope = [each for each in json.loads(seal.scope_json) if each["table"] != newer.name]
        connection.execute(update(seals_table).values(scope_json=json.dumps(scope)))
    with landscape.snapshot() as connection:
        assert list(sealed_lines_of_run(connection, "a", landscape.url, no_lines())) == []
    with landscape.write_transaction() as connection:
        connection.execute(update(runs_table).values(config_hash="0" * 64))
    with (
        landscape.snapshot() as connection,
        pytest.raises(AlteredRunError, match="run a is not what was sealed: runs "),
    ):
        list(sealed_lines_of_run(connection, "a", landscape.url, no_lines()))


def test_a_seal_that_was_removed_is_found_without_a_key(landscape: LandscapeDB) -> None:
    finish(landscape, "a", None)
    finish(landscape, "b", None)
    with landscape.write_transaction() as connection:
        drop_guards(connection)
        connection.execute(delete(seals_table).where(seals_table.c.run_id == "a"))
    assert report_of(landscape).verdict == "1 of 2 sealed runs unchanged"
    problem = "expected a seal, as the run was recorded with one, got none: it was removed"
    assert faults_of(landscape) == [f"run a is not what was sealed: seals run_id='a': {problem}"]


def test_a_run_without_a_seal_is_reported_and_with_a_key_a_fault(landscape: LandscapeDB, key: PublicKey) -> None:
    recorded(landscape, rich_run("old"))
    report = report_of(landscape)
    assert (report.faults, report.unsealed, report.sealed) == ((), ("old",), 0)
    problem = "expected a seal, got none: it was imported, or is older than seals, or the seal was removed"
    assert faults_of(landscape, key) == [f"run old is not what was sealed: seals run_id='old': {problem}"]


def test_runs_with_and_without_seals_are_distinguished(landscape: LandscapeDB) -> None:
    recorded(landscape, rich_run("old"))
    finish(landscape, "a", None)
    finish(landscape, "b", None)
    with landscape.write_transaction() as connection:
        drop_guards(connection)
        connection.execute(delete(seals_table).where(seals_table.c.run_id == "b"))
    report = report_of(landscape)
    assert ([fault.run_id for fault in report.faults], report.unsealed) == (["b"], ("old",))
    with landscape.snapshot() as connection:
        assert list(sealed_lines_of_run(connection, "old", landscape.url, no_lines())) == []
        with pytest.raises(AlteredRunError, match="run b is not what was sealed"):
            list(sealed_lines_of_run(connection, "b", landscape.url, no_lines()))


def no_lines() -> Generator[TypedChunk[SealedLines[bytes]], None, None]:
    yield from ()


def test_a_running_run_needs_no_seal(landscape: LandscapeDB, key: PublicKey) -> None:
    LandscapeRecorder(landscape).begin_run({}, "v1", run_id="a")
    assert faults_of(landscape, key) == []


def work(recorder: LandscapeRecorder, run_id: str, *sinks: OperationStatus) -> None:
    """Record a run with sinks of these states."""
    recorder.begin_run({}, "v1", run_id=run_id)
    for number, status in enumerate(sinks):
        node = recorder.register_node(
            run_id, "csv", NodeType.SINK, "1", {}, node_id=f"sink-{number}", schema_config=DYNAMIC
        )
        operation = recorder.begin_operation(run_id, node.node_id, OperationType.SINK_WRITE)
        if status is OperationStatus.COMPLETED:
            recorder.complete_operation(operation.operation_id, status, run_id=run_id)


MARKS = {
    ("DELETE FROM seals",): "parts of a seal are there",
    ("DELETE FROM seals", "DELETE FROM seal_leaves"): "the time of its end is recorded",
    ("DELETE FROM seals", "DELETE FROM seal_leaves", "UPDATE runs SET completed_at = NULL"): "its export is recorded",
    (
        "DELETE FROM seals",
        "DELETE FROM seal_leaves",
        "UPDATE runs SET completed_at = NULL, export_status = NULL",
    ): "all of its outputs are published",
}


@pytest.mark.parametrize("statements", MARKS)
def test_a_finished_run_that_is_made_to_look_unfinished_is_found(
    landscape: LandscapeDB, signer: Signer, key: PublicKey, statements: tuple[str, ...]
) -> None:
    recorder = LandscapeRecorder(landscape, seal_signer=signer)
    work(recorder, "a", OperationStatus.COMPLETED)
    recorder.complete_run("a", RunStatus.COMPLETED)
    recorder.set_export_status("a", ExportStatus.COMPLETED)
    with landscape.write_transaction() as connection:
        drop_guards(connection)
        for statement in (*statements, "UPDATE runs SET status = 'interrupted'"):
            connection.exec_driver_sql(statement)
    marks = list(MARKS.values())
    found = f"has the status interrupted, yet {', '.join(marks[marks.index(MARKS[statements]) :])}, as after its end"
    expected = [f"run a is not what was sealed: runs run_id='a': {found}: its seal was removed, and its status changed"]
    assert faults_of(landscape) == expected
    assert faults_of(landscape, key) == expected
    assert report_of(landscape).unfinished == {"a": "interrupted"}


def test_a_running_run_is_no_fault_at_any_point(landscape: LandscapeDB, signer: Signer, key: PublicKey) -> None:
    recorder = LandscapeRecorder(landscape, seal_signer=signer)
    work(recorder, "a")
    work(recorder, "b", OperationStatus.COMPLETED, OperationStatus.OPEN)
    recorder.update_run_status("b", RunStatus.INTERRUPTED)
    work(recorder, "finished", *[OperationStatus.COMPLETED] * 2)
    recorder.complete_run("finished", RunStatus.COMPLETED)
    for report in (report_of(landscape), report_of(landscape, key)):
        assert (report.faults, report.unfinished) == ((), {"a": "running", "b": "interrupted"})


def test_an_imported_run_may_have_stopped_anywhere(landscape: LandscapeDB, key: PublicKey) -> None:
    """A run without a secret may have stopped anywhere.

    The predecessor recorded its outputs before it ended a run, and kept no secrets.
    """
    work(LandscapeRecorder(landscape), "a", OperationStatus.COMPLETED)
    LandscapeRecorder(landscape).begin_run({}, "v1", run_id="of today")
    with landscape.write_transaction() as connection:
        drop_guards(connection)
        connection.exec_driver_sql("DELETE FROM run_secrets WHERE run_id = 'a'")
    assert faults_of(landscape, key) == []


def test_a_run_that_cannot_be_signed_stays_open(landscape: LandscapeDB, signer: Signer, tmp_path: Path) -> None:
    generate_keys(tmp_path)
    other = load_signer(str(tmp_path / PRIVATE_KEY))
    mismatched = Signer(public_key=other.public_key, backend=signer.backend)
    recorder = LandscapeRecorder(landscape, seal_signer=mismatched)
    recorder.begin_run({}, "v1", run_id="a")
    with pytest.raises(LandscapeError) as caught:
        recorder.complete_run("a", RunStatus.COMPLETED)
    problem = "signing: the signature is not by the public key given: check that they belong together"
    assert str(caught.value) == f"run a cannot be sealed, and stays open: {problem}"
    run = LandscapeRecorder(landscape).get_run("a")
    assert run is not None
    assert run.status is RunStatus.RUNNING
    assert report_of(landscape).sealed == 0


def test_openssl_accepts_the_signature_of_a_seal(
    landscape: LandscapeDB, signer: Signer, key_directory: Path, tmp_path: Path
) -> None:
    of_seal = "printf 'DSSEv1 37 application/vnd.elspeth.run-seal+json %d '"
    assert f"`{of_seal}`" in (Path(__file__).parents[4] / "docs" / "evidence.md").read_text()
    finish(landscape, "a", signer)
    with landscape.snapshot() as connection:
        (seal,) = read_seals(connection)
    (tmp_path / "statement.dsse.json").write_text(f"{seal.envelope_json}\n")
    (tmp_path / "PUBLIC.pem").write_bytes((key_directory / PUBLIC_KEY).read_bytes())
    script = "\n".join(["work=.", *commands_for_signature(signer.public_key.type)])
    script = script.replace("printf 'DSSEv1 28 application/vnd.in-toto+json %d '", of_seal)
    script = script.replace("/path/to/PUBLIC.pem", "PUBLIC.pem")
    done = subprocess.run(["sh", "-ec", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("Verified OK\n")
    stated = json.loads((tmp_path / "statement").read_bytes())
    assert stated.pop("sealed_at").endswith("Z")
    assert stated == {"counts": {"run": 1}, "epoch": EPOCH, "record_count": 1, "root": seal.root, "run_id": "a"}


def sealed_columns() -> Iterator[tuple[str, str]]:
    for name, record_type in RECORD_TYPES.items():
        for column in record_type.columns:
            if column.withheld is None and column.name not in record_type.lifecycle.afterwards:
                yield name, column.name


ODD = ["'x'", "x'ff'", "CAST(x'ff' AS TEXT)"]
"""What an intruder may write into any column of SQLite: text, bytes, and bytes declared as text."""


@pytest.fixture(scope="module")
def sealed_run() -> Iterator[LandscapeDB]:
    """Seal a run with every type, and drop all constraints."""
    with LandscapeDB.in_memory() as database:  # not a shared one, as its connection is changed
        recorded(database, with_every_type(rich_run(status=RunStatus.FAILED)))
        with database.write_transaction() as connection:
            seal_run(connection, "run-1")
            drop_guards(connection)
        driver = database.engine.raw_connection().driver_connection
        assert driver is not None
        driver.execute("PRAGMA ignore_check_constraints = ON")
        driver.execute("PRAGMA foreign_keys = OFF")
        yield database


@pytest.mark.parametrize(
    ("name", "column", "value"),
    some_of([(name, column, ODD[number % len(ODD)]) for number, (name, column) in enumerate(sealed_columns())], 3),
)
def test_any_change_of_a_sealed_column_is_found_and_named(
    sealed_run: LandscapeDB, name: str, column: str, value: str
) -> None:
    table, order = RECORD_TYPES[name].table.name, ", ".join(RECORD_TYPES[name].order)
    with sealed_run.engine.connect() as connection, closing(connection.begin()) as transaction:
        assert edited(connection, table, order, column, value)
        (fault,) = check_seals(connection).faults
        transaction.rollback()
    assert fault.run_id == "run-1"
    if column != "run_id":  # then the record is of another run, and one is missing
        assert fault.table == table
        assert fault.key


@pytest.mark.parametrize(
    ("first", "problem"),
    [
        ("UPDATE nodes SET plugin_version = 'other'", "is not the record that was sealed here"),
        ("UPDATE nodes SET registered_at = 'x'", "is not the record that was sealed here: registered_at: expected a"),
        ("DELETE FROM nodes WHERE node_id = (SELECT max(node_id) FROM nodes)", "a record is missing at the end"),
    ],
)
@pytest.mark.parametrize("second", ["source_data_hash = 'x'", "row_index = row_index + 100"])
def test_of_several_faults_the_first_is_named(sealed_run: LandscapeDB, first: str, second: str, problem: str) -> None:
    with sealed_run.engine.connect() as connection, closing(connection.begin()) as transaction:
        for statement in (first, f"UPDATE rows SET {second}"):  # noqa: S608
            connection.exec_driver_sql(statement)
        (fault,) = check_seals(connection).faults
        transaction.rollback()
    assert (fault.table, fault.problem[: len(problem)]) == ("nodes", problem)


@pytest.mark.postgres
@pytest.mark.parametrize("moment", ["(created_at::text || ' BC')::timestamptz", "'infinity'", "'-infinity'"])
def test_a_time_that_only_postgresql_has_is_found_and_named(on_postgresql: NewLandscape, moment: str) -> None:
    with on_postgresql() as database:
        recorded(database, rich_run(status=RunStatus.FAILED))
        with database.write_transaction() as connection:
            seal_run(connection, "run-1")
            drop_guards(connection)
            connection.exec_driver_sql(f"UPDATE rows SET created_at = {moment} WHERE row_index = 0")  # noqa: S608
        with read_only_connection(make_url(database.engine.url.render_as_string(hide_password=False))) as connection:
            (fault,) = check_seals(connection).faults
    assert (fault.table, fault.problem) == (
        "rows",
        "is not the record that was sealed here: created_at: expected a datetime in UTC",
    )
    assert fault.key.startswith("run_id='run-1' row_id=")


def test_a_seal_with_an_invalid_time_is_a_fault(landscape: LandscapeDB) -> None:
    for run_id in ("a", "b"):
        finish(landscape, run_id, None)
    edit_unseen(landscape, "seals", "UPDATE seals SET sealed_at = 'infinity' WHERE run_id = 'a'")
    report = report_of(landscape)
    assert [str(fault) for fault in report.faults] == [
        "run a is not what was sealed: seals run_id='a': was altered: it cannot be read"
    ]
    assert report.verdict == "1 of 2 sealed runs unchanged"


def edited(connection: Connection, table: str, order: str, column: str, value: str) -> bool:
    """Overwrite a value; return whether the first record changed."""
    rowid = connection.exec_driver_sql(f"SELECT rowid FROM {table} ORDER BY {order}").scalars().first()  # noqa: S608
    look = f"SELECT typeof({column}), hex({column}) FROM {table} WHERE rowid = {rowid}"  # noqa: S608
    before = connection.exec_driver_sql(look).one()
    connection.exec_driver_sql(f"UPDATE {table} SET {column} = {value} WHERE rowid = {rowid}")  # noqa: S608
    return connection.exec_driver_sql(look).one() != before


def test_undecodable_text_is_shown_as_hex_only_during_the_check() -> None:
    with LandscapeDB.in_memory() as database:
        finish(database, "a", None)
        with database.write_transaction() as connection:
            drop_guards(connection)
            connection.exec_driver_sql("UPDATE runs SET canonical_version = CAST(x'ff61' AS TEXT)")
        with database.connection() as connection:
            (fault,) = check_seals(connection).faults
            assert (fault.table, fault.key) == ("runs", "run_id='a'")
            with pytest.raises(OperationalError, match="Could not decode to UTF-8"):
                connection.exec_driver_sql("SELECT canonical_version FROM runs").all()


def test_the_time_of_a_seal_is_a_time() -> None:
    with LandscapeDB.in_memory() as database:
        finish(database, "a", None)
        with database.write_transaction() as connection:
            drop_guards(connection)
            connection.exec_driver_sql("UPDATE seals SET sealed_at = 'yesterday'")
        problem = "was altered: it cannot be read"
        assert faults_of(database) == [f"run a is not what was sealed: seals run_id='a': {problem}"]


def test_runs_without_a_seal_are_reported_in_order(landscape: LandscapeDB) -> None:
    for run_id in ("c", "a", "b"):
        recorded(landscape, rich_run(run_id))
    finish(landscape, "sealed", None)
    report = report_of(landscape)
    assert (report.unsealed, report.faults) == (("a", "b", "c"), ())


def test_all_seals_are_checked_in_one_snapshot(database_url: str) -> None:
    """Another process changes a run in the meantime."""
    with LandscapeDB.from_url(database_url) as database:
        for run_id in ("a", "b"):
            finish(database, run_id, None)
        with database.write_transaction() as connection:
            drop_guards(connection)
        changed: list[int] = []

        def change(done: int) -> None:
            if not changed:
                changed.append(done)
                with database.write_transaction() as connection:
                    connection.execute(update(runs_table).values(config_hash="0" * 64))

        with read_only_connection(make_url(database_url)) as connection:
            report = check_seals(connection, progress=change)
        assert (report.unchanged, report.faults, len(changed)) == (2, (), 1)
        with read_only_connection(make_url(database_url)) as connection:
            assert check_seals(connection).unchanged == 0

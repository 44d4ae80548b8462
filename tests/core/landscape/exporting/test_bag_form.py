"""Bags of recorded runs, verified without the recorder's code."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from sqlalchemy import insert, make_url

from elspeth.core.canonical import canonical_bytes
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.errors import RunNotFoundError
from elspeth.core.landscape.exporting.bag_form import (
    read_bag_epoch,
    read_recorded_epoch,
    read_statement,
    write_bag_of_run,
)
from elspeth.core.landscape.exporting.exporter import LandscapeExporter
from elspeth.core.landscape.exporting.files import write_export
from elspeth.core.landscape.exporting.format import ExportFormat
from elspeth.core.landscape.exporting.forms import ExportError
from elspeth.core.landscape.exporting.found.export import export_found
from elspeth.core.landscape.exporting.importer import import_export
from elspeth.core.landscape.exporting.reader import find_place, read_export
from elspeth.core.landscape.migration.adoption import adopt
from elspeth.core.landscape.migration.migrate import migrate
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.landscape.records.store import RecordStore
from elspeth.core.landscape.sealing.check import AlteredRunError
from elspeth.core.landscape.sealing.seal import read_seals, seal_run
from elspeth.evidence.format.bag import NO_RUN
from elspeth.evidence.format.merkle import leaf_hash, tree_root
from elspeth.evidence.format.signatures import PublicKey, Signer
from elspeth.evidence.verifier.procedure import Step, Verdict
from elspeth.evidence.verifier.verify import verify_bag
from elspeth.outputs.policy import OutputRefusedError
from elspeth_schema import EPOCH
from elspeth_schema.contracts import AuditRecord, Run, RunStatus
from elspeth_schema.records import RECORD_TYPES
from elspeth_schema.tables import run_secrets_table
from elspeth_strategies import whole_runs
from tests.core.landscape.sealing.test_seal import drop_guards
from tests.fixtures.effort import law, some_of
from tests.fixtures.executors import InlineExecutor
from tests.fixtures.landscapes import NewLandscape, in_memory
from tests.fixtures.legacy import LEGACY
from tests.fixtures.predecessor import releases
from tests.fixtures.records import record_everything
from tests.fixtures.rich_run import recorded, rich_run


def failed_run() -> list[AuditRecord]:
    """Return a failed run with records of every type.

    Some are open, as in a run that stopped.
    """
    return rich_run(status=RunStatus.FAILED)


@pytest.mark.parametrize("archive", [False, True])
def test_a_bag_of_a_run_is_verified(
    landscape: LandscapeDB, tmp_path: Path, signer: Signer, key: PublicKey, archive: bool
) -> None:
    run_id = recorded(landscape, failed_run())
    target = tmp_path / "bag"
    summary = write_bag_of_run(landscape, run_id, target, signer=signer, archive=archive)
    result = verify_bag(target, key=key)
    assert result.verdict is Verdict.VERIFIED
    assert (result.run_id, result.record_count) == (run_id, summary.record_count)


def test_a_bag_holds_the_documents_that_explain_its_records(landscape: LandscapeDB, tmp_path: Path) -> None:
    run = failed_run()
    write_bag_of_run(landscape, recorded(landscape, run), tmp_path / "bag", signer=None)
    data, package = tmp_path / "bag" / "data", files("elspeth_schema")
    context = json.loads(package.joinpath("context.jsonld").read_bytes())["@context"]
    schema = json.loads(package.joinpath("export.schema.json").read_bytes())
    assert isinstance(run[0], Run)
    documents = {
        "context.jsonld": canonical_bytes({"@context": context}),
        "export.schema.json": canonical_bytes(schema),
        "data-dictionary.md": package.joinpath("data-dictionary.md").read_bytes(),
        "settings.yaml": run[0].settings_json.encode(),
    }
    assert {name: (data / name).read_bytes() for name in documents} == documents
    named = re.findall(r"`([^`]+\.[a-z]+)`", (data / "README.md").read_text())
    assert len(named) > 4
    assert [name for name in named if not any((each / name).is_file() for each in (data, data.parent))] == []


def test_a_bag_is_watched_by_its_records_and_by_what_was_signed(tmp_path: Path, signer: Signer) -> None:
    with in_memory() as db:
        run_id = recorded(db, failed_run())
        for name, by in (("signed", signer), ("unsigned", None)):
            write_bag_of_run(db, run_id, tmp_path / name, signer=by)
        write_bag_of_run(db, run_id, tmp_path / "bag.zip", signer=signer, archive=True)
    names = {
        name: [str(file.relative_to(tmp_path / name)) for file in find_place(tmp_path / name).files()]
        for name in ("signed", "unsigned")
    }
    assert names == {
        "signed": ["data/records.jsonl", "statement.dsse.json"],
        "unsigned": ["data/records.jsonl", "statement.json"],
    }
    assert find_place(tmp_path / "bag.zip").files() == [tmp_path / "bag.zip"]


def test_a_bag_without_its_records_is_read_as_a_damaged_bag(landscape: LandscapeDB, tmp_path: Path) -> None:
    path = tmp_path / "bag"
    write_bag_of_run(landscape, recorded(landscape, failed_run()), path, signer=None)
    (path / "data" / "records.jsonl").unlink()
    with pytest.raises(ExportError) as refused:
        list(read_export(path))
    assert str(refused.value) == f"{path}, data/records.jsonl: expected this file, got none"


def test_a_statement_that_names_other_withheld_columns_is_refused(landscape: LandscapeDB, tmp_path: Path) -> None:
    write_bag_of_run(landscape, recorded(landscape, failed_run()), tmp_path / "bag", signer=None)
    statement = json.loads((tmp_path / "bag" / "statement.json").read_bytes())
    withheld = canonical_bytes(statement["predicate"]["withheld"]).decode()
    statement["predicate"]["withheld"] = []
    (tmp_path / "bag" / "statement.json").write_bytes(canonical_bytes(statement))
    with pytest.raises(ExportError) as refused:
        list(read_export(tmp_path / "bag"))
    problem = f"manifest: withheld: expected {withheld}, derived from what comes before, got []"
    assert str(refused.value) == f"{tmp_path / 'bag'}, statement: {problem}"


@pytest.mark.parametrize("read", [read_statement, read_bag_epoch, read_recorded_epoch])
def test_a_bag_without_a_statement_says_nothing(tmp_path: Path, read: Callable[[Path], object]) -> None:
    with in_memory() as db:
        write_bag_of_run(db, recorded(db, failed_run()), tmp_path / "bag", signer=None)
    (tmp_path / "bag" / "statement.json").unlink()
    with pytest.raises(ExportError) as refused:
        read(tmp_path / "bag")
    assert str(refused.value) == f"{tmp_path / 'bag'}, statement.json: expected this file, got none"


@pytest.mark.parametrize("read", [read_bag_epoch, read_recorded_epoch])
def test_a_bag_of_a_database_as_found_has_no_epoch(tmp_path: Path, read: Callable[[Path], object]) -> None:
    with closing(sqlite3.connect(tmp_path / "any.db")) as connection:
        connection.execute("CREATE TABLE any (id INTEGER)")
    export_found(make_url(f"sqlite:///{tmp_path / 'any.db'}"), tmp_path / "bag", format=ExportFormat.BAG)
    assert read_statement(tmp_path / "bag").record_count > 1
    with pytest.raises(ExportError) as refused:
        read(tmp_path / "bag")
    assert str(refused.value) == f"{tmp_path / 'bag'}, statement: {NO_RUN}"


def test_only_bags_of_runs_with_a_secret_say_when_the_run_was_recorded(landscape: LandscapeDB, tmp_path: Path) -> None:
    """Without a secret, the seal was made later."""
    for name, record, epoch in (("with", record_with_secret, EPOCH), ("without", recorded, None)):
        run = [replace(each, run_id=name) for each in failed_run()]
        write_bag_of_run(landscape, record(landscape, run), tmp_path / name, signer=None)
        assert (read_bag_epoch(tmp_path / name), read_recorded_epoch(tmp_path / name)) == (EPOCH, epoch)


def record_with_secret(landscape: LandscapeDB, run: list[AuditRecord]) -> str:
    """Record a run with a secret and a seal."""
    run_id = recorded(landscape, run)
    with landscape.write_transaction() as connection:
        connection.execute(insert(run_secrets_table), {"run_id": run_id, "secret": "5" * 64})
        if isinstance(run[0], Run) and run[0].status.is_terminal:
            seal_run(connection, run_id)
    return run_id


def test_the_records_of_a_bag_are_those_of_an_export_with_salted_leaves(landscape: LandscapeDB, tmp_path: Path) -> None:
    run_id = record_with_secret(landscape, failed_run())
    write_bag_of_run(landscape, run_id, tmp_path / "bag", signer=None)
    lines = (tmp_path / "bag" / "data" / "records.jsonl").read_bytes().splitlines()
    assert [json.loads(line) for line in lines] == list(LandscapeExporter(landscape).export_run(run_id))
    leaves = (tmp_path / "bag" / "data" / "leaf-hashes.bin").read_bytes()
    assert not any(sha256(b"\0" + line).digest() in leaves for line in lines)
    assert not any(b"5" * 64 in file.read_bytes() for file in (tmp_path / "bag").rglob("*.*"))
    assert verify_bag(tmp_path / "bag", key=None).verdict is not Verdict.VERIFIED  # nobody signed it


def test_the_root_of_the_seal_follows_from_the_lines_of_the_bag(landscape: LandscapeDB, tmp_path: Path) -> None:
    """Auditors who compare the two are told so in docs/evidence.md."""
    run_id = record_with_secret(landscape, failed_run())
    write_bag_of_run(landscape, run_id, tmp_path / "bag", signer=None)
    lines = (tmp_path / "bag" / "data" / "records.jsonl").read_bytes().splitlines()
    statement = json.loads((tmp_path / "bag" / "statement.json").read_bytes())
    with landscape.snapshot() as connection:
        [seal] = read_seals(connection)
    leaves = []
    for line in lines:
        record = json.loads(line)
        changing = RECORD_TYPES[record["record_type"]].lifecycle.afterwards
        leaves.append(leaf_hash(canonical_bytes({name: each for name, each in record.items() if name not in changing})))
    assert tree_root(leaves).hex() == seal.root
    assert statement["predicate"]["merkle_tree"]["root"] != seal.root


def salts_of_bag(landscape: LandscapeDB, run_id: str, path: Path) -> bytes:
    write_bag_of_run(landscape, run_id, path, signer=None)
    return (path / "data" / "salts.json").read_bytes()


def test_bags_of_the_same_records_have_the_same_salts(landscape: LandscapeDB, tmp_path: Path) -> None:
    run_id = record_with_secret(landscape, failed_run())
    assert salts_of_bag(landscape, run_id, tmp_path / "1") == salts_of_bag(landscape, run_id, tmp_path / "2")


def test_bags_of_other_records_share_no_salts(new_landscape: NewLandscape, tmp_path: Path) -> None:
    """A failed run that is resumed is sealed again."""
    found = []
    for number, run in enumerate((failed_run(), failed_run()[:-1])):
        with new_landscape() as db:
            found.append(salts_of_bag(db, record_with_secret(db, run), tmp_path / str(number)))
    assert found[0] != found[1]


def test_bags_of_a_run_that_has_not_ended_share_no_salts(landscape: LandscapeDB, tmp_path: Path) -> None:
    """The next one may have other records at these numbers."""
    run_id = record_with_secret(landscape, rich_run(status=RunStatus.RUNNING))
    assert salts_of_bag(landscape, run_id, tmp_path / "1") != salts_of_bag(landscape, run_id, tmp_path / "2")


@given(run=whole_runs())
@law(25)
def test_every_line_of_a_generated_run_passes_the_procedure(run: list[AuditRecord]) -> None:
    first, *others = run
    assert isinstance(first, Run)
    run = [replace(first, status=RunStatus.FAILED), *others]
    with in_memory() as database, TemporaryDirectory() as directory:
        RecordStore(database).add(*run)
        write_bag_of_run(database, first.run_id, Path(directory) / "bag", signer=None)
        result = verify_bag(Path(directory) / "bag", key=None)
    # Generated records keep the schema; they are not the trail of a run, which would also account for its rows.
    assert {fault.step for fault in result.faults} <= {Step.ACCOUNTING}


@pytest.mark.parametrize("status", [status for status in RunStatus if not status.is_terminal])
def test_a_bag_of_a_run_that_has_not_ended_is_not_verified(
    landscape: LandscapeDB, tmp_path: Path, signer: Signer, status: RunStatus
) -> None:
    run_id = recorded(landscape, rich_run(status=status))
    write_bag_of_run(landscape, run_id, tmp_path / "bag", signer=signer)
    result = verify_bag(tmp_path / "bag", key=signer.public_key)
    assert result.verdict is Verdict.NOT_VERIFIED
    problem = "expected true, got false: the export says that it is incomplete"
    assert [(fault.step.value, fault.detail) for fault in result.faults] == [
        (3, f"statement.dsse.json: complete: {problem}")
    ]


def test_an_existing_bag_is_never_replaced(landscape: LandscapeDB, tmp_path: Path) -> None:
    run_id = recorded(landscape, failed_run())
    path = tmp_path / "bag"
    write_export(landscape, run_id, path, format=ExportFormat.BAG)
    before = sorted(file.read_bytes() for file in path.rglob("*") if file.is_file())
    with pytest.raises(OutputRefusedError) as caught:
        write_export(landscape, run_id, path, format=ExportFormat.BAG)
    assert str(caught.value) == f"{path}: exists already, and evidence is never overwritten: name another path"
    assert sorted(file.read_bytes() for file in path.rglob("*") if file.is_file()) == before


def test_an_unknown_run_leaves_no_bag(landscape: LandscapeDB, tmp_path: Path) -> None:
    with pytest.raises(RunNotFoundError):
        write_bag_of_run(landscape, "nowhere", tmp_path / "bag", signer=None)
    assert list(tmp_path.iterdir()) == []


EDITS = {
    "outcomes removed, the seal moved to an epoch without laws": (
        "DELETE FROM token_outcomes",
        "UPDATE seals SET epoch = 1",
    ),
    "outcomes and the seal removed": ("DELETE FROM token_outcomes", "DELETE FROM seals", "DELETE FROM seal_leaves"),
    "one value changed": ("UPDATE nodes SET plugin_version = '9'",),
    "one value of the run changed": ("UPDATE runs SET canonical_version = '9'",),
    "one value of a row changed": ("UPDATE rows SET source_data_hash = 'f' WHERE row_index = 1",),
    "outcomes removed": ("DELETE FROM token_outcomes",),
    "the seal broken": ("UPDATE seals SET scope_json = '['",),
}


@pytest.mark.parametrize("executor", [None, InlineExecutor()])
@pytest.mark.parametrize("edit", some_of(list(EDITS), 0))
def test_no_bag_is_written_of_a_run_that_does_not_match_its_seal(
    landscape: LandscapeDB, tmp_path: Path, signer: Signer, edit: str, executor: InlineExecutor | None
) -> None:
    recorder = LandscapeRecorder(landscape)
    record_everything(recorder, "run", rows=3)
    recorder.complete_run("run", RunStatus.FAILED)
    write_bag_of_run(landscape, "run", tmp_path / "before", signer=signer)
    with landscape.write_transaction() as connection:
        drop_guards(connection)
        for statement in EDITS[edit]:
            connection.exec_driver_sql(statement)
    with pytest.raises(
        AlteredRunError, match=r"run run is not what was sealed: .* elspeth landscape check -d "
    ) as error:
        write_bag_of_run(landscape, "run", tmp_path / "after", signer=signer, executor=executor)
    assert landscape.url in str(error.value)
    assert [path.name for path in tmp_path.iterdir() if path.name != "database"] == ["before"]


def test_a_run_that_was_sealed_in_an_earlier_epoch_is_compared_with_its_seal(tmp_path: Path, signer: Signer) -> None:
    """Such a seal does not cover all of today's types."""
    path = tmp_path / "audit.db"
    shutil.copy(LEGACY / "epoch5-rich.db", path)
    migrate(f"sqlite:///{path}")
    with LandscapeDB(f"sqlite:///{path}", create_tables=False) as db:
        with db.snapshot() as connection:
            runs = [seal.run_id for seal in read_seals(connection)]
        for number, run_id in enumerate(runs):
            write_bag_of_run(db, run_id, tmp_path / str(number), signer=signer)
            result = verify_bag(tmp_path / str(number), key=signer.public_key)
            # The runs have a record of every kind, but are not the trail of rows.
            assert {fault.step for fault in result.faults} <= {Step.ACCOUNTING}
        assert runs
        with db.write_transaction() as connection:
            drop_guards(connection)
            connection.exec_driver_sql("UPDATE rows SET source_data_hash = 'f'")
        for run_id in runs:
            with pytest.raises(AlteredRunError, match=r"rows .* is not the record that was sealed here"):
                write_bag_of_run(db, run_id, tmp_path / "after", signer=signer)


FIRST_RELEASE = Path(__file__).parents[3] / "data" / "first_release"


@pytest.mark.parametrize("name", ["recorded-in-epoch1", "recorded-in-epoch3", "failed", "completed-high-s"])
def test_a_bag_of_an_imported_older_run_is_checked_for_the_laws_of_its_epoch(
    landscape: LandscapeDB, tmp_path: Path, signer: Signer, key: PublicKey, name: str
) -> None:
    run_id = import_export(landscape, FIRST_RELEASE / f"{name}.zip").run_id
    write_bag_of_run(landscape, run_id, tmp_path / "bag", signer=signer)
    result = verify_bag(tmp_path / "bag", key=key)
    assert (result.verdict, result.faults) == (Verdict.VERIFIED, ())


def test_a_bag_of_an_adopted_run_is_verified(
    database_url: str, tmp_path: Path, signer: Signer, key: PublicKey, predecessor_files: Path
) -> None:
    for number, path in enumerate(list(releases(predecessor_files))[::4]):
        (run_id,) = adopt(f"sqlite:///{path}", database_url).runs
        target = tmp_path / str(number)
        with LandscapeDB(database_url, create_tables=False) as db:
            write_bag_of_run(db, run_id, target, signer=signer)
        result = verify_bag(target, key=key)
        assert (path.name, result.verdict, result.faults) == (path.name, Verdict.VERIFIED, ())

"""The data with which a page checks its records."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.exporting.files import write_export
from elspeth.core.landscape.exporting.format import ExportFormat
from elspeth.core.landscape.sealing.seal import read_seals
from elspeth.evidence.format import bag
from elspeth.evidence.format.merkle import TreeHasher, leaf_hashes
from elspeth.evidence.writer.bag import write_bag
from elspeth.report.evidence import read_bag_certificate, read_bag_contents, read_bag_files, read_seal
from elspeth.report.records import open_database_records
from elspeth_schema import EPOCH
from elspeth_schema.tables import seals_table
from tests.core.landscape.sealing.test_seal import drop_guards
from tests.evidence.bags import DOCUMENTS, SECRET, run_facts, to_lines
from tests.evidence.bags import records as bag_records
from tests.fixtures.landscapes import NewLandscape
from tests.fixtures.told_run import RUN_ID, record_told_run


@pytest.fixture(scope="module")
def told(new_landscape: NewLandscape) -> Iterator[LandscapeDB]:
    with new_landscape() as db:
        record_told_run(db)
        yield db


@pytest.mark.parametrize("archive", [False, True])
def test_a_page_of_a_bag_holds_its_other_files(told: LandscapeDB, archive: bool, tmp_path: Path) -> None:
    path = tmp_path / "bag"
    write_export(told, RUN_ID, path, format=ExportFormat.BAG, archive=archive)
    files = read_bag_files(path)
    assert {bag.STATEMENT, bag.SALTS, bag.SCHEMA, bag.BAGIT, bag.MANIFEST, bag.TAG_MANIFEST} < files.keys()
    assert not {bag.RECORDS, bag.LEAVES} & files.keys()
    prefixes = files["leaf-prefixes"]
    if not archive:
        assert files == {name: (path / name).read_bytes() for name in files.keys() - {"leaf-prefixes"}} | {
            "leaf-prefixes": prefixes
        }
        leaves = (path / bag.LEAVES).read_bytes()
        assert prefixes == b"".join(leaves[at : at + 4] for at in range(0, len(leaves), 32))
        assert read_bag_files(path / bag.RECORDS) == files


@pytest.mark.parametrize("archive", [False, True])
def test_contents_of_a_bag_are_read_apart_from_its_other_files(archive: bool, tmp_path: Path) -> None:
    path = tmp_path / "bag"
    contents = [(digest * 64, digest.encode() * 99) for digest in "b0a"]
    write_bag(
        path,
        [to_lines(bag_records())],
        facts=run_facts(),
        documents=DOCUMENTS,
        signer=None,
        secret=SECRET,
        archive=archive,
        contents=contents,
    )
    assert list(read_bag_contents(path)) == sorted(contents)
    assert not [name for name in read_bag_files(path) if name.startswith(bag.CONTENTS)]
    assert read_bag_certificate(path) is None


def test_an_export_that_is_not_a_bag_has_no_such_files(told: LandscapeDB, tmp_path: Path) -> None:
    write_export(told, RUN_ID, tmp_path / "csv", format=ExportFormat.CSV)
    assert read_bag_files(tmp_path / "csv") == {}
    assert list(read_bag_contents(tmp_path / "csv")) == []
    assert read_bag_certificate(tmp_path / "csv") is None


def test_the_seal_of_a_page_is_that_of_its_lines(told: LandscapeDB) -> None:
    with open_database_records(told, "latest") as records:
        lines = [json.loads(line) for batch in records.lines() for line in batch]
        seal = read_seal(records.connection, RUN_ID)
    assert seal is not None
    columns: Any = seal["columns"]
    tree = TreeHasher()
    for line in lines:
        names = {"record_type", *columns.get(line["record_type"], line)}
        sealed = {name: value for name, value in sorted(line.items()) if name in names}
        tree.extend(leaf_hashes([json.dumps(sealed, separators=(",", ":"), ensure_ascii=False).encode()]))
    with told.connection() as connection:
        (kept,) = read_seals(connection, RUN_ID)
    assert json.loads(str(seal["payload"]))["root"] == tree.root().hex() == kept.root
    assert seal["envelope"] is None


def test_a_run_that_has_not_ended_has_no_seal(new_landscape: NewLandscape) -> None:
    with new_landscape() as db:
        record_told_run(db, ended=False)
        with db.connection() as connection:
            assert read_seal(connection, RUN_ID) is None


@pytest.mark.parametrize(
    "values",
    [
        {"epoch": EPOCH - 1},
        {"counts_json": "{"},
        {"counts_json": "[1.5, NaN]"},
        {"scope_json": "{"},
        {"scope_json": "[{}]"},
        {"scope_json": "[1]"},
    ],
    ids=lambda values: " ".join(map(repr, *values.items())),
)
def test_a_seal_of_an_older_epoch_or_that_cannot_be_read_is_left_out(
    told: LandscapeDB, values: dict[str, object]
) -> None:
    with told.engine.connect().execution_options(sqlite_begin="IMMEDIATE") as connection:
        drop_guards(connection)
        connection.execute(update(seals_table).values(**values))
        assert read_seal(connection, RUN_ID) is None
        connection.rollback()

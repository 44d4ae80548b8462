"""Exports to CSV as Data Packages, validated by Frictionless."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from frictionless import system, validate

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.exporting._data_package import data_package
from elspeth.core.landscape.exporting.files import ExportFormat, write_export
from elspeth.core.landscape.exporting.reader import read_export
from elspeth.core.landscape.queries.runs import resolve_run
from elspeth.outputs.compression import Compression
from elspeth_schema.records import RECORD_TYPES
from tests.examples.running import names
from tests.fixtures.example_runs import ExampleRun
from tests.fixtures.landscapes import NewLandscape, in_memory
from tests.fixtures.rich_run import recorded, rich_run

# Frictionless uses what its own libraries have deprecated, and guesses no types here.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def problems(directory: Path) -> set[tuple[str, str]]:
    """Return resources with problems, and their kinds."""
    with system.use_context(trusted=True):
        report = validate(str(directory / "datapackage.json"))
    return {(task.name, error.type) for task in report.tasks for error in task.errors}


def replace(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))


def export_rich_run(path: Path, **options: bool | bytes | Compression) -> Path:
    """Export a run with every shape of record to CSV."""
    with in_memory() as db:
        write_export(db, recorded(db, rich_run()), path, format=ExportFormat.CSV, **options)  # type: ignore[arg-type]
    return path


def test_every_shape_of_record_is_valid_under_the_package(tmp_path: Path) -> None:
    directory = export_rich_run(tmp_path / "csv", include_payloads=True, signing_key=b"key")
    assert problems(directory) == set()
    package = json.loads((directory / "datapackage.json").read_bytes())
    files = {path.name for path in directory.iterdir()} - {"datapackage.json", "manifest.json"}
    assert {resource["path"] for resource in package["resources"]} == files


def test_compressed_files_are_named(tmp_path: Path) -> None:
    directory = export_rich_run(tmp_path / "csv", compression=Compression.GZIP)
    package = json.loads((directory / "datapackage.json").read_bytes())
    assert {each["compression"] for each in package["resources"]} == {"gz"}
    assert all((directory / each["path"]).suffixes == [".csv", ".gz"] for each in package["resources"])


def test_the_package_is_the_same_from_both_databases(new_landscape: NewLandscape, tmp_path: Path) -> None:
    with new_landscape() as db:
        write_export(db, recorded(db, rich_run()), tmp_path / "csv", format=ExportFormat.CSV)
    expected = export_rich_run(tmp_path / "expected")
    assert (tmp_path / "csv" / "datapackage.json").read_bytes() == (expected / "datapackage.json").read_bytes()


def test_broken_tables_are_found_by_the_package(tmp_path: Path) -> None:
    directory = export_rich_run(tmp_path / "csv")
    replace(directory / "token.csv", b",row-", b",gone-")
    replace(directory / "row.csv", b",0,", b",first,")
    replace(directory / "node.csv", b",source,", b",sauce,")
    (directory / "call.csv").unlink()
    assert problems(directory) >= {
        ("token", "foreign-key"),
        ("row", "type-error"),
        ("node", "constraint-error"),
        ("call", "scheme-error"),
    }


def test_each_key_and_reference_is_declared(tmp_path: Path) -> None:
    directory = export_rich_run(tmp_path / "csv")
    package = json.loads((directory / "datapackage.json").read_bytes())
    for resource in package["resources"]:
        record_type, schema = RECORD_TYPES[resource["name"]], resource["schema"]
        assert schema["primaryKey"] == list(record_type.key)
        stated = {tuple(each["fields"]) for each in schema["foreignKeys"]}
        expected = {tuple(name for name in each.columns if name != "run_id") for each in record_type.references}
        assert stated == {each or ("run_id",) for each in expected}


def test_references_to_files_that_the_export_lacks_are_not_declared() -> None:
    headers = {name: [column.name for column in RECORD_TYPES[name].columns] for name in ("token", "token_outcome")}
    headers["token_outcome"].remove("batch_id")
    package = json.loads(data_package("run-1", headers, None))
    found = {
        each["name"]: [key["reference"]["resource"] for key in each["schema"]["foreignKeys"]]
        for each in package["resources"]
    }
    assert found == {"token": [], "token_outcome": ["token"]}
    assert (package["id"], package["title"]) == ("run-1", "Audit trail of run run-1")


def test_the_package_is_ignored_when_reading(tmp_path: Path) -> None:
    directory = export_rich_run(tmp_path / "csv")
    (directory / "datapackage.json").write_bytes(b"{}")
    assert len(list(read_export(directory))) == 37


@pytest.mark.thorough
@pytest.mark.parametrize("name", names())
def test_every_example_is_valid(name: str, example_run: ExampleRun, tmp_path: Path) -> None:
    with LandscapeDB.from_url(f"sqlite:///{example_run(name).database}", create_tables=False) as db:
        write_export(db, resolve_run(db, "latest"), tmp_path / "csv", format=ExportFormat.CSV)
    assert problems(tmp_path / "csv") == set()

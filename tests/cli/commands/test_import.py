"""`elspeth import`: what it restores, messages, and failures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from elspeth.cli import main
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.exporting.format import ExportFormat
from tests.fixtures.rich_run import export_to

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to an empty directory, without a signing key."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ELSPETH_SIGNING_KEY", raising=False)
    return tmp_path


def run_import(capsys: Captured, *arguments: str) -> tuple[int, str, str]:
    """Run `elspeth import`; return its exit code, output and errors."""
    code = main(["import", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.smoke
@pytest.mark.parametrize("form", ["jsonl", "json", "parquet", "csv"])
def test_an_imported_run_is_exported_again_as_the_same_bytes(capsys: Captured, form: str) -> None:
    export_to(Path("first"), ExportFormat(form))
    code, out, err = run_import(capsys, "first", "-d", "new.db")
    assert (code, err) == (0, "")
    assert out == "run             run-1\nrecords         37, signatures: none\naudit database  sqlite:///new.db\n"
    assert main(["export", "latest", "-d", "new.db", "-o", "again", "--format", form]) == 0
    first, again = Path("first"), Path("again")
    for path in first.iterdir() if first.is_dir() else [first]:
        assert (again / path.relative_to(first)).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "signatures"), [((), "not checked (--hmac checks them)"), (("--hmac",), "checked")]
)
def test_signatures_are_checked_with_a_key(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], signatures: str
) -> None:
    monkeypatch.setenv("ELSPETH_SIGNING_KEY", "a key of 16 bytes")
    export_to(Path("export.jsonl"), ExportFormat.JSONL, signing_key=b"a key of 16 bytes")
    code, out, err = run_import(capsys, "export.jsonl", "-d", "new.db", *arguments)
    assert (code, err) == (0, "")
    assert f"records         37, signatures: {signatures}\n" in out
    code, out, _ = run_import(capsys, "export.jsonl", "-d", "again.db", *arguments, "--json")
    facts = {"run_id": "run-1", "records": 37, "database": "sqlite:///again.db", "signed": True}
    assert (code, json.loads(out)) == (0, {**facts, "signatures_checked": bool(arguments)})


def test_a_wrong_key_is_refused(project: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELSPETH_SIGNING_KEY", "another key of 17 bytes")
    export_to(Path("export.jsonl"), ExportFormat.JSONL, signing_key=b"a key of 16 bytes")
    code, out, err = run_import(capsys, "export.jsonl", "-d", "new.db", "--hmac")
    assert (code, out) == (1, "")
    assert err.startswith("error: export.jsonl, line 1: signature: expected one by the key given, got ")
    assert [path.name for path in project.iterdir()] == ["export.jsonl"]


def test_hmac_without_a_key_is_a_usage_error(project: Path, capsys: Captured) -> None:
    code, out, err = run_import(capsys, "export.jsonl", "-d", "new.db", "--hmac")
    assert (code, out, err) == (2, "", "error: --hmac needs a key: set ELSPETH_SIGNING_KEY\n")
    assert list(project.iterdir()) == []


def test_an_altered_export_leaves_no_database(project: Path, capsys: Captured) -> None:
    path = export_to(Path("export.jsonl"), ExportFormat.JSONL)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:11], lines[11].replace(b"row_", b"Row_", 1), *lines[12:]]))
    code, out, err = run_import(capsys, "export.jsonl", "-d", "new.db")
    assert (code, out) == (1, "")
    assert err.startswith("error: export.jsonl, line 12: ")
    assert err.count("\n") == 1
    assert [each.name for each in project.iterdir()] == ["export.jsonl"]


def test_a_database_with_runs_is_refused(capsys: Captured) -> None:
    export_to(Path("export.jsonl"), ExportFormat.JSONL)
    assert run_import(capsys, "export.jsonl", "-d", "audit.db")[0] == 0
    code, out, err = run_import(capsys, "export.jsonl", "-d", "audit.db")
    assert (code, out) == (1, "")
    reason = "already holds runs: an export is imported into a database without any. Nothing was changed."
    assert err == f"error: audit database sqlite:///audit.db {reason} Name another database.\n"


@pytest.mark.usefixtures("project")
def test_a_bag_is_imported_without_its_salts(capsys: Captured) -> None:
    export_to(Path("first.jsonl"), ExportFormat.JSONL)
    export_to(Path("bag"), ExportFormat.BAG)
    code, out, err = run_import(capsys, "bag", "-d", "new.db")
    assert (code, err) == (0, "")
    assert out.splitlines()[1] == "records         37, signatures: not checked (elspeth verify checks those of a bag)"
    assert main(["export", "latest", "-d", "new.db", "-o", "again.jsonl"]) == 0
    assert Path("again.jsonl").read_bytes() == Path("first.jsonl").read_bytes()


def test_a_missing_export_is_reported(project: Path, capsys: Captured) -> None:
    code, out, err = run_import(capsys, "export.jsonl", "-d", "new.db")
    assert (code, out, err) == (1, "", "error: export.jsonl: cannot be read: No such file or directory\n")
    assert list(project.iterdir()) == []


@pytest.mark.postgres
def test_an_export_can_be_imported_into_a_server(postgresql_url: str, capsys: Captured) -> None:
    export_to(Path("export.jsonl"), ExportFormat.JSONL)
    code, out, err = run_import(capsys, "export.jsonl", "-d", postgresql_url)
    assert (code, err) == (0, "")
    assert out.startswith("run             run-1\n")
    with LandscapeDB(postgresql_url, create_tables=False):
        pass


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="the system has no directory that nobody can write to")
def test_a_database_that_cannot_be_created_is_named(project: Path, capsys: Captured) -> None:
    export_to(project / "export.jsonl", ExportFormat.JSONL)
    message = "error: audit database sqlite:////proc/new.db: unable to open database file\n"
    assert run_import(capsys, "export.jsonl", "-d", "/proc/new.db") == (1, "", message)

"""Commands on an audit database of an older epoch."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from sqlalchemy import make_url

from elspeth.cli import main
from elspeth.contracts.database_urls import mask_url
from elspeth_schema import EPOCH
from tests.fixtures.legacy import EPOCHS, LEGACY, OldDatabaseMaker, rows_of
from tests.fixtures.untouched import untouched

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.usefixtures("own_directory")

Captured = pytest.CaptureFixture[str]


# -- export and explain ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EPOCHS)
def test_export_and_explain_work_without_migrating(name: str, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "old").mkdir()
    path = Path(shutil.copy(LEGACY / f"{name}.db", tmp_path / "old" / "audit.db"))
    with untouched(path):
        assert main(["export", "latest", "-d", "old/audit.db", "-o", "out.jsonl"]) == 0
        assert main(["explain", "--row", "0", "-d", "old/audit.db"]) == 0
    told = capsys.readouterr().out
    assert "row 0 from" in told
    assert main(["explain", "--row", "0", "--from", "out.jsonl"]) == 0
    assert told.endswith(capsys.readouterr().out)
    # A run in the database of epoch 5 has traces of an end that its status denies, which the check of seals reports.
    assert main(["landscape", "migrate", "-d", "old/audit.db"]) == (1 if EPOCHS[name] == 5 else 0)
    assert main(["export", "latest", "-d", "old/audit.db", "-o", "again.jsonl"]) == 0
    assert Path("again.jsonl").read_bytes() == Path("out.jsonl").read_bytes()


# -- run ---------------------------------------------------------------------------------------------------------------

EXAMPLE = Path("examples/audit_export")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Copy the example with an audit database of the predecessor."""
    shutil.copytree(ROOT / EXAMPLE, tmp_path / EXAMPLE, ignore=shutil.ignore_patterns("output", "runs"))
    (tmp_path / EXAMPLE / "runs").mkdir()
    shutil.copy(LEGACY / "epoch1-audit-export.db", tmp_path / EXAMPLE / "runs" / "audit.db")
    return tmp_path / EXAMPLE


RUN = ["run", "-s", str(EXAMPLE / "settings.yaml"), "--execute", "--no-dotenv"]


def read_files(directory: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(directory)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in directory.rglob("*")
        if path.is_file()
    }


def test_a_run_stops_before_it_touches_an_older_database(project: Path, capsys: Captured) -> None:
    before = read_files(project)
    assert main(RUN) == 1
    output, errors = capsys.readouterr()
    url = f"sqlite:///{EXAMPLE}/runs/audit.db"
    assert output == ""
    assert errors.startswith(
        f"error: audit database {url} is of epoch 1, this version records in epoch {EPOCH}: tables missing:"
        " secret_resolutions, run_processes, operations, source_inputs, token_outcomes,"
    )
    assert errors.endswith(f" To record into it, run: elspeth landscape migrate -d {url}\n")
    assert read_files(project) == before


def auto_migrate(project: Path, url: str | None = None) -> None:
    settings = project / "settings.yaml"
    text = settings.read_text()
    text = text.replace("landscape:\n", "landscape:\n  auto_migrate: true\n")
    if url is not None:
        text = text.replace(f"sqlite:///{EXAMPLE}/runs/audit.db", url)
    settings.write_text(text)


def test_with_auto_migrate_the_run_migrates_with_a_backup_and_goes_on(project: Path, capsys: Captured) -> None:
    auto_migrate(project)
    assert main(RUN) == 0
    output, errors = capsys.readouterr()
    (backup,) = (project / "runs").glob("*.bak")
    assert errors == (
        f"audit database sqlite:///{EXAMPLE}/runs/audit.db was migrated from epoch 1 to {EPOCH};"
        f" the backup is {backup}\n"
    )
    assert rows_of(backup) == rows_of(LEGACY / "epoch1-audit-export.db")
    assert re.search(r"^rows in +10$", output, re.MULTILINE)
    main(["landscape", "runs", "-d", str(project / "runs" / "audit.db")])
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["status", "completed", "completed"]
    assert main(RUN) == 0
    assert capsys.readouterr().err == ""
    assert len(list((project / "runs").glob("*.bak"))) == 1


@pytest.mark.postgres
def test_with_auto_migrate_on_postgresql_the_run_asks_for_a_backup(
    project: Path, old_database_of: OldDatabaseMaker, capsys: Captured
) -> None:
    url = old_database_of("epoch1-audit-export", "postgresql").url
    auto_migrate(project, url)
    (project / "runs" / "audit.db").unlink()
    settings = project / "settings.yaml"
    settings.write_text(
        settings.read_text().replace("  auto_migrate: true\n", "  auto_migrate: true\n  backend: postgresql\n")
    )
    before = read_files(project)
    assert main(RUN) == 1
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.startswith(
        f"error: audit database {mask_url(make_url(url))} was not migrated and not changed: a PostgreSQL database is"
        " backed up by its administrator, for example with: pg_dump"
    )
    assert read_files(project) == before


def test_with_auto_migrate_a_new_database_is_created(project: Path, capsys: Captured) -> None:
    auto_migrate(project)
    (project / "runs" / "audit.db").unlink()
    assert main(RUN) == 0
    assert capsys.readouterr().err == ""

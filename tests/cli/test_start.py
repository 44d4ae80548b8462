"""The modules that commands import, which decide their start time."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from elspeth.core.landscape.database import LandscapeDB
from tests.fixtures.rich_run import recorded, rich_run

HEAVY = {
    *("alembic", "asyncio", "cryptography", "httpx", "jinja2", "pluggy", "psycopg", "pyarrow"),
    *("pyrate_limiter", "rfc3161_client", "rich", "securesystemslib", "sqlalchemy", "tenacity"),
}
"""Packages that take long to import, or that few pipelines need."""

HEAVIER_THAN_A_VERSION = {"importlib.metadata", "inspect", "orjson", "pydantic", "typer", "yaml"}

PROGRAM = """
import sys
from elspeth.cli import main
code = main(sys.argv[1:])
print(*sorted(sys.modules))
sys.exit(code)
"""

SETTINGS = """\
datasource: {plugin: csv, options: {path: in.csv}}
row_plugins: [{plugin: passthrough}]
gates: [{name: large, condition: "row['amount'] > 10", routes: {'true': continue, 'false': rest}}]
aggregations: [{name: twice, plugin: batch_replicate, trigger: {count: 2}}]
sinks:
  out: %s
  rest: {plugin: json, options: {path: rest.json}}
output_sink: out
"""


def imported_modules(*arguments: str, directory: Path) -> set[str]:
    """Return the modules that a command has imported."""
    command = [sys.executable, "-c", PROGRAM, *arguments]
    done = subprocess.run(command, cwd=directory, check=True, capture_output=True, text=True)
    return set(done.stdout.splitlines()[-1].split())


def modules_of_validate(directory: Path, sink: str) -> set[str]:
    (directory / "settings.yaml").write_text(SETTINGS % sink)
    return imported_modules("validate", "-s", "settings.yaml", directory=directory)


def test_the_version_is_printed_without_heavy_imports(tmp_path: Path) -> None:
    assert imported_modules("--version", directory=tmp_path).isdisjoint(HEAVY | HEAVIER_THAN_A_VERSION)


def test_settings_are_validated_without_heavy_imports(tmp_path: Path) -> None:
    assert modules_of_validate(tmp_path, "{plugin: parquet, options: {path: out.parquet}}").isdisjoint(HEAVY)


def test_only_the_plugins_that_settings_name_are_imported(tmp_path: Path) -> None:
    database = {"elspeth.plugins.database_sink", "sqlalchemy"}
    assert modules_of_validate(tmp_path, "{plugin: csv, options: {path: out.csv}}").isdisjoint(database)
    assert modules_of_validate(tmp_path, "{plugin: database, options: {url: 'sqlite:///out.db', table: t}}") >= database


def test_an_unsigned_run_loads_no_clients_of_signing_services(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("amount\n1\n")
    settings = (
        SETTINGS.replace("> 10", "> '10'") % "{plugin: csv, options: {path: out.csv}}"
        + "landscape: {url: 'sqlite:///audit.db'}\n"
    )
    (tmp_path / "settings.yaml").write_text(settings)
    assert "securesystemslib.signer" not in imported_modules("run", "-s", "settings.yaml", "-x", directory=tmp_path)


def test_questions_to_a_database_and_plain_exports_load_no_cryptography(tmp_path: Path) -> None:
    with LandscapeDB(f"sqlite:///{tmp_path}/audit.db") as database:
        recorded(database, rich_run())
    for command in (("explain", "--row", "0"), ("rows",), ("export", "-o", "trail.jsonl")):
        run = ("latest",) if command[0] == "export" else ("--run", "latest")
        modules = imported_modules(*command, *run, "-d", "audit.db", directory=tmp_path)
        assert modules.isdisjoint({"cryptography", "elspeth.evidence.verifier.procedure"}), command
    assert (tmp_path / "trail.jsonl").exists()


def test_the_package_can_be_run_as_a_module() -> None:
    command = [sys.executable, "-m", "elspeth", "--version"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"elspeth {version('elspeth')}\n", "")

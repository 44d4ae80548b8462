"""Cases: each directory is a schema with its generated files.

The files are in `expected/`, snapshots of earlier epochs in `epochs/`. Every directory below cases/ is a case; a new
one needs a `schema/landscape.yaml` and one run with `--update`. For schemas that are refused see `test_refusals.py`.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from codegen.__main__ import main
from tests.codegen.trees import copy_case, tree

CASES = sorted(path.parent for path in Path(__file__).parent.glob("cases/*/schema"))
ROOT = Path(__file__).parents[2]

IMPORT_EVERYTHING = """
import importlib, pkgutil, sqlalchemy, elspeth_schema
importlib.import_module("elspeth_strategies")
for module in pkgutil.walk_packages(elspeth_schema.__path__, "elspeth_schema."):
    importlib.import_module(module.name)
engine = sqlalchemy.create_engine("sqlite://")
elspeth_schema.tables.metadata.create_all(engine)
print(elspeth_schema.__file__, *sqlalchemy.inspect(engine).get_table_names())
"""


def name_of(case: Path) -> str:
    return case.name


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_a_case_generates_the_expected_files(
    case: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], *, update: bool
) -> None:
    schema, output = copy_case(case, tmp_path), tmp_path / "generated"
    for path, content in {"docs/mine.md": b"Written before.\r\n", "tables.py": b"\xff"}.items():
        (output / path).parent.mkdir(parents=True, exist_ok=True)
        (output / path).write_bytes(content)
    code = main(["--schema", str(schema), "--output", str(output)])
    said = capsys.readouterr()
    if update:
        shutil.rmtree(case / "expected", ignore_errors=True)
        shutil.copytree(output, case / "expected")
    assert tree(output) == tree(case / "expected")
    assert (code, said.err) == (0, "")
    assert tree(schema.parent) == tree(case / "schema")


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_expected_modules_import_and_create_their_tables(case: Path) -> None:
    expected = case / "expected"
    path = os.pathsep.join(map(str, (expected, expected / "testing")))
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-W", "error", "-c", IMPORT_EVERYTHING]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    tables = [line.removesuffix("_table = Table(") for line in table_lines(expected)]
    assert result.stderr == ""
    assert result.stdout.split() == [str(expected / "elspeth_schema" / "__init__.py"), *sorted(tables)]


def table_lines(expected: Path) -> list[str]:
    lines = (expected / "elspeth_schema" / "tables.py").read_text().splitlines()
    return [line for line in lines if line.endswith("_table = Table(")]


def test_expected_modules_satisfy_mypy(pytestconfig: pytest.Config) -> None:
    """Check modules in sequence: only the first reads the libraries."""
    pytest.importorskip("mypy", reason="mypy belongs to the typecheck dependencies")
    assert pytestconfig.cache is not None
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml")]
    command += ["--cache-dir", str(pytestconfig.cache.mkdir("mypy"))]
    command += ["-p", "elspeth_schema", "-m", "elspeth_strategies"]
    for case in CASES:
        environment = {**os.environ, "MYPYPATH": str(case / "expected" / "testing")}
        result = subprocess.run(
            command, cwd=case / "expected", env=environment, capture_output=True, text=True, check=False
        )
        assert (result.returncode, result.stdout[:8]) == (0, "Success:"), f"{case.name}: {result.stdout}{result.stderr}"

"""The recipes of docs/schema.md, followed without touching src/."""

import ast
import fnmatch
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.codegen.recipe import ADD_COLUMN, ADD_TABLE, GUIDE, apply, blocks, generate, of_epoch
from tests.codegen.trees import copy_project, tree

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a directory with copied schema and history."""
    copy_project(tmp_path)
    return tmp_path


def python(source: str, project: Path) -> str:
    """Run a program with the generated package; return its output.

    The package is the project's, and src/ is unchanged.
    """
    path = os.pathsep.join([str(project / "generated"), str(ROOT / "src")])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-W", "error", "-c", source]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.stderr == ""
    return result.stdout


def test_a_new_column_goes_through_table_contract_store_and_export(project: Path) -> None:
    epoch = apply(ADD_COLUMN, project)
    generate(project)
    (program,) = blocks("python")
    (printed,) = blocks("text")
    assert python(program, project) == of_epoch(epoch, printed)
    assert {path for path, content in tree(project / "generated").items() if b"priority" in content} >= {
        "elspeth_schema/data-dictionary.md",
        "elspeth_schema/contracts.py",
        "elspeth_schema/export.schema.json",
        f"elspeth_schema/epochs/{epoch:04}.json",
        "elspeth_schema/records.py",
        "elspeth_schema/tables.py",
        "testing/elspeth_strategies.py",
    }


STORE_REVIEW = """
recorder.create_token("row", run_id="run", token_id="token")
RecordStore(db).add(contracts.Review(run_id="run", token_id="token", verdict="kept"))
print([record for record in LandscapeExporter(db).export_run("run") if record["record_type"] == "review"])
"""


def test_a_new_table_goes_through_store_and_export(project: Path) -> None:
    apply(ADD_TABLE, project)
    generate(project)
    (program,) = blocks("python")
    until_there_is_a_row = program[: program.index("token = ")]
    printed = python(f"{until_there_is_a_row}\nfrom elspeth_schema import contracts\n{STORE_REVIEW}", project)
    assert ast.literal_eval(printed) == [
        {"record_type": "review", "run_id": "run", "token_id": "token", "verdict": "kept"}
    ]


def test_the_guide_says_what_each_generated_file_is() -> None:
    rows = [line for line in GUIDE.splitlines() if line.startswith(("| `elspeth_schema/", "| `testing/"))]
    patterns = [name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])]
    found = {pattern: fnmatch.filter(tree(ROOT / "generated"), pattern) for pattern in patterns}
    assert [pattern for pattern in patterns if not found[pattern]] == []
    assert sorted(name for names in found.values() for name in names) == sorted(tree(ROOT / "generated"))

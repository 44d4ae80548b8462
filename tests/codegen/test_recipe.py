"""Following docs/schema.md leaves one failing test, which names the rest."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from elspeth_schema import EPOCH
from tests.codegen.trees import tree
from tests.fixtures.kept import COMMAND
from tests.fixtures.synthetic_epochs import SyntheticEpochs

ROOT = Path(__file__).parents[2]

SELECTED = (
    "tests/fixtures/test_kept.py",
    "tests/core/landscape/database/test_tables.py",
    "tests/core/landscape/migration/test_snapshots.py",
    "tests/core/landscape/database/test_state.py",
    "tests/core/landscape/exporting/test_csv_form.py",
    "tests/cli/commands/test_landscape.py",
)
"""Tests that name the epoch or cover every table, which a recipe would break first."""


@pytest.mark.thorough
def test_after_both_recipes_only_the_test_for_the_remaining_step_fails(synthetic_epochs: SyntheticEpochs) -> None:
    epoch = EPOCH + 2
    project = synthetic_epochs.project(epoch)
    for name in ("src", "codegen", "tests", "docs", "examples", "pyproject.toml"):
        (project / name).symlink_to(ROOT / name)
    generated = project / "generated"
    path = os.pathsep.join(map(str, [generated, generated / "testing", project / "src"]))
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    options = ["-q", "-p", "no:cacheprovider", "-m", "not postgres", "-k", "not postgresql"]
    command = [sys.executable, "-m", "pytest", *options, *SELECTED]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    failed = [line.split(" - ")[0] for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    kept = "FAILED tests/fixtures/test_kept.py::test_a_database_and_exports_of_every_epoch_are_kept"
    assert failed == [f"{kept}[{each}]" for each in (EPOCH + 1, epoch)], done.stdout
    for each in (EPOCH + 1, epoch):
        assert f"nothing is kept of epoch {each}: run `{COMMAND}`, and commit what it writes" in done.stdout
    (passed,) = re.findall(r"(\d+) passed", done.stdout)
    assert int(passed) > 100


PINNED = re.compile(rf"\bepochs?\W{{0,4}}(?:{EPOCH}|{EPOCH + 1})\b", re.IGNORECASE)
"""Lines of tests that hard-code the current or the next epoch."""

OF_THE_PAST = re.compile(r"^\s*\"\"\"|#|version: \"|FIRST|epochs? (?:from )?5 on|since epoch 5")
"""Lines about the past epoch 5, which stay true."""


def test_tests_take_the_epoch_from_the_schema() -> None:
    # Tests of codegen have their own schemas, and tests of evidence their own bags.
    found = [
        f"{name}: {line.strip()}"
        for name, content in tree(ROOT / "tests").items()
        if name.endswith(".py") and not name.startswith(("codegen/", "evidence/"))
        for line in content.decode().splitlines()
        if PINNED.search(line) and not OF_THE_PAST.search(line)
    ]
    assert found == []

"""Schemas that codegen refuses, as diffs from a valid one."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

import pytest
import yaml

from codegen.__main__ import main
from codegen.history import EPOCHS
from tests.codegen.trees import apply_diff, copy_case, tree

BASE = Path(__file__).parent / "refused"
FIRST = (BASE / "epochs" / "0001.json").read_text(encoding="utf-8")


class Refusal(TypedDict, total=False):
    """A difference from the valid schema, and the resulting messages."""

    diff: str
    files: Mapping[str, str]
    says: str


REFUSALS: Mapping[str, Refusal] = yaml.safe_load((BASE / "refusals.yaml").read_text(encoding="utf-8"))

Said = pytest.CaptureFixture[str]


def generate(schema: Path) -> int:
    return main(["--schema", str(schema), "--output", str(schema.parent.parent / "generated")])


def test_the_base_schema_is_accepted(tmp_path: Path, capsys: Said) -> None:
    assert generate(copy_case(BASE, tmp_path)) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", REFUSALS)
def test_each_fault_has_its_message_and_nothing_is_written(name: str, tmp_path: Path, capsys: Said) -> None:
    refusal = REFUSALS[name]
    schema = copy_case(BASE, tmp_path)
    schema.write_text(apply_diff(refusal.get("diff", ""), schema.read_text(encoding="utf-8")), encoding="utf-8")
    for file, text in refusal.get("files", {}).items():
        (schema.parent / file).write_text(text, encoding="utf-8")
    (tmp_path / "generated" / "tables.py").write_bytes(b"\xff")
    before = tree(tmp_path)
    code = generate(schema)
    said = capsys.readouterr()
    assert said.err == refusal["says"]
    assert (code, said.out, tree(tmp_path)) == (1, "", before)


@pytest.mark.parametrize("name", REFUSALS)
def test_one_fault_gives_one_line_that_names_a_file(name: str) -> None:
    lines = REFUSALS[name]["says"].splitlines()
    files = {"landscape.yaml", *REFUSALS[name].get("files", {})}
    assert (len(lines) == 1) != name.startswith("several")
    assert [line for line in lines if line.split(":")[0] not in files] == []


NO_HISTORY = (
    "there are no snapshots of the epochs before it in elspeth_schema/epochs."
    " They cannot be generated: restore them from version control"
)


@pytest.mark.parametrize(
    ("snapshots", "message"),
    [
        ({}, f"landscape.yaml: version: is 2, but {NO_HISTORY}\n"),
        (
            {"0002.json": FIRST.replace('"epoch": 1', '"epoch": 2')},
            "epochs/0002.json: expected the snapshot of epoch 1 in 0001.json, got epoch 2\n",
        ),
        (
            {"0001.json": FIRST.replace('"epoch": 1', '"epoch": 2')},
            "epochs/0001.json: expected the snapshot of epoch 1 in 0001.json, got epoch 2\n",
        ),
        (
            {"001.json": FIRST},
            "epochs/001.json: expected the snapshot of epoch 1 in 0001.json, got epoch 1\n",
        ),
        (
            {"0001.json": FIRST[: FIRST.index("runs") + 2]},
            "epochs/0001.json: is not a snapshot: Unterminated string starting at: line 11 column 13 (char 337)\n",
        ),
        (
            {"0001.json": FIRST.replace('"columns"', '"colums"', 1)},
            "epochs/0001.json: is not a snapshot: 'columns'\n",
        ),
    ],
    ids=["none", "gap", "another epoch", "another name", "cut short", "key misspelt"],
)
def test_a_history_that_cannot_be_read_is_refused(
    snapshots: Mapping[str, str], message: str, tmp_path: Path, capsys: Said
) -> None:
    schema = copy_case(BASE, tmp_path)
    epochs = tmp_path / "generated" / EPOCHS
    shutil.rmtree(epochs)
    epochs.mkdir()
    for name, text in snapshots.items():
        (epochs / name).write_text(text, encoding="utf-8")
    assert generate(schema) == 1
    assert capsys.readouterr().err == message

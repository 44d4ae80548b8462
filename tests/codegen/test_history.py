"""A schema and its history: additions and contradictions."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from codegen.__main__ import main
from codegen.errors import SchemaError
from codegen.history import EPOCHS, _past, disagreements, with_current
from codegen.load import load_model
from codegen.model import Model
from codegen.snapshot import snapshot_of
from codegen.validate import Fault
from elspeth.schema.snapshots import Snapshot, TableSnapshot, parse_snapshot
from tests.codegen.snapshots import column, snapshot, table
from tests.codegen.trees import copy_case, copy_project, tree

CASE = Path(__file__).parent / "cases" / "good_second_epoch"

FIRST = snapshot(1, table("notes"))
SECOND = snapshot(2, table("notes", column("text")))


def joined(current: Snapshot, *, amend: bool = False) -> tuple[Snapshot, ...]:
    return with_current((FIRST, SECOND), current, amend=amend, schema="landscape.yaml")


def refusal(current: Snapshot, *, amend: bool = False) -> str:
    with pytest.raises(SchemaError) as caught:
        joined(current, amend=amend)
    return str(caught.value)


# -- what the schema adds --------------------------------------------------------------------------------------------


def test_the_first_epoch_starts_a_history() -> None:
    assert with_current((), FIRST, amend=False, schema="landscape.yaml") == (FIRST,)


def test_an_unchanged_schema_adds_nothing() -> None:
    assert joined(SECOND) == (FIRST, SECOND)


def test_a_raised_version_adds_an_epoch() -> None:
    third = replace(SECOND, epoch=3)
    assert joined(third) == (FIRST, SECOND, third)


CHANGED = snapshot(2, table("notes", column("text", "string(128)")))


@pytest.mark.parametrize(
    ("current", "message"),
    [
        (
            CHANGED,
            (
                "landscape.yaml: version: the schema differs from the snapshot of epoch 2, first at"
                """ '{"name": "text", "type": "string(128)", "nullable": true}'."""
                " Raise the version to 3, or, if epoch 2 is not released, run: nox -s codegen -- --amend"
            ),
        ),
        (replace(SECOND, epoch=4), "landscape.yaml: version: expected 2 (as the newest snapshot) or 3, got 4"),
        (FIRST, "landscape.yaml: version: expected 2 (as the newest snapshot) or 3, got 1"),
    ],
    ids=["changed", "skipped", "lowered"],
)
def test_a_version_that_does_not_fit_is_refused(current: Snapshot, message: str) -> None:
    assert refusal(current) == message


def test_a_lost_snapshot_is_requested() -> None:
    with pytest.raises(SchemaError) as caught:
        with_current((), SECOND, amend=False, schema="landscape.yaml")
    assert str(caught.value) == (
        "landscape.yaml: version: is 2, but there are no snapshots of the epochs before it in elspeth_schema/epochs."
        " They cannot be generated: restore them from version control"
    )


def test_only_the_newest_epoch_is_amended() -> None:
    assert joined(CHANGED, amend=True) == (FIRST, CHANGED)
    assert refusal(FIRST, amend=True) == "landscape.yaml: version: expected 2 (as the newest snapshot) or 3, got 1"


def test_amending_writes_the_newest_snapshot_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    schema = copy_case(CASE, tmp_path)
    arguments = ["--schema", str(schema), "--output", str(tmp_path / "generated")]
    assert main(arguments) == 0
    before = tree(tmp_path)
    text = schema.read_text(encoding="utf-8")
    schema.write_text(text.replace("max_length: 64", "max_length: 99"), encoding="utf-8")
    capsys.readouterr()
    assert main(arguments) == 1
    assert capsys.readouterr().err.endswith(
        "Raise the version to 3, or, if epoch 2 is not released, run: nox -s codegen -- --amend\n"
    )
    assert {path: text for path, text in tree(tmp_path).items() if path != "schema/landscape.yaml"} == {
        path: text for path, text in before.items() if path != "schema/landscape.yaml"
    }
    assert main([*arguments, "--amend"]) == 0
    after = tree(tmp_path)
    changed = {path for path in before if after[path] != before[path]}
    assert f"generated/{EPOCHS}/0002.json" in changed
    assert f"generated/{EPOCHS}/0001.json" not in changed
    assert main([*arguments, "--check"]) == 0


def test_an_enum_value_removed_from_the_projects_schema_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    schema = copy_project(tmp_path)
    epoch = load_model(schema).epoch
    replace_in(schema, f'version: "{epoch}"', f'version: "{epoch + 1}"')
    enums = schema.parent / "enums.yaml"
    value = re.search(r"^      expanded:\n(        .*\n)+", enums.read_text(encoding="utf-8"), re.MULTILINE)
    assert value is not None
    replace_in(enums, value[0], "")
    before = tree(tmp_path)
    assert main(["--schema", str(schema), "--output", str(tmp_path / "generated")]) == 1
    assert capsys.readouterr().err == (
        f"rows.yaml: TokenOutcome: outcome: from epoch {epoch} to {epoch + 1}: expanded cannot be removed:"
        " records of older databases may have it\n"
    )
    assert tree(tmp_path) == before


def replace_in(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")


# -- whether it agrees with the snapshots ----------------------------------------------------------------------------


@pytest.fixture
def model() -> Model:
    """Return a schema in its second epoch."""
    return load_model(CASE / "schema" / "landscape.yaml")


def history(model: Model) -> tuple[Snapshot, ...]:
    first = parse_snapshot((CASE / "epochs" / "0001.json").read_text(encoding="utf-8"))
    return (first, snapshot_of(model))


def test_a_schema_that_describes_its_past_correctly_is_accepted(model: Model) -> None:
    assert list(disagreements(model, history(model))) == []


def with_column(model: Model, name: str, **changes: object) -> Model:
    """Change a column in the first table of the model."""
    first, *others = model.tables
    columns = tuple(replace(each, **changes) if each.name == name else each for each in first.columns)  # type: ignore[arg-type]
    return replace(model, tables=(replace(first, columns=columns), *others))


def test_a_wrong_since_of_a_column_is_refused(model: Model) -> None:
    first = model.tables[0]
    for each in first.columns:
        wrong = with_column(model, each.name, since=3 - max(each.since, first.since))
        found = list(disagreements(wrong, history(model)))
        right = max(each.since, first.since)
        message = f"since: expected {right}, the first epoch whose snapshot has it, got {3 - right}"
        assert found == [Fault(element=first.class_name, member=each.name, message=message)]


def test_a_wrong_since_of_a_table_is_refused(model: Model) -> None:
    first, *others = model.tables
    wrong = replace(model, tables=(replace(first, since=2), *others))
    message = "since: expected 1, the first epoch whose snapshot has it, got 2"
    assert list(disagreements(wrong, history(model))) == [Fault(element=first.class_name, member=None, message=message)]


def test_a_backfill_that_was_changed_after_its_epoch_is_refused(model: Model) -> None:
    first = model.tables[0]
    wrong = with_column(model, first.columns[0].name, backfill=((1, "'x'"),))
    message = "backfill: expected none as in the snapshots, got \"'x'\" for epoch 1"
    assert list(disagreements(wrong, history(model))) == [
        Fault(element=first.class_name, member=first.columns[0].name, message=message)
    ]


def test_a_renamed_table_has_the_past_of_its_earlier_names() -> None:
    def shape(epoch: int, name: str, renamed_from: str | None = None) -> Snapshot:
        tables = (
            TableSnapshot(name=name, columns=(), renamed_from=renamed_from),
            TableSnapshot(name="other", columns=()),
        )
        return Snapshot(epoch=epoch, tables=tables)

    snapshots = (shape(1, "runs"), shape(2, "jobs", "runs"), shape(3, "jobs"), shape(4, "work", "jobs"))
    found = [(epoch, each.name) for epoch, each in _past("work", snapshots)]
    assert found == [(1, "runs"), (2, "jobs"), (3, "jobs"), (4, "work")]
    assert [epoch for epoch, _ in _past("other", snapshots)] == [1, 2, 3, 4]
    assert _past("jobs", snapshots) == []

"""Rules that a model must keep, at their limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from codegen.load import load_model
from codegen.model import Index, Model, Table
from codegen.validate import faults_of
from tests.codegen.models import enum

MODEL = load_model(Path(__file__).parent / "refused" / "schema" / "landscape.yaml")
LONGEST_NAME = 63


def changed(name: str, change: Callable[[Table], Table]) -> Model:
    """Return the model with another table of this name."""
    return replace(MODEL, tables=tuple(change(each) if each.name == name else each for each in MODEL.tables))


def with_note(**changes: object) -> Model:
    """Return the model with another note of a run."""

    def change(table: Table) -> Table:
        return replace(
            table,
            columns=tuple(replace(each, **changes) if each.name == "note" else each for each in table.columns),  # type: ignore[arg-type]
        )

    return changed("runs", change)


def index(name: str, *columns: str, where: str | None = None, unique: bool = False) -> Index:
    return Index(name=name, columns=columns, unique=unique, where=where)


def with_indexes(*indexes: Index) -> Model:
    return changed("steps", lambda table: replace(table, indexes=indexes))


def messages(model: Model) -> list[str]:
    return [fault.message for fault in faults_of(model)]


@pytest.mark.parametrize(
    "model",
    [
        with_indexes(index("i" * LONGEST_NAME, "run_id", "input_id")),
        replace(MODEL, enums=(*MODEL.enums, enum("x" * 32))),
        with_note(until=1),
        with_note(since=MODEL.epoch),
        with_indexes(index("a", "run_id", where="input_id IS NULL"), index("b", "run_id", unique=True)),
        with_indexes(index("a", "run_id", "input_id"), index("b", "run_id", "input_id", where="weight > 1")),
    ],
)
def test_what_is_just_within_a_limit_is_accepted(model: Model) -> None:
    assert messages(model) == []


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            with_indexes(index("i" * (LONGEST_NAME + 1), "run_id", "input_id")),
            f"constraint name {'i' * (LONGEST_NAME + 1)} has 64 characters, expected at most 63",
        ),
        (
            with_indexes(index("short", "run_id", "input_id"), index("long", "run_id", "input_id", "weight")),
            "index short: long begins with the same columns, so it would serve no read",
        ),
        (with_note(uri="unknown:text"), "type's uri: no prefix is called 'unknown'; known are case, xsd"),
        (
            changed("marks", lambda table: replace(table, releases=("marks",), primary_key=("run_id", "run_id"))),
            "releases: only a bookkeeping table with the primary key run_id says which runs",
        ),
    ],
)
def test_what_is_just_beyond_a_limit_is_refused(model: Model, message: str) -> None:
    assert messages(model) == [message]


def test_one_class_says_which_runs_may_be_deleted() -> None:
    (marks,) = (each for each in MODEL.tables if each.name == "marks")
    first = replace(marks, releases=("marks",))
    second = replace(marks, name="others", class_name="Other", record_type="other", releases=("marks",))
    model = replace(MODEL, tables=(first, second, *(each for each in MODEL.tables if each is not marks)))
    assert messages(model) == ["releases: another class says already which runs may be deleted"]

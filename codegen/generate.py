"""Generates every file from the schema on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from codegen import history, render
from codegen.backfills import faults_of_backfills
from codegen.errors import Problem, SchemaError, Where
from codegen.evolution import faults_between
from codegen.files import read_files
from codegen.load import load_model
from codegen.model import Model
from codegen.snapshot import snapshot_of
from elspeth.schema.snapshots import Snapshot

__all__ = ["generate"]


def generate(schema: Path, output: Path, *, amend: bool = False) -> Mapping[str, str]:
    """Return every generated file: path below `output` -> text.

    Reads the snapshots of past epochs from `output`. Raises SchemaError if the schema is not acceptable; writes
    nothing.
    """
    model = load_model(schema)
    past = history.read_history(output / history.EPOCHS)
    snapshots = history.with_current(past, snapshot_of(model), amend=amend, schema=schema.name)
    _check(snapshots, model, schema)
    return render.render(model, render.source_of(schema), snapshots)


def _check(snapshots: tuple[Snapshot, ...], model: Model, schema: Path) -> None:
    """Refuse lossy steps, and a history that contradicts the snapshots."""
    classes = {table.name: table.class_name for table in model.tables}
    files = {name: file.name for file in read_files(schema) for name in file.section("classes")}
    lost = (
        replace(fault, message=f"from epoch {new.epoch - 1} to {new.epoch}: {fault.message}")
        for old, new in pairwise(snapshots)
        for fault in (*faults_between(old, new, classes), *faults_of_backfills(old, new, classes))
    )
    problems = [
        Problem(
            where=Where(file=files.get(fault.element, schema.name), element=fault.element, member=fault.member),
            message=fault.message,
        )
        for fault in (*lost, *history.disagreements(model, snapshots))
    ]
    if problems:
        raise SchemaError(tuple(problems))

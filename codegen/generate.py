"""From the schema on disk to everything that is generated from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from codegen import history, render
from codegen.errors import Problem, SchemaError, Where
from codegen.evolution import evolve
from codegen.files import read_files
from codegen.load import load_model
from codegen.model import Model
from codegen.snapshot import Snapshot, snapshot_of, to_text

__all__ = ["Generated", "generate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """What belongs on disk: files below the output directory, and snapshots below the schema's directory of epochs."""

    files: Mapping[str, str]
    snapshots: Mapping[str, str]


def generate(schema: Path, *, amend: bool = False) -> Generated:
    """Everything that follows from the schema. SchemaError if it is not acceptable; nothing is written.

    A schema without a directory `epochs` beside it has no history, hence no migrations.
    """
    model = load_model(schema)
    epochs = schema.parent / "epochs"
    snapshots: tuple[Snapshot, ...] = ()
    if epochs.is_dir():
        past = history.read_history(epochs)
        snapshots = history.with_current(past, snapshot_of(model), amend=amend, schema=schema.name)
        _check(snapshots, model, schema)
    return Generated(
        files=render.render(model, render.source_line(schema), snapshots),
        snapshots={history.file_name(snapshot.epoch): to_text(snapshot) for snapshot in snapshots},
    )


def _check(snapshots: tuple[Snapshot, ...], model: Model, schema: Path) -> None:
    """Refuse a step that would lose or invent a value, and a schema that tells another past than the snapshots."""
    classes = {table.name: table.class_name for table in model.tables}
    files = {name: file.name for file in read_files(schema) for name in file.section("classes")}
    lost = (
        replace(fault, message=f"from epoch {new.epoch - 1} to {new.epoch}: {fault.message}")
        for old, new in pairwise(snapshots)
        for fault in evolve(old, new, classes).faults
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

"""The snapshots of all epochs, compared with the current schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from codegen.errors import Problem, SchemaError, Where
from codegen.model import Model
from codegen.validate import Fault
from elspeth.schema.snapshots import Snapshot, TableSnapshot, format_snapshot, parse_snapshot

__all__ = ["EPOCHS", "disagreements", "file_name", "read_history", "with_current"]

EPOCHS = "elspeth_schema/epochs"
"""Directory of the snapshots below the output directory, part of the installed package."""


def file_name(epoch: int) -> str:
    """Return the name of an epoch's snapshot file."""
    return f"{epoch:04}.json"


def read_history(directory: Path) -> tuple[Snapshot, ...]:
    """Return the snapshots in the directory, first epoch first.

    Returns none if there is no directory. Raises SchemaError for a file that is not a snapshot, and for a gap.
    """
    snapshots = []
    for number, path in enumerate(sorted(directory.glob("*.json")), start=1):
        where = Where(file=f"{directory.name}/{path.name}")
        try:
            snapshot = parse_snapshot(path.read_text(encoding="utf-8"))
        except (ValueError, KeyError, TypeError) as error:
            raise SchemaError((Problem(where=where, message=f"is not a snapshot: {error}"),)) from error
        if snapshot.epoch != number or path.name != file_name(number):
            message = f"expected the snapshot of epoch {number} in {file_name(number)}, got epoch {snapshot.epoch}"
            raise SchemaError((Problem(where=where, message=message),))
        snapshots.append(snapshot)
    return tuple(snapshots)


def with_current(history: tuple[Snapshot, ...], current: Snapshot, *, amend: bool, schema: str) -> tuple[Snapshot, ...]:
    """Return the history, ending with the current schema.

    Raises SchemaError if the schema changed but its epoch already has a snapshot. With `amend`, the epoch is not
    released yet, and its snapshot is replaced.
    """
    newest = history[-1].epoch if history else 0
    if current.epoch == newest + 1:
        return (*history, current)
    if not history:
        message = (
            f"version: is {current.epoch}, but there are no snapshots of the epochs before it in {EPOCHS}."
            " They cannot be generated: restore them from version control"
        )
    elif current.epoch != newest:
        message = f"version: expected {newest} (as the newest snapshot) or {newest + 1}, got {current.epoch}"
    elif history[-1] == current or amend:
        return (*history[:-1], current)
    else:
        message = (
            f"version: the schema differs from the snapshot of epoch {newest},"
            f" {first_difference(history[-1], current)}. Raise the version to {newest + 1},"
            f" or, if epoch {newest} is not released, run: nox -s codegen -- --amend"
        )
    raise SchemaError((Problem(where=Where(file=schema), message=message),))


def first_difference(old: Snapshot, new: Snapshot) -> str:
    """Describe the first line in which two snapshots differ."""
    before, after = format_snapshot(old).splitlines(), format_snapshot(new).splitlines()
    for old_line, new_line in zip(before, after, strict=False):
        if old_line != new_line:
            return f"first at {new_line.strip()!r}"
    return "one continues where the other ends"


def disagreements(model: Model, history: tuple[Snapshot, ...]) -> Iterator[Fault]:
    """Yield each `since` or `backfill` that contradicts the snapshots."""
    for table in model.tables:
        past = _past(table.name, history)
        named = next((epoch for epoch, shape in past if shape.name == table.name), model.epoch)
        if table.since != named:
            yield Fault(element=table.class_name, member=None, message=_since_message(named, table.since))
        for column in table.columns:
            appearances = {epoch: each for epoch, shape in past for each in shape.columns if each.name == column.name}
            first = min(appearances)
            if max(column.since, past[0][0]) != first:
                yield Fault(element=table.class_name, member=column.name, message=_since_message(first, column.since))
            filled = {epoch: each.backfill for epoch, each in appearances.items() if each.backfill is not None}
            if dict(column.backfill) != filled:
                message = (
                    f"backfill: expected {_entries(filled)} as in the snapshots, got {_entries(dict(column.backfill))}"
                )
                yield Fault(element=table.class_name, member=column.name, message=message)


def _past(name: str, history: tuple[Snapshot, ...]) -> list[tuple[int, TableSnapshot]]:
    """Return the table in each epoch, oldest first, following renames."""
    found: list[tuple[int, TableSnapshot]] = []
    for snapshot in reversed(history):
        shape = next((table for table in snapshot.tables if table.name == name), None)
        if shape is None:
            break
        found.insert(0, (snapshot.epoch, shape))
        name = shape.renamed_from or name
    return found


def _since_message(expected: int, got: int) -> str:
    return f"since: expected {expected}, the first epoch whose snapshot has it, got {got}"


def _entries(backfills: Mapping[int, str | None]) -> str:
    return "; ".join(f"{text!r} for epoch {epoch}" for epoch, text in sorted(backfills.items())) or "none"

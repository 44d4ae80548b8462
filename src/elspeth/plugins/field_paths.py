"""Finds places inside rows, such as `line.taxes.0.rate`.

A name with dots is the field of that name, if the row has one. Otherwise its parts select members of objects by name
and elements of lists by number, from 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from elspeth.contracts.plugins import RowError
from elspeth.contracts.rows import RowData

__all__ = ["FieldPath", "missing_field_error", "read_fields", "taken_field_error"]


@dataclass(frozen=True, slots=True)
class FieldPath:
    """A place inside rows, as settings name it."""

    text: str

    @property
    def last(self) -> str:
        """Return the last part of the name."""
        return self.text.rpartition(".")[2]

    def find(self, row: RowData) -> Slot | None:
        """Return the place in a row, if it has one."""
        if self.text in row or "." not in self.text:
            return Slot(row, self.text) if self.text in row else None
        *way, last = self.text.split(".")
        container: object = row
        for part in way:
            slot = _slot(container, part)
            if slot is None:
                return None
            container = slot.value
        return _slot(container, last)


@dataclass(frozen=True, slots=True)
class Slot:
    """A place in a row: a container and a key."""

    container: dict[str, object] | list[object]
    key: str | int

    @property
    def value(self) -> object:
        """Return the value at the place."""
        return self.container[self.key]  # type: ignore[index]  # a key of the container

    def replace(self, value: object) -> None:
        """Put a value in the place."""
        self.container[self.key] = value  # type: ignore[index]

    def remove(self) -> None:
        """Remove the place."""
        del self.container[self.key]  # type: ignore[arg-type]


def _slot(container: object, part: str) -> Slot | None:
    if isinstance(container, dict):
        return Slot(container, part) if part in container else None
    if isinstance(container, list) and part.isascii() and part.isdigit() and int(part) < len(container):
        return Slot(container, int(part))
    return None


def read_fields(paths: Sequence[FieldPath], row: RowData) -> list[object] | RowError:
    """Return the values at the places, or an error."""
    values: list[object] = []
    for path in paths:
        slot = path.find(row)
        if slot is None:
            return missing_field_error(path.text)
        values.append(slot.value)
    return values


def missing_field_error(name: str) -> RowError:
    """Return the error of a row that lacks a field."""
    return RowError(message=f"field {name!r} is missing", details={"field": name})


def taken_field_error(names: Iterable[str | None], row: RowData) -> RowError | None:
    """Return the error if a new field exists already.

    Returns None if the row has none of the names.
    """
    taken = next((name for name in names if name in row), None)
    return None if taken is None else RowError(message=f"field {taken!r} exists already", details={"field": taken})

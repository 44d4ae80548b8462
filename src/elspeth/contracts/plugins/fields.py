"""Describes what transforms do to fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["FieldOrigins"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldOrigins:
    """Where the fields of a transform's results come from.

    All members are JSON, because they are recorded.

    - `same`: maps fields of the result to the fields of the row with the same value.
    - `derived`: maps fields of the result to the fields of the row from which they are computed; the list is empty if
      the value comes from outside the row.
    - `changed`: the fields that keep their names, but perhaps not their values.
    - `removed`: the fields of the row that the result lacks.
    - `keeps_others`: whether the result has all other fields of the row, unchanged.

    Names of fields of the row may lead into objects: ``line.amount``. A field in both `same` and `derived` counts as
    derived.
    """

    same: Mapping[str, str] = field(default_factory=dict)
    derived: Mapping[str, Sequence[str]] = field(default_factory=dict)
    changed: Sequence[str] = ()
    removed: Sequence[str] = ()
    keeps_others: bool = True

    @classmethod
    def renamed(cls, names: Mapping[str, str]) -> FieldOrigins:
        """Return the origins of fields under new names.

        `names` maps the old names to the new ones.
        """
        same = {new: old for old, new in names.items()}
        return cls(same=same, removed=[old for old in names if old not in same])

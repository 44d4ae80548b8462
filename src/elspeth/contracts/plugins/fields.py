"""What transforms do to fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["FieldOrigins"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldOrigins:
    """Where the fields of a transform's results come from.

    All members are JSON, because they are recorded.

    - `same`: fields of the result with the field of the row whose value each has.
    - `derived`: fields of the result with the fields of the row of which each is computed; an empty list if its value
      comes from elsewhere.
    - `changed`: fields that keep their names, but perhaps not their values.
    - `removed`: fields that the result does not have.
    - `keeps_others`: whether the result has all other fields of the row, unchanged.

    Names of fields of the row may lead into objects: ``line.amount``. A field that is both `same` and `derived` is
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

        `names` has the new names by the old ones.
        """
        same = {new: old for old, new in names.items()}
        return cls(same=same, removed=[old for old in names if old not in same])

"""Reads the lines of one record type: checks each against its shapes, and takes out the values that rules are about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from elspeth.evidence.format.canonical import Json
from elspeth.evidence.format.errors import EvidenceError, printable, shown
from elspeth.evidence.verifier.facts import Facts, facts_of
from elspeth.evidence.verifier.key_map import Key, Part
from elspeth.evidence.verifier.law_columns import COLUMNS, LINKS
from elspeth.evidence.verifier.line_pattern import PatternBudget, fast_lines
from elspeth.evidence.verifier.record_schema import Shape
from elspeth.evidence.verifier.rules import TypeRules

__all__ = ["SALT", "Columns", "RecordReader", "Values", "is_null"]

SALT = "salt"
"""The column that holds a record's salt."""

Values = Sequence[str | None]
"""The values of the columns of a type's rules, then the salt: as text, None for null or absent."""

Columns = Sequence[Sequence[str | None]]
"""The values of several records of one type, column by column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picked:
    """Some columns, by their place among the values of a record; `integers` tells which of them hold integers."""

    ats: Sequence[int]
    integers: Sequence[bool]

    def of(self, columns: Sequence[Sequence[str | None]]) -> Sequence[Key]:
        """The values for each of several records, given column by column."""
        picked: list[Sequence[Part]] = [
            [None if value is None else int(value) for value in columns[at]] if integer else columns[at]
            for at, integer in zip(self.ats, self.integers, strict=True)
        ]
        return picked[0] if len(picked) == 1 else list(zip(*picked, strict=True))


class RecordReader:
    """The record type's rules, and functions over the values of a record."""

    def __init__(self, rules: TypeRules, shapes: Sequence[Shape], place: str, budget: PatternBudget) -> None:
        self.rules = rules
        self._shapes = shapes
        self._columns = tuple(dict.fromkeys((*rules.columns, *COLUMNS.get(rules.name, ()), SALT)))
        _check_columns(rules, shapes, place)
        self._fast = [fast for shape in shapes for fast in fast_lines(shape, self._columns, budget)]
        self.order = self._columns_of(rules.order[1:] or rules.order)
        """What the records of the type are sorted by, without the run, which all share."""
        self.key = self._columns_of(rules.key)
        self.identity = self._columns_of(rules.key[1:] or rules.key)
        """The key without the run."""
        self.references = [(self._columns_of(each.columns[1:]), each) for each in rules.references if each.columns[1:]]
        """What a record refers to, without the run."""
        self.status_at = None if rules.status is None else self._columns.index(rules.status)
        names = {reference.columns[1:]: at for at, (_, reference) in enumerate(self.references)}
        self.links = [names[(column,)] for column in LINKS.get(rules.name, ()) if (column,) in names]
        """Of the references those that the laws of accounting ask for, in their order."""
        self._told = [(name, self._columns.index(name)) for name in COLUMNS.get(rules.name, ())]

    def fast(self, lines: Sequence[str]) -> list[Values | None]:
        """The values of each line that is valid beyond doubt; None for one that must be looked at closely."""
        found: list[Values | None] = [None] * len(lines)
        for number, fast in enumerate(self._fast):
            missing = [at for at, values in enumerate(found) if values is None] if number else range(len(lines))
            if not missing:
                break
            more = fast([lines[at] for at in missing] if number else lines)
            if number and any(more):
                # Records of one shape tend to come together: it is tried first from now on.
                self._fast = [fast, *(each for each in self._fast if each is not fast)]
            for at, values in zip(missing, more, strict=True):
                found[at] = values
        return found

    def facts(self, columns: Columns) -> Facts:
        """Return what several records, given column by column, tell the laws of accounting."""
        return facts_of(self.rules.name, {name: columns[at] for name, at in self._told})

    def closely(self, record: Mapping[str, Json], place: str) -> Values:
        """The values of a record; EvidenceError, with the field and what is wrong with it, if no shape is its."""
        fitting = [shape for shape in self._shapes if shape.fits_constants(record)]
        if not fitting:
            self._check_constants(record, place)
        problems = [shape.problem(record) for shape in fitting or self._shapes]
        if None not in problems:
            field, problem = next(each for each in problems if each is not None)
            raise EvidenceError(f"{place}: {printable(field)}", problem)
        values = (record.get(column) for column in self._columns)
        return tuple(map(_as_text, values))

    def _check_constants(self, record: Mapping[str, Json], place: str) -> None:
        """The fields that tell shapes apart must have a value that one of the shapes has."""
        for name in sorted(self._shapes[0].constants):
            choices = {shown(shape.constants.get(name)) for shape in self._shapes}
            if shown(record.get(name)) not in choices:
                expected = " or ".join(sorted(choices))
                raise EvidenceError(
                    f"{place}: {printable(name)}", f"expected {expected}, got {shown(record.get(name))}"
                )

    def _columns_of(self, names: Sequence[str]) -> Picked:
        integers = [self._shapes[0].rules[name].type == "integer" for name in names]
        return Picked(ats=[self._columns.index(name) for name in names], integers=integers)


def is_null(key: Key) -> bool:
    """Whether a key names nothing, because a part of it is null."""
    return None in key if isinstance(key, tuple) else key is None


def _as_text(value: Json) -> str | None:
    """The value as it stands in the line, without quotes."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None else str(value)


def _check_columns(rules: TypeRules, shapes: Sequence[Shape], place: str) -> None:
    """What rules are about must be there, and what sorts or identifies must be a text or a whole number."""
    for column in rules.columns:
        if not all(column in shape.required for shape in shapes):
            raise EvidenceError(
                f"{place}: types: {rules.name}", f"expected {shown(column)} to be required by the schema"
            )
    for column in (*rules.key, *rules.order):
        kinds = {(shape.rules[column].type, shape.rules[column].nullable) for shape in shapes}
        if kinds not in ({("string", False)}, {("integer", False)}):
            expected = f"expected {shown(column)} to be text or a whole number in the schema"
            raise EvidenceError(f"{place}: types: {rules.name}", expected)

"""Record types: their rules, and the readers of their lines.

The rules concern order, keys, references and lifecycles, and come from `references.json`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from elspeth.evidence.format.bag import REFERENCES, SCHEMA
from elspeth.evidence.format.canonical import Json, Members, parse_unambiguous
from elspeth.evidence.format.errors import EvidenceError, printable, shown
from elspeth.evidence.format.limits import MAX_COLUMNS, MAX_REFERENCES, MAX_TYPES
from elspeth.evidence.verifier._key_map import Key, Part
from elspeth.evidence.verifier._line_patterns import TextBlock
from elspeth.evidence.verifier._shapes import PatternBudget, Shape, ValueRule
from elspeth.evidence.verifier.accounting.accountant import FLAG, INTEGER, LEDGERS, OR_NULL, TIME, Facts, read_facts

__all__ = [
    "Columns",
    "Picked",
    "RecordReader",
    "Reference",
    "RunRules",
    "TypeRules",
    "Values",
    "build_readers",
    "read_rules",
]

Values = Sequence[str | None]
"""The values of the columns of a record that have rules, as text; the salt comes last."""

Columns = Sequence[Sequence[str | None]]
"""The values of several records of one type, column by column."""

_RUN = "run"
"""The first record type: other records are compared with its times and status."""

_SALT = "salt"
"""The column with a record's salt."""

_TIME_LENGTH = 27
"""The length of `2026-01-31T23:59:59.999999Z`. Times in this form can be compared as texts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Columns that hold the key of another record.

    If one of them is null, there is no reference.
    """

    columns: tuple[str, ...]
    record_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeRules:
    """The rules of one record type.

    `status` is the column of its lifecycle, `final` holds the values that end the lifecycle, and `abandoned` those
    final values of a run with which its other records may be unfinished.
    """

    name: str
    key: tuple[str, ...]
    order: tuple[str, ...]
    references: tuple[Reference, ...]
    status: str | None
    final: frozenset[str]
    abandoned: frozenset[str]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that have rules, each once."""
        referring = (column for reference in self.references for column in reference.columns)
        status = () if self.status is None else (self.status,)
        return tuple(dict.fromkeys((*self.key, *self.order, *referring, *status)))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRules:
    """The rules of a run's record types, in export order.

    The first type is the run: it has one record, whose key is a single column that begins the key of every other type.
    """

    types: Mapping[str, TypeRules]

    @property
    def run(self) -> TypeRules:
        """The rules of the run's own record."""
        return next(iter(self.types.values()))


def read_rules(
    data: bytes, place: str, parse: Callable[[bytes, str], Mapping[str, Json]] = parse_unambiguous
) -> RunRules:
    """Read the rules in a bag's document.

    Raises EvidenceError if they are malformed, contradictory or too many.
    """
    document = Members(parse(data, place), place)
    order, types = document.texts("order"), document.members("types")
    document.close()
    if not order or len(set(order)) != len(order):
        raise EvidenceError(f"{place}: order", f"expected record types, each once, got {shown(order)}")
    if len(order) > MAX_TYPES:
        raise EvidenceError(f"{place}: order", f"expected at most {MAX_TYPES} record types, got {len(order):,}")
    rules = RunRules(types={name: _type_rules(name, types.members(name), place) for name in order})
    types.close()
    _check_rules(rules, place)
    return rules


@dataclass(frozen=True, slots=True, kw_only=True)
class Picked:
    """Selects columns by their indexes.

    `integers` tells which of them hold integers.
    """

    indexes: Sequence[int]
    integers: Sequence[bool]

    def of(self, columns: Columns) -> Sequence[Key]:
        """Return the values of the columns for each record."""
        picked: list[Sequence[Part]] = [
            [None if value is None else int(value) for value in columns[index]] if integer else columns[index]
            for index, integer in zip(self.indexes, self.integers, strict=True)
        ]
        return picked[0] if len(picked) == 1 else list(zip(*picked, strict=True))


class RecordReader:
    """Reads the lines of one record type.

    `order`, `identity` (the key) and `references` leave out the key of the run, which all records share. `links` are
    the indexes of the references that the laws of accounting need.
    """

    def __init__(self, rules: TypeRules, shapes: Sequence[Shape], budget: PatternBudget) -> None:
        self.rules = rules
        self._shapes = shapes
        ledger = LEDGERS.get(rules.name)
        needed = () if ledger is None else tuple(ledger.columns)
        self._columns = tuple(dict.fromkeys((*rules.columns, *needed, _SALT)))
        self._fast = [pattern for shape in shapes for pattern in shape.line_patterns(self._columns, budget)]
        self.order = self._picked(rules.order[1:] or rules.order)
        self.key = self._picked(rules.key)
        self.identity = self._picked(rules.key[1:] or rules.key)
        self.references = [(self._picked(each.columns[1:]), each) for each in rules.references if each.columns[1:]]
        self.status_index = None if rules.status is None else self._columns.index(rules.status)
        indexes = {(each.columns[1:], each.record_type): index for index, (_, each) in enumerate(self.references)}
        links = {} if ledger is None else ledger.links
        self.links = [indexes[(column,), target] for column, target in links.items()]
        self._needed = [(name, self._columns.index(name)) for name in needed]

    def read_fast(self, lines: Sequence[str]) -> list[Values | None]:
        """Return the values of recognised lines, None for others."""
        found: list[Values | None] = [None] * len(lines)
        for number, fast in enumerate(self._fast):
            missing = [index for index, values in enumerate(found) if values is None] if number else range(len(lines))
            if not missing:
                break
            more = fast.read_lines([lines[index] for index in missing] if number else lines)
            if number and any(more):
                # Records of one shape tend to follow each other, so this shape is tried first from now on.
                self._fast = [fast, *(each for each in self._fast if each is not fast)]
            for index, values in zip(missing, more, strict=True):
                found[index] = values
        return found

    def read_block(self, block: TextBlock) -> Columns | None:
        """Return the columns of a block of recognised lines."""
        found = (pattern.read_block(block) for pattern in self._fast)
        return next((columns for columns in found if columns is not None), None)

    def read_parsed(self, record: Mapping[str, Json], place: str) -> Values:
        """Return the values of a parsed record.

        Raises EvidenceError, with a field and its problem, if the record fits none of the shapes.
        """
        fitting = [shape for shape in self._shapes if shape.fits_constants(record)]
        if not fitting:
            self._check_constants(record, place)
        problems = [shape.problem(record) for shape in fitting or self._shapes]
        if None not in problems:
            field, problem = next(each for each in problems if each is not None)
            raise EvidenceError(f"{place}: {printable(field)}", problem)
        return tuple(_as_text(record.get(column)) for column in self._columns)

    def read_facts(self, columns: Columns) -> Facts:
        """Return the facts of records for the laws of accounting."""
        return read_facts(self.rules.name, {name: columns[index] for name, index in self._needed})

    def _check_constants(self, record: Mapping[str, Json], place: str) -> None:
        """Check that some shape has each of the constants."""
        for name in sorted(self._shapes[0].constants):
            choices = {shown(shape.constants.get(name)) for shape in self._shapes}
            if (found := shown(record.get(name))) not in choices:
                expected = " or ".join(sorted(choices))
                raise EvidenceError(f"{place}: {printable(name)}", f"expected {expected}, got {found}")

    def _picked(self, names: Sequence[str]) -> Picked:
        integers = [self._shapes[0].rules[name].type == "integer" for name in names]
        return Picked(indexes=[self._columns.index(name) for name in names], integers=integers)


def build_readers(rules: RunRules, shapes: Mapping[str, Sequence[Shape]]) -> dict[str, RecordReader]:
    """Build the readers of all record types.

    Raises EvidenceError if rules, schema and the laws of accounting do not fit together.
    """
    if rules.run.name != _RUN:
        raise EvidenceError(f"{REFERENCES}: order", f"expected the {_RUN} record first, got {shown(rules.run.name)}")
    for name in rules.types:
        if name not in shapes:
            raise EvidenceError(f"{REFERENCES}: types", f"expected types that the schema knows, got {shown(name)}")
    for name in LEDGERS:
        _check_ledger(name, rules, shapes)
    budget = PatternBudget(SCHEMA)
    found = {}
    for name, each in rules.types.items():
        _check_columns(each, shapes[name])
        found[name] = RecordReader(each, shapes[name], budget)
    return found


def _check_ledger(name: str, rules: RunRules, shapes: Mapping[str, Sequence[Shape]]) -> None:
    """Check that a type has the columns for the laws."""
    if name not in rules.types:
        raise EvidenceError(f"{REFERENCES}: types", f"expected {name} records, which the laws are about, got none")
    for column, content in LEDGERS[name].columns.items():
        for shape in shapes[name]:
            rule = shape.rules.get(column)
            if rule is None or column not in shape.required or not _holds(rule, content):
                expected = f"expected {name} records with {shown(column)}, {content}, which the laws are about"
                raise EvidenceError(SCHEMA, f"{expected}: use a newer verifier")
    run = rules.run.key[0]
    references = {(reference.columns, reference.record_type) for reference in rules.types[name].references}
    for column, target in LEDGERS[name].links.items():
        if ((run, column), target) not in references:
            problem = f"expected {shown(column)} to name another record, as the laws ask"
            raise EvidenceError(f"{REFERENCES}: types: {name}", problem)


def _holds(rule: ValueRule, content: str) -> bool:
    """Return whether a field has the content expected."""
    if rule.type == "null" or rule.nullable:
        return content.endswith(OR_NULL)
    content = content.removesuffix(OR_NULL)
    if content == INTEGER:
        return rule.type == "integer" and rule.minimum is not None and rule.minimum >= 0
    if content == FLAG:
        return rule.type == "boolean"
    if content == TIME:
        return rule.type == "string" and rule.regex_length == _TIME_LENGTH
    return rule.type == "string" or (rule.type is None and all(isinstance(each, str) for each in rule.choices or ()))


def _check_columns(rules: TypeRules, shapes: Sequence[Shape]) -> None:
    """Check that columns are required and keys sortable."""
    place = f"{REFERENCES}: types: {rules.name}"
    for column in rules.columns:
        if not all(column in shape.required for shape in shapes):
            raise EvidenceError(place, f"expected {shown(column)} to be required by the schema")
    for column in (*rules.key, *rules.order):
        kinds = {(shape.rules[column].type, shape.rules[column].nullable) for shape in shapes}
        if kinds not in ({("string", False)}, {("integer", False)}):
            raise EvidenceError(place, f"expected {shown(column)} to be text or a whole number in the schema")


def _type_rules(name: str, members: Members, place: str) -> TypeRules:
    references = members.objects("references")
    members.skip("ends")  # written by the first release, whose verifier knew no laws of accounting
    lifecycle = members.members("lifecycle")
    status = lifecycle.optional_text("status")
    rules = TypeRules(
        name=name,
        key=members.texts("key"),
        order=members.texts("order"),
        references=tuple(_reference(each) for each in references),
        status=status,
        final=frozenset(lifecycle.texts("final")),
        abandoned=frozenset(lifecycle.texts("abandoned")),
    )
    lifecycle.close()
    members.close()
    if max(len(rules.key), len(rules.order)) > MAX_COLUMNS or len(rules.references) > MAX_REFERENCES:
        most = f"at most {MAX_COLUMNS} columns of a key and {MAX_REFERENCES} references"
        raise EvidenceError(f"{place}: types: {name}", f"expected {most}, got more")
    return rules


def _reference(members: Members) -> Reference:
    reference = Reference(columns=members.texts("columns"), record_type=members.text("record_type"))
    members.close()
    return reference


def _check_rules(rules: RunRules, place: str) -> None:
    run = rules.run.key
    if len(run) != 1:
        raise EvidenceError(f"{place}: types: {rules.run.name}", "expected a key of one column: it is the run itself")
    seen: dict[str, TypeRules] = {}
    for name, each in rules.types.items():
        where = f"{place}: types: {name}"
        if each.key[:1] != run or each.order[:1] != run:
            raise EvidenceError(where, f"expected key and order to begin with {run[0]}, the key of the run")
        if each.status is not None and not each.final:
            raise EvidenceError(where, "expected the values that end its lifecycle, got none")
        if not each.abandoned <= each.final or (each.abandoned and each is not rules.run):
            raise EvidenceError(where, f"expected only a run to be abandoned, got {shown(sorted(each.abandoned))}")
        for reference in each.references:
            # Records refer only to earlier types, so that reading the file once, forward, checks all references.
            target = seen.get(reference.record_type)
            if target is None or len(target.key) != len(reference.columns) or reference.columns[:1] != run:
                found = f"{', '.join(reference.columns)} to {shown(reference.record_type)}"
                raise EvidenceError(where, f"expected references to keys of earlier types, got {found}")
        seen[name] = each


def _as_text(value: Json) -> str | None:
    """Return a value as text, as the patterns capture it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None else str(value)

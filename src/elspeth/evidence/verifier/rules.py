"""What holds between the records of a bag: order, keys, references and lifecycles, read from `references.json`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from elspeth.evidence.format.canonical import Json, Members, parse_unambiguous
from elspeth.evidence.format.errors import EvidenceError, shown
from elspeth.evidence.format.limits import MAX_COLUMNS, MAX_REFERENCES, MAX_TYPES

__all__ = ["Reference", "RunRules", "TypeRules", "read_rules"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """`columns` name the key of a record of type `record_type`, unless one of them is null."""

    columns: tuple[str, ...]
    record_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeRules:
    """The rules of one record type.

    `status` is the column of its lifecycle, `final` the values that end it, `abandoned` those of them that may leave
    other records unfinished.
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
        """Every column that a rule is about, once."""
        referring = (column for reference in self.references for column in reference.columns)
        status = () if self.status is None else (self.status,)
        return tuple(dict.fromkeys((*self.key, *self.order, *referring, *status)))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRules:
    """The record types in the order in which their records come.

    The first is the run itself: there is one record of it, and its key, a single column, begins the key of every other.
    """

    types: Mapping[str, TypeRules]

    @property
    def run(self) -> TypeRules:
        """The rules of the run itself."""
        return next(iter(self.types.values()))


def read_rules(
    data: bytes, place: str, parse: Callable[[bytes, str], Mapping[str, Json]] = parse_unambiguous
) -> RunRules:
    """Return the rules in a bag's document.

    Raises EvidenceError if they are malformed, contradict each other, or are more than there can be.
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
    _check(rules, place)
    return rules


def _type_rules(name: str, members: Members, place: str) -> TypeRules:
    references = members.objects("references")
    members.skip("ends")  # of the first release, whose verifier knew no laws of accounting
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


def _check(rules: RunRules, place: str) -> None:
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
            # Records refer to those of earlier types only: then one reading of the file, forwards, can check them.
            target = seen.get(reference.record_type)
            if target is None or len(target.key) != len(reference.columns) or reference.columns[:1] != run:
                found = f"{', '.join(reference.columns)} to {shown(reference.record_type)}"
                raise EvidenceError(where, f"expected references to keys of earlier types, got {found}")
        seen[name] = each

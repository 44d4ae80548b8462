"""The annotations that the schema may use, and their values.

LinkML accepts any annotation, so a misspelt one would silently mean nothing. Here it is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from codegen import shapes
from codegen.errors import suggestion
from codegen.model import Kind
from codegen.shapes import Complaint

__all__ = ["TERMS", "TRANSIENT", "Target", "Term", "check_annotations"]


TRANSIENT = "transient"
"""The lifecycle of rows that come and go."""


class Target(StrEnum):
    """The kinds of schema element that can be annotated."""

    CLASS = "classes"
    SLOT = "slots"
    TYPE = "types"
    ENUM_VALUE = "enum values"


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One annotation: where it may stand, and its check.

    `complaint(value)` describes what is wrong with a value, or returns None.
    """

    targets: frozenset[Target]
    meaning: str
    complaint: Complaint


def _lifecycle(value: object) -> str | None:
    if value in ("immutable", TRANSIENT):
        return None
    stages = shapes.mapping({}, {"status": shapes.text, "while_open": shapes.names, "afterwards": shapes.names})(value)
    if stages is not None or not isinstance(value, dict) or not value:
        expected = "'immutable', 'transient' or a mapping of status, while_open, afterwards"
        return f"expected {expected}: {stages or 'got nothing'}"
    return None if ("status" in value) == ("while_open" in value) else "status and while_open go together"


TERMS: Mapping[str, Term] = {
    "foreign_keys": Term(
        targets=frozenset({Target.CLASS}),
        meaning="References to other tables, columns in the order of the target's primary key.",
        complaint=shapes.list_of(shapes.mapping({"columns": shapes.names, "references": shapes.text})),
    ),
    "indexes": Term(
        targets=frozenset({Target.CLASS}),
        meaning="Secondary indexes; `where` makes one partial.",
        complaint=shapes.list_of(
            shapes.mapping(
                {"name": shapes.text, "columns": shapes.names}, {"unique": shapes.flag, "where": shapes.text}
            )
        ),
    ),
    "lifecycle": Term(
        targets=frozenset({Target.CLASS}),
        meaning="`immutable`, `transient`, or the columns that may change until the status is final, and afterwards.",
        complaint=_lifecycle,
    ),
    "bookkeeping": Term(
        targets=frozenset({Target.CLASS}),
        meaning="The table stands beside the records: it has no record type and is not exported.",
        complaint=shapes.flag,
    ),
    "releases": Term(
        targets=frozenset({Target.CLASS}),
        meaning="If a run is in this table, its records may be deleted, and its rows of these bookkeeping classes.",
        complaint=shapes.names,
    ),
    "export_order": Term(
        targets=frozenset({Target.CLASS}),
        meaning="The columns that order the records of an export, where it is not the primary key.",
        complaint=shapes.names,
    ),
    "since": Term(
        targets=frozenset({Target.CLASS, Target.SLOT}),
        meaning="The epoch in which the table or column appeared, where it is not the first.",
        complaint=shapes.positive,
    ),
    "until": Term(
        targets=frozenset({Target.SLOT}),
        meaning="The last epoch in which the engine recorded the column; it stays for the records that have it.",
        complaint=shapes.positive,
    ),
    "renamed_from": Term(
        targets=frozenset({Target.CLASS, Target.SLOT}),
        meaning="The table's or column's name before the epoch given by `since`.",
        complaint=shapes.text,
    ),
    "backfill": Term(
        targets=frozenset({Target.SLOT}),
        meaning="Per epoch, the SQL expression over the row before it (`old`) that fills the column when migrating.",
        complaint=shapes.list_of(shapes.mapping({"epoch": shapes.positive, "expression": shapes.text})),
    ),
    "predecessor": Term(
        targets=frozenset({Target.SLOT, Target.ENUM_VALUE}),
        meaning="Names of the column (`table.column` in other tables), or words for the value, in databases of the "
        "predecessor; the first found counts.",
        complaint=shapes.names,
    ),
    "inverse_uri": Term(
        targets=frozenset({Target.SLOT}),
        meaning="For a reference: the RDF property that leads from the other record to this one.",
        complaint=shapes.uri,
    ),
    "withheld": Term(
        targets=frozenset({Target.SLOT}),
        meaning="Why the column stays out of exports.",
        complaint=shapes.text,
    ),
    "hash_column": Term(
        targets=frozenset({Target.SLOT}),
        meaning="For a withheld column: the column of the same table that holds the SHA-256 of its content.",
        complaint=shapes.text,
    ),
    "storage": Term(
        targets=frozenset({Target.TYPE}),
        meaning="How values of the type are stored.",
        complaint=shapes.one_of(*Kind),
    ),
    "max_length": Term(
        targets=frozenset({Target.TYPE}),
        meaning="The longest text in characters.",
        complaint=shapes.positive,
    ),
    "final": Term(
        targets=frozenset({Target.ENUM_VALUE}),
        meaning="The value ends the lifecycle of the record that holds it.",
        complaint=shapes.flag,
    ),
}


def check_annotations(annotations: object, target: Target) -> list[str]:
    """Describe each problem of an element's annotations.

    `annotations` is the mapping as YAML gives it.
    """
    if not isinstance(annotations, dict):
        return [f"annotations: expected a mapping by name, got {annotations!r}"]
    problems = []
    for name, value in annotations.items():
        term = TERMS.get(name)
        if term is None:
            problems.append(f"unknown annotation {name!r}{suggestion(str(name), TERMS)}")
        elif target not in term.targets:
            places = " and ".join(sorted(term.targets))
            problems.append(f"annotation {name!r} is for {places}, not for {target}")
        elif (complaint := _complaint(term, value)) is not None:
            problems.append(f"annotation {name!r}: {complaint}")
    return problems


def _complaint(term: Term, value: object) -> str | None:
    """Describe what is wrong with an annotation's value.

    LinkML wants lists and mappings below a `value:` key.
    """
    if isinstance(value, list | dict):
        return shapes.mapping({"value": term.complaint})(value)
    return term.complaint(value)

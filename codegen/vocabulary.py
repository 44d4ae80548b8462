"""Our own annotations: which exist, on what, and what their values look like.

LinkML accepts any annotation, so a misspelt one would silently mean nothing. Here it is an error.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["TERMS", "Target", "Term", "check_annotations"]


class Target(StrEnum):
    """The kinds of schema element that can be annotated."""

    CLASS = "class"
    SLOT = "slot"
    TYPE = "type"
    ENUM_VALUE = "enum value"


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One annotation: where it may stand, and `complaint(value)`, which says what is wrong with a value or None."""

    targets: frozenset[Target]
    meaning: str
    complaint: Callable[[object], str | None]


def _text(value: object) -> str | None:
    return None if isinstance(value, str) and value.strip() else f"expected a text, got {value!r}"


def _positive(value: object) -> str | None:
    return None if type(value) is int and value > 0 else f"expected an integer above 0, got {value!r}"


def _true(value: object) -> str | None:
    return None if value is True else f"expected true, got {value!r}"


def _names(value: object) -> str | None:
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return None
    return f"expected a list of column names, got {value!r}"


def _one_of(*allowed: str) -> Callable[[object], str | None]:
    def complaint(value: object) -> str | None:
        return None if value in allowed else f"expected one of {', '.join(allowed)}, got {value!r}"

    return complaint


def _mapping(
    required: Mapping[str, Callable[[object], str | None]],
    optional: Mapping[str, Callable[[object], str | None]],
) -> Callable[[object], str | None]:
    known = {**required, **optional}

    def complaint(value: object) -> str | None:
        if not isinstance(value, dict):
            return f"expected a mapping, got {value!r}"
        for key in required:
            if key not in value:
                return f"expected the key {key!r} in {value!r}"
        for key, item in value.items():
            if key not in known:
                return f"unknown key {key!r}, expected {', '.join(known)}"
            if (problem := known[key](item)) is not None:
                return f"{key}: {problem}"
        return None

    return complaint


def _list_of(item_complaint: Callable[[object], str | None]) -> Callable[[object], str | None]:
    def complaint(value: object) -> str | None:
        if not isinstance(value, list) or not value:
            return f"expected a list, got {value!r}"
        for number, item in enumerate(value):
            if (problem := item_complaint(item)) is not None:
                return f"[{number}]: {problem}"
        return None

    return complaint


def _lifecycle(value: object) -> str | None:
    if value == "immutable":
        return None
    stages = _mapping({}, {"status": _text, "while_open": _names, "afterwards": _names})(value)
    if stages is not None:
        return f"expected 'immutable' or a mapping of status, while_open, afterwards: {stages}"
    if isinstance(value, dict) and ("status" in value) != ("while_open" in value):
        return "status and while_open go together"
    return None


TERMS: Mapping[str, Term] = {
    "foreign_keys": Term(
        targets=frozenset({Target.CLASS}),
        meaning="References to other tables, columns in the order of the target's primary key.",
        complaint=_list_of(_mapping({"columns": _names, "references": _text}, {})),
    ),
    "indexes": Term(
        targets=frozenset({Target.CLASS}),
        meaning="Secondary indexes; `where` makes one partial.",
        complaint=_list_of(_mapping({"name": _text, "columns": _names}, {"unique": _true, "where": _text})),
    ),
    "lifecycle": Term(
        targets=frozenset({Target.CLASS}),
        meaning="`immutable`, or the columns that may change while the status is not final and afterwards.",
        complaint=_lifecycle,
    ),
    "export_order": Term(
        targets=frozenset({Target.CLASS}),
        meaning="The columns that order the records of an export, where it is not the primary key.",
        complaint=_names,
    ),
    "since": Term(
        targets=frozenset({Target.CLASS, Target.SLOT}),
        meaning="The epoch in which the table or column appeared, where it is not the first.",
        complaint=_positive,
    ),
    "withheld": Term(
        targets=frozenset({Target.SLOT}),
        meaning="Why the column stays out of exports.",
        complaint=_text,
    ),
    "storage": Term(
        targets=frozenset({Target.TYPE}),
        meaning="How values of the type are stored.",
        complaint=_one_of("text", "json", "integer", "real", "boolean", "timestamp"),
    ),
    "max_length": Term(
        targets=frozenset({Target.TYPE}),
        meaning="The longest text in characters.",
        complaint=_positive,
    ),
    "final": Term(
        targets=frozenset({Target.ENUM_VALUE}),
        meaning="The value ends the lifecycle of the record that holds it.",
        complaint=_true,
    ),
}


def check_annotations(annotations: Mapping[str, object], target: Target) -> list[str]:
    """What is wrong with the annotations of one element, one sentence each."""
    problems = []
    for name, value in annotations.items():
        term = TERMS.get(name)
        if term is None:
            near = difflib.get_close_matches(name, TERMS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(sorted(TERMS))}"
            problems.append(f"unknown annotation {name!r}{hint}")
        elif target not in term.targets:
            places = " or ".join(sorted(term.targets))
            problems.append(f"annotation {name!r} belongs on a {places}, not on a {target}")
        elif (complaint := term.complaint(value)) is not None:
            problems.append(f"annotation {name!r}: {complaint}")
    return problems

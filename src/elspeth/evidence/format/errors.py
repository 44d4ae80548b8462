"""What can be wrong with evidence.

EvidenceError       a bag, envelope, statement, proof or export that is not what it must be
└── KeyFileError    a key that cannot be used: what was given is at fault, not the evidence
"""

from __future__ import annotations

__all__ = ["EvidenceError", "KeyFileError", "printable", "shown"]

_LONGEST = 80
"""How much of a value a message shows, in characters."""


class EvidenceError(Exception):
    """Evidence that does not hold: the place, then the problem, with what was expected and what was found."""

    def __init__(self, place: str, problem: str) -> None:
        super().__init__(f"{place}: {problem}")
        self.place = place
        self.problem = problem


class KeyFileError(EvidenceError):
    """A key that cannot be read, written or used."""


def printable(text: str) -> str:
    """The text without characters that could move a terminal's cursor."""
    return "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in text)


def shown(value: object) -> str:
    """The value as a message shows it: never long, and printable."""
    text = printable(repr(value))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... ({len(text)} characters)"

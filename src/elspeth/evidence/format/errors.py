"""What can be wrong with evidence.

EvidenceError       a bag, envelope, statement, proof or export is not what it must be
└── KeyFileError    a key cannot be used: the fault is in the argument, not in the evidence
"""

from __future__ import annotations

__all__ = ["EvidenceError", "KeyFileError", "printable", "shown"]

_LONGEST = 80
"""Characters of a value that a message shows."""


class EvidenceError(Exception):
    """Evidence that does not hold.

    `place` says where, `problem` says what was expected and what was found.
    """

    def __init__(self, place: str, problem: str) -> None:
        super().__init__(f"{place}: {problem}")
        self.place = place
        self.problem = problem


class KeyFileError(EvidenceError):
    """A key that cannot be read, written or used."""


def printable(text: str) -> str:
    """Escape the characters that could steer a terminal."""
    return "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in text)


def shown(value: object) -> str:
    """Return the value for a message: printable, and not long."""
    text = printable(repr(value))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... ({len(text)} characters)"

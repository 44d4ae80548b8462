"""The errors about evidence, and how they show values.

EvidenceError       a bag, envelope, statement, proof or export does not hold or cannot be read
└── KeyFileError    a key cannot be used: the fault is in the argument, not in the evidence
"""

from __future__ import annotations

__all__ = ["EXCERPT", "EvidenceError", "KeyFileError", "excerpt", "printable", "shown"]

_LONGEST = 80
"""The largest number of characters of a value in a message."""

EXCERPT = 30
"""The largest number of bytes of a line in a message."""


class EvidenceError(Exception):
    """Evidence does not hold, or cannot be read.

    `place` says where, `problem` says what was expected and what was found.
    """

    def __init__(self, place: str, problem: str) -> None:
        super().__init__(f"{place}: {problem}")
        self.place = place
        self.problem = problem


class KeyFileError(EvidenceError):
    """A key cannot be read, written or used."""


def printable(text: str) -> str:
    """Return the text with unprintable characters escaped.

    These include all characters that control a terminal, or hide or reorder text. The escapes are those of Python.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def excerpt(data: bytes) -> str:
    """Return the beginning of bytes as text, for a message."""
    text = shown(data[:EXCERPT].decode(errors="replace"))
    return text + ("..." if len(data) > EXCERPT else "")


def shown(value: object) -> str:
    """Return the value for a message: printable, and not long."""
    text = printable(repr(value))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... ({len(text)} characters)"

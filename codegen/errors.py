"""Errors in the schema."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Problem", "SchemaError", "Where", "suggestion"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """A place in the schema: file, element and member.

    The element is a class, type or enum; the member is one of its slots or values.
    """

    file: str
    element: str | None = None
    member: str | None = None

    def __str__(self) -> str:
        return ": ".join(part for part in (self.file, self.element, self.member) if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong with the schema, and where."""

    where: Where
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


class SchemaError(Exception):
    """The schema cannot be used; `problems` holds every problem found."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown name.

    It proposes the nearest known name, or lists all of them.
    """
    choices = sorted(known)
    near = difflib.get_close_matches(name, choices, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(choices)}"

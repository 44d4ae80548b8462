"""Trees as text: the same on a terminal, in a pipe and in a log."""

from __future__ import annotations

from collections.abc import Iterator

from elspeth.cli.text import printable

__all__ = ["Branch", "draw"]


class Branch:
    """A line of a tree and the branches below it."""

    __slots__ = ("branches", "label")

    def __init__(self, label: str, *branches: Branch) -> None:
        self.label = label
        self.branches = branches


def draw(tree: Branch) -> str:
    """The tree, a line for each branch. What is not printable is escaped: labels hold what others wrote."""
    return "\n".join(_lines(tree, "", ""))


def _lines(tree: Branch, first: str, rest: str) -> Iterator[str]:
    yield first + printable(tree.label)
    for branch in tree.branches[:-1]:
        yield from _lines(branch, f"{rest}├─ ", f"{rest}│  ")
    for branch in tree.branches[-1:]:
        yield from _lines(branch, f"{rest}└─ ", f"{rest}   ")

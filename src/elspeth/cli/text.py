"""Aligned text for people: the same on a terminal, in a pipe and in a log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["aligned", "one_line", "printable"]

_LONGEST = 200


def aligned(rows: Iterable[Sequence[str]]) -> str:
    """Rows as lines whose columns begin at the same place. The last column is never cut or wrapped.

    What is not printable is escaped: cells hold what others wrote.
    """
    table = [list(map(printable, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table
    )


def one_line(text: str) -> str:
    """Return a text that others wrote on one line: not long, and without characters that could move the cursor."""
    shown = printable(" ".join(text.split()))
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}..."


def printable(text: str) -> str:
    """Return the text with escapes for what could steer a terminal."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)

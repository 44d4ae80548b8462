"""Escapes text and writes tables in HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from elspeth.evidence.format.errors import printable

__all__ = ["html_table", "shown"]

_LONGEST = 200
"""The largest number of characters of a value in a table."""


def shown(text: str, longest: int) -> str:
    """Return untrusted text as HTML, on one line.

    Characters that could hide or reorder text are escaped. A text longer than `longest` is cut, with its length.
    """
    cut = "" if len(text) <= longest else f"… ({len(text):,} characters)"
    return escape(printable(text[:longest]) + cut)


def html_table(caption: str, heading: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return an HTML table, with all its text escaped."""
    head = f"<thead><tr>{''.join(map(_heading, heading))}</tr></thead>" if heading else ""
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<table><caption>{shown(caption, _LONGEST)}</caption>{head}<tbody>{body}</tbody></table>"


def _heading(text: str) -> str:
    return f"<th>{shown(text, _LONGEST)}</th>"


def _cell(value: object) -> str:
    return f"<td>{'' if value is None else shown(str(value), _LONGEST)}</td>"

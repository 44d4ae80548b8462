"""Tables in HTML, for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["html_table"]

_LONGEST = 200
"""Characters of a value that are shown."""


def html_table(caption: str, heading: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table, with everything in it escaped."""
    head = f"<thead><tr>{''.join(map(_heading, heading))}</tr></thead>" if heading else ""
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<table><caption>{escape(caption)}</caption>{head}<tbody>{body}</tbody></table>"


def _heading(text: str) -> str:
    return f"<th>{escape(text)}</th>"


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    return f"<td>{escape(text if len(text) <= _LONGEST else f'{text[:_LONGEST]}...')}</td>"

"""Renders text and tables as HTML.

All texts from records are untrusted. They are escaped here; characters that could reorder or hide text become visible
escapes; and long texts are cut, and their length is stated.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape

from elspeth.contracts.errors import format_count
from elspeth.core import html_tables

__all__ = [
    "code",
    "command",
    "duration",
    "facts",
    "moment",
    "name",
    "number",
    "section",
    "shown",
    "size",
    "table",
    "words",
]

_LONGEST = 400
"""The largest number of characters of a text that are shown."""

_LONG_NAME = 30
_SPECIAL = re.compile(r'["$`\\!]')
"""Characters that have a meaning between double quotes of a shell."""

_FEW_COLUMNS = 3
"""Tables with at most so many columns are only as wide as needed."""

_SECOND_MS = 1000
_MINUTE_S = 60
_HOUR_S = 3600
_KILO = 1000
_SMALL = 10


def shown(text: str, longest: int = _LONGEST) -> str:
    """Return untrusted text as HTML, on one line."""
    return html_tables.shown(text, longest)


def code(text: str, longest: int = _LONGEST) -> str:
    """Return untrusted text as HTML that is set as code."""
    return f"<code>{shown(text, longest)}</code>"


def name(text: str) -> str:
    """Return a name as code, on one line if short."""
    return f'<code class="name">{shown(text)}</code>' if len(text) <= _LONG_NAME else code(text)


def command(*words: str) -> str:
    """Return a command for a shell, as code."""
    return code(" ".join(map(_quoted, words)), _LONGEST * 4)


def _quoted(word: str) -> str:
    """Return a word quoted for a shell."""
    return f'"{word}"' if "'" in word and not _SPECIAL.search(word) else shlex.quote(word)


def words(value: str) -> str:
    """Return the value of an enumeration as words."""
    return value.replace("_", " ")


def number(value: int) -> str:
    """Return a number with separators."""
    return f"{value:,}"


def moment(value: datetime | None) -> str:
    """Return a time to the millisecond, as HTML."""
    if value is None:
        return "not recorded"
    text = f"{value:%Y-%m-%d %H:%M:%S}.{value.microsecond // 1000:03} UTC"
    return f'<time datetime="{value:%Y-%m-%dT%H:%M:%S.%f}Z">{text}</time>'


def duration(milliseconds: float) -> str:
    """Return a time span in three digits or so."""
    if milliseconds < _SECOND_MS:
        return f"{milliseconds:.2g} ms" if milliseconds < _SMALL else f"{milliseconds:.0f} ms"
    seconds = milliseconds / _SECOND_MS
    if seconds < _MINUTE_S:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), _MINUTE_S)
    if minutes < _HOUR_S // _MINUTE_S:
        return f"{minutes} min {rest:02} s"
    hours, minutes = divmod(minutes, _MINUTE_S)
    return f"{hours:,} h {minutes:02} min"


def size(value: int) -> str:
    """Return a number of bytes in three digits or so."""
    if value < _KILO:
        return format_count(value, "byte")
    units = ("kB", "MB", "GB", "TB")
    # A number that is 1,000 when rounded to three digits gets the next unit.
    power = min(int(math.log(float(f"{value:.3g}"), _KILO)), len(units))
    return f"{value / _KILO**power:.3g} {units[power - 1]}"


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Return names with values that are HTML, as a list."""
    return "".join(
        ['<dl class="facts">', *(f"<dt>{escape(name)}</dt><dd>{value}</dd>" for name, value in pairs), "</dl>"]
    )


def table(caption: str, heading: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[int] = ()) -> str:
    """Return rows of HTML as a scrolling table.

    `numbers` holds the positions of columns with numbers, which are right-aligned.
    """
    kinds = [' class="number"' if place in numbers else "" for place in range(len(heading))]
    head = "".join(f'<th scope="col"{kind}>{escape(name)}</th>' for name, kind in zip(heading, kinds, strict=True))
    wide = " wide" if len(heading) > _FEW_COLUMNS else ""
    lines = [
        f'<div class="table{wide}" role="group" aria-label="{escape(caption)}" tabindex="0"><table>',
        f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>",
    ]
    for row in rows:
        first, *rest = row
        cells = "".join(f"<td{kind}>{cell}</td>" for cell, kind in zip(rest, kinds[1:], strict=True))
        lines.append(f'<tr><th scope="row"{kinds[0]}>{first}</th>{cells}</tr>')
    return "\n".join([*lines, "</tbody></table></div>"])


def section(key: str, title: str, *content: str) -> str:
    """Return a section of the page with its heading."""
    body = "\n".join(filter(None, content))
    heading = f'<h2 id="{key}-heading">{escape(title)}</h2>'
    return f'<section id="{key}" aria-labelledby="{key}-heading">\n{heading}\n{body}\n</section>'

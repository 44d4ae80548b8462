"""Formats the contents of a story as text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from elspeth.cli.terminal import printable

__all__ = ["contents_text"]

_MISSING = "is not here: it was purged, or the bag was made without contents"


def contents_text(contents: Mapping[str, object]) -> str:
    """Return contents by their references, each as JSON."""
    if not contents:
        return "no content was kept of this row"
    return "\n".join(_lines(contents))


def _lines(contents: Mapping[str, object]) -> Iterator[str]:
    for reference, value in contents.items():
        if value is None:
            yield f"content {printable(reference)} {_MISSING}"
        else:
            yield f"content {printable(reference)}:"
            text = json.dumps(value, indent=2, ensure_ascii=False)
            yield from (f"  {printable(line)}" for line in text.split("\n"))

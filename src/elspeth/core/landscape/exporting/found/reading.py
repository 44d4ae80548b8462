"""Reads exports of databases as found."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.verifier.export import read_lines

__all__ = ["find_found_lines", "is_found_export"]

_START = re.compile(rb'\A(?:\[\n)?\{[^\n]{0,65536}?"record_type":"database"')
"""The beginning of an export in text; no text contains it, as its quotes would be escaped."""

_LONGEST = 1 << 20


def is_found_export(path: Path) -> bool:
    """Return whether a database as found is there.

    A bag is not looked into. Raises OSError if the path cannot be read.
    """
    if path.is_dir():
        return False
    with path.open("rb") as file:
        return _START.match(file.read(_LONGEST)) is not None


def find_found_lines(path: Path) -> Iterator[tuple[str, bytes]] | None:
    """Return the lines of a database as found.

    Each has its place, the manifest is last. None if the path holds something else.
    """
    try:
        if not is_found_export(path):
            return None
    except OSError as error:
        raise EvidenceError(str(path), f"cannot be read: {error.strerror}") from error
    return ((each.place, each.line) for each in read_lines(path))

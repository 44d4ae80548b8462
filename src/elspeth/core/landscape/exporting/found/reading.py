"""Reads exports of databases as found."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from elspeth.core.landscape.exporting.forms import MANIFEST_FILE
from elspeth.evidence.format import bag
from elspeth.evidence.format.compression import open_decompressed
from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.format.export_lines import read_lines

__all__ = ["find_found_lines", "is_found_export"]

_START = re.compile(rb'\A(?:\[\n)?\{[^\n]{0,65536}?"record_type":"database"')
"""The beginning of an export. It cannot match inside a JSON text, where the quotes would be escaped."""

_MANIFEST = re.compile(rb'\A\{[^\n]{0,65536}?"kind":"')

_LONGEST = 1 << 20


def is_found_export(path: Path) -> bool:
    """Return whether a path holds a database as found.

    Bags are not examined. Raises OSError if the path cannot be read.
    """
    is_directory = path.is_dir()
    if is_directory and not (path / MANIFEST_FILE).is_file():
        return False
    if is_directory:
        with (path / MANIFEST_FILE).open("rb") as file:
            return _MANIFEST.match(file.read(_LONGEST)) is not None
    try:
        with open_decompressed(path) as file:
            # Read no more than needed: reading the lines will report any damage after this.
            start = file.readline(_LONGEST)
            if start == b"[\n":
                start += file.readline(_LONGEST)
            return _START.match(start) is not None
    except EvidenceError:
        return False


def find_found_lines(path: Path) -> Iterator[tuple[str, bytes]] | None:
    """Return the lines of a database as found.

    Each comes with its place; the manifest is the last. Check each line before requesting the next. Returns None if the
    path holds something else. Raises EvidenceError if it cannot be read or is a part of a bag.
    """
    try:
        if not is_found_export(path):
            return None
    except OSError as error:
        raise EvidenceError(str(path), f"cannot be read: {error.strerror}") from error
    bag_of_path = path.absolute().parent.parent
    if path.name == Path(bag.RECORDS).name and (bag_of_path / bag.BAGIT).is_file():
        raise EvidenceError(str(path), f"is a part of a bag, which is verified as a whole: name {bag_of_path}")
    if path.is_dir():
        from elspeth.core.landscape.exporting.found._directory import read_directory  # noqa: PLC0415  start time

        return read_directory(path)
    return ((each.place, each.line) for each in read_lines(path))

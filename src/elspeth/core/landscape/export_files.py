"""Exports as files. A file appears under its name only when it is complete and on disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.exporter import LandscapeExporter

__all__ = ["ExportFormat", "write_export"]

_PROGRESS_EVERY = 1000


class ExportFormat(StrEnum):
    """What an export file looks like."""

    JSON = "json"
    """One array, a record per line."""

    JSONL = "jsonl"
    """A record per line."""


def write_export(
    db: LandscapeDB,
    run_id: str,
    path: Path,
    *,
    format: ExportFormat,  # noqa: A002 - the word that users know
    signing_key: bytes | None = None,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Write the export of a run, manifest included, signed if there is a key; returns the number of records before it.

    `progress` is called with the number of records written so far. Raises what the exporter raises, and OSError; the
    file that was there before then stays.
    """
    exporter = LandscapeExporter(db, signing_key)
    lines = _counted(exporter.export_lines(run_id, sign=signing_key is not None), progress)
    with _replacing(path) as file:
        total = _write_array(file, lines) if format is ExportFormat.JSON else _write_lines(file, lines)
    return total - 1


def _write_lines(file: BinaryIO, lines: Iterable[bytes]) -> int:
    total = 0
    for line in lines:
        file.write(line)
        file.write(b"\n")
        total += 1
    return total


def _write_array(file: BinaryIO, lines: Iterable[bytes]) -> int:
    total = 0
    file.write(b"[\n")
    for line in lines:
        if total:
            file.write(b",\n")
        file.write(line)
        total += 1
    file.write(b"\n]\n")
    return total


def _counted(lines: Iterable[bytes], progress: Callable[[int], None] | None) -> Iterator[bytes]:
    number = 0
    for number, line in enumerate(lines, start=1):
        yield line
        if progress is not None and number % _PROGRESS_EVERY == 0:
            progress(number)
    if progress is not None:
        progress(number)


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the path's name when the block ends well.

    A crash before the rename leaves the old file and a `.partial` beside it, which the next export overwrites.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)

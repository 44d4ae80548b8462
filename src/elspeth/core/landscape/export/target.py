"""Where an export goes: a file or a directory that appears under its name only when it is complete and on disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from elspeth.contracts.directories import make_directory, sync_directory
from elspeth.core.landscape.export.forms import MANIFEST_FILE, ExportError
from elspeth_schema.records import RECORD_TYPES

__all__ = ["DIRECTORY_FORMS", "is_export_directory", "replacing_directory", "replacing_file"]

DIRECTORY_FORMS = ("csv", "parquet")
"""The forms that are directories; a record type's file is called after it, with the form as suffix."""

_OUR_FILES = frozenset({MANIFEST_FILE, *(f"{name}.{form}" for name in RECORD_TYPES for form in DIRECTORY_FORMS)})


@contextmanager
def replacing_file(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the path's name when the block ends well, in place of the one that has it.

    ExportError if something else than a file has that name. A crash before the rename leaves the old file and a
    `.partial` beside it, which the next export overwrites.
    """
    if path.exists() and not path.is_file():
        found = "a directory" if path.is_dir() else "a device"
        raise ExportError(path, None, f"expected the name of a file, which a new export may replace; this is {found}")
    _make_parent(path)
    partial = _beside(path, "partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


@contextmanager
def replacing_directory(path: Path) -> Iterator[Path]:
    """A new directory that takes the path's name when the block ends well, in place of the export that has it.

    ExportError if anything but an export or an empty directory has that name. A crash leaves the old export, and
    beside it a `.partial`, which the next export overwrites; between the two renames it leaves both complete, the old
    one as `.replaced` and the new one as `.partial`.
    """
    path = path.resolve()
    if path.exists() and not is_export_directory(path) and not _is_empty_directory(path):
        raise ExportError(path, None, "is not an export that a new one may replace: name another directory")
    _make_parent(path)
    partial = _beside(path, "partial")
    _remove(partial)
    partial.mkdir()
    try:
        yield partial
        for written in partial.iterdir():
            with written.open("rb") as file:
                os.fsync(file.fileno())
        sync_directory(partial)
        _exchange(partial, path)
    except BaseException:
        _remove(partial)
        raise


def is_export_directory(path: Path) -> bool:
    """Whether the directory holds an export and nothing else."""
    return _holds_our_files_only(path) and (path / MANIFEST_FILE).exists()


def _make_parent(path: Path) -> None:
    try:
        make_directory(path.parent)
    except OSError as error:
        raise ExportError(path, None, f"its directory cannot be made: {error.strerror}: {path.parent}") from error


def _exchange(partial: Path, path: Path) -> None:
    replaced = _beside(path, "replaced")
    _remove(replaced)
    if path.exists():
        path.rename(replaced)
    try:
        partial.rename(path)
    except BaseException:
        if replaced.exists():
            replaced.rename(path)
        raise
    sync_directory(path.parent)
    _remove(replaced)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(f"{path.name}.{suffix}")


def _is_empty_directory(path: Path) -> bool:
    return path.is_dir() and next(path.iterdir(), None) is None


def _holds_our_files_only(path: Path) -> bool:
    return path.is_dir() and all(entry.name in _OUR_FILES and entry.is_file() for entry in path.iterdir())


def _remove(directory: Path) -> None:
    """Remove what an earlier export left under a name of ours; ExportError if it is something else."""
    if not directory.exists():
        return
    if not _holds_our_files_only(directory):
        raise ExportError(directory, None, "stands where an export is prepared, and is none: move it away")
    for entry in directory.iterdir():
        entry.unlink()
    directory.rmdir()

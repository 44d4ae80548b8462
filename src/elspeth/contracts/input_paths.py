"""Resolves the paths of sources: files, objects, patterns, standard input."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fnmatch import fnmatchcase
from glob import escape, glob, has_magic
from pathlib import Path

from elspeth.objects.address import ObjectPath, Place, place_of

__all__ = ["STANDARD_INPUT", "find_all_files", "find_files", "is_pattern", "matches_pattern", "path_texts"]

STANDARD_INPUT = "-"
"""The path that, by convention, stands for standard input."""


def path_texts(value: object) -> list[str]:
    """Return the paths in the value of the option `path`."""
    if isinstance(value, str):
        return [value]
    return [each for each in value if isinstance(each, str)] if isinstance(value, list | tuple) else []


def is_pattern(text: str) -> bool:
    """Return whether a path has wildcards (`*`, `?`, `[`)."""
    place = place_of(text)
    return has_magic(place.key if isinstance(place, ObjectPath) else text)


def find_files(text: str) -> Sequence[Place]:
    """Return the files or objects of a path or pattern.

    The matches of a pattern are sorted as texts, by code point, so that the order is the same on every machine.
    Directories and names that begin with a dot do not match. Raises OSError if the objects of a bucket cannot be
    listed.
    """
    place = place_of(text)
    if not is_pattern(text):
        return [place]
    if isinstance(place, ObjectPath):
        return _find_objects(place)
    found = glob(text, recursive=True)  # noqa: PTH207  Path.glob takes no absolute pattern, and finds hidden files
    return [Path(each) for each in sorted(found) if not Path(each).is_dir()]


def find_all_files(texts: Sequence[str]) -> tuple[list[Place], list[str]]:
    """Return the files of all paths, and their problems.

    A pattern without a file is a problem, and so is a file that is named twice.
    """
    files: list[Place] = []
    problems: list[str] = []
    named: dict[str, Place] = {}
    for text in texts:
        try:
            found = find_files(text)
        except OSError as error:
            problems.append(f"{text} cannot be listed: {error.strerror}")
            continue
        files += found
        if not found:
            problems.append(f"no file matches {text!r}{_literal_hint(text)}")
        for path in found:
            first = named.setdefault(str(path) if isinstance(path, ObjectPath) else os.path.realpath(path), path)
            if first is not path:
                problems.append(f"{path} is named twice, first as {first}: its rows would be read twice")
    return files, problems


def _find_objects(pattern: ObjectPath) -> Sequence[ObjectPath]:
    from elspeth.objects.stores import store_of  # noqa: PLC0415  few pipelines read objects

    return sorted(each for each in store_of(pattern).find(pattern) if matches_pattern(each, str(pattern)))


def matches_pattern(path: Place, pattern: str) -> bool:
    """Return whether a file or object would match a pattern.

    It need not exist.
    """
    expected = place_of(pattern)
    if isinstance(path, ObjectPath) or isinstance(expected, ObjectPath):
        return (
            isinstance(path, ObjectPath)
            and isinstance(expected, ObjectPath)
            and (path.scheme, path.bucket) == (expected.scheme, expected.bucket)
            and _match(path.key.split("/"), expected.key.split("/"))
        )
    return _match(Path(os.path.abspath(path)).parts, Path(os.path.abspath(pattern)).parts)  # noqa: PTH100  keeps links


def _match(names: Sequence[str], patterns: Sequence[str]) -> bool:
    if not patterns:
        return not names
    if patterns[0] == "**" and _match(names, patterns[1:]):
        return True
    if not names or (names[0].startswith(".") and not patterns[0].startswith(".")):
        return False
    if patterns[0] == "**":
        return _match(names[1:], patterns)
    return fnmatchcase(names[0], patterns[0]) and _match(names[1:], patterns[1:])


def _literal_hint(text: str) -> str:
    return f"; to name the file of exactly that name, write {escape(text)!r}" if Path(text).exists() else ""

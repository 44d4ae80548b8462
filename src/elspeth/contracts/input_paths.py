"""The paths of sources: files, patterns, and standard input."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fnmatch import fnmatchcase
from glob import escape, glob, has_magic
from pathlib import Path

__all__ = ["STANDARD_INPUT", "file_problems", "find_files", "is_pattern", "matches_pattern", "path_texts"]

STANDARD_INPUT = "-"
"""The path that stands for standard input, by custom."""


def path_texts(value: object) -> list[str]:
    """Return the text of `path`, or those of a list."""
    if isinstance(value, str):
        return [value]
    return [each for each in value if isinstance(each, str)] if isinstance(value, list | tuple) else []


def is_pattern(text: str) -> bool:
    """Return whether a path has wildcards (`*`, `?`, `[`)."""
    return has_magic(text)


def find_files(text: str) -> list[Path]:
    """Return the files of a path or pattern.

    Those of a pattern are sorted by code point, as texts, so that the order is the same on every machine. Directories
    and names that begin with a point do not match.
    """
    if not is_pattern(text):
        return [Path(text)]
    found = glob(text, recursive=True)  # noqa: PTH207  Path.glob takes no absolute pattern, and finds hidden files
    return [Path(each) for each in sorted(found) if not Path(each).is_dir()]


def file_problems(texts: Sequence[str]) -> list[str]:
    """Return what is wrong with the files of paths.

    A pattern without a file is a problem, and so is a file that is named twice.
    """
    problems: list[str] = []
    named: dict[str, Path] = {}
    for text in texts:
        found = find_files(text)
        if not found:
            problems.append(f"no file matches {text!r}{_literal_hint(text)}")
        for path in found:
            first = named.setdefault(os.path.realpath(path), path)
            if first is not path:
                problems.append(f"{path} is named twice, first as {first}: its rows would be read twice")
    return problems


def matches_pattern(path: Path, pattern: str) -> bool:
    """Return whether a file would match, if it existed."""
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

"""Writes generated files, and compares them with the disk.

No other module of codegen touches files.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path

__all__ = ["drift", "drift_of_page", "write", "write_page"]


def write(files: Mapping[str, str], directory: Path) -> list[str]:
    """Make the directory hold exactly these files.

    Returns a line for each file that was written or removed. A crash leaves some files unchanged, which `drift` shows
    and the next call repairs.
    """
    done = []
    for path, text in files.items():
        target = directory / path
        content = text.encode()
        if target.exists() and target.read_bytes() == content:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        done.append(f"wrote {directory.name}/{path}")
    for path in sorted(_on_disk(directory).difference(files)):
        (directory / path).unlink()
        done.append(f"removed {directory.name}/{path}")
    return done


def drift(files: Mapping[str, str], directory: Path) -> list[str]:
    """Describe how the directory differs from these files.

    Names each file that is changed (with a diff), missing or orphaned.
    """
    differences = []
    on_disk = _on_disk(directory)
    for path, text in files.items():
        shown = f"{directory.name}/{path}"
        if path not in on_disk:
            differences.append(f"missing: {shown}")
            continue
        differences += _changes((directory / path).read_bytes(), text, shown)
    differences += [f"orphaned: {directory.name}/{path}" for path in sorted(on_disk.difference(files))]
    return differences


def write_page(page: Path, text: str) -> list[str]:
    """Write a generated page, if it differs."""
    if page.exists() and page.read_bytes() == text.encode():
        return []
    page.write_bytes(text.encode())
    return [f"wrote {page.parent.name}/{page.name}"]


def drift_of_page(page: Path, text: str) -> list[str]:
    """Describe how a page differs from this text."""
    current = page.read_bytes() if page.exists() else b""
    return _changes(current, text, f"{page.parent.name}/{page.name}")


def _changes(current: bytes, text: str, shown: str) -> list[str]:
    if current == text.encode():
        return []
    # Unlike splitlines, split shows a lone carriage return as a difference.
    old, new = current.decode(errors="backslashreplace").split("\n"), text.split("\n")
    diff = difflib.unified_diff(old, new, f"on disk: {shown}", f"expected: {shown}", lineterm="", n=1)
    return ["\n".join([f"changed: {shown}", *diff])]


def _on_disk(directory: Path) -> set[str]:
    return {
        path.relative_to(directory).as_posix()
        for path in directory.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

"""The only place in codegen that touches files: writes the rendered map, or compares it with the disk."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path

__all__ = ["drift", "write"]


def write(files: Mapping[str, str], directory: Path) -> list[str]:
    """Make the directory hold exactly these files; returns what was written or removed, one line each."""
    done = []
    for path, text in files.items():
        target = directory / path
        if target.exists() and target.read_text(encoding="utf-8") == text:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8", newline="\n")
        done.append(f"wrote {path}")
    for path in sorted(_on_disk(directory).difference(files)):
        (directory / path).unlink()
        done.append(f"removed {path}")
    return done


def drift(files: Mapping[str, str], directory: Path) -> list[str]:
    """How the directory differs from these files: changed (with a diff), missing and orphaned ones."""
    differences = []
    on_disk = _on_disk(directory)
    for path, text in files.items():
        if path not in on_disk:
            differences.append(f"missing: {path}")
            continue
        current = (directory / path).read_text(encoding="utf-8", errors="replace")
        if current != text:
            diff = difflib.unified_diff(
                current.splitlines(), text.splitlines(), f"on disk: {path}", f"generated: {path}", lineterm="", n=1
            )
            differences.append("\n".join([f"changed: {path}", *diff]))
    differences += [f"orphaned: {path}" for path in sorted(on_disk.difference(files))]
    return differences


def _on_disk(directory: Path) -> set[str]:
    return {
        path.relative_to(directory).as_posix()
        for path in directory.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

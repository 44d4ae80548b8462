"""Directories as values, copies of schemas, and changes to them."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from codegen.history import EPOCHS

ROOT = Path(__file__).parents[2]


def tree(directory: Path) -> dict[str, bytes]:
    """Return every file below the directory: path -> content."""
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def copy_project(directory: Path) -> Path:
    """Copy the project's schema and history; return the schema's path.

    They become the subdirectories `schema` and `generated`.
    """
    shutil.copytree(ROOT / "generated" / EPOCHS, directory / "generated" / EPOCHS)
    return shutil.copytree(ROOT / "schema", directory / "schema") / "landscape.yaml"


def copy_case(case: Path, directory: Path) -> Path:
    """Copy a case's schema and history; return the schema's path."""
    if (case / "epochs").exists():
        shutil.copytree(case / "epochs", directory / "generated" / EPOCHS)
    return shutil.copytree(case / "schema", directory / "schema") / "landscape.yaml"


def hunks(diff: str) -> Iterator[tuple[str, str]]:
    """Yield the old and new text of each hunk.

    A line begins with `-`, `+` or a space; `@@` separates hunks.
    """
    for group in diff.rstrip("\n").split("\n@@\n") if diff else ():
        lines = group.split("\n")
        old, new = ("\n".join(line[1:] for line in lines if line[:1] != mark) for mark in "+-")
        yield old, new


def apply_diff(diff: str, text: str) -> str:
    """Apply a diff, locating hunks by their old text.

    Each old text must occur exactly once.
    """
    for old, new in hunks(diff):
        assert f"\n{text}".count(f"\n{old}\n") == 1, f"does not hold once: {old}"
        text = f"\n{text}".replace(f"\n{old}\n", f"\n{new}\n" if new else "\n").removeprefix("\n")
    return text

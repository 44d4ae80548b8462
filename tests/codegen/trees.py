"""Directories as values."""

from pathlib import Path


def tree(directory: Path) -> dict[str, bytes]:
    """Every file below the directory: path -> content."""
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }

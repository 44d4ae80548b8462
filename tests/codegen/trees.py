"""Directories as values, and copies of schemas."""

import shutil
from pathlib import Path

from codegen.history import EPOCHS

ROOT = Path(__file__).parents[2]


def tree(directory: Path) -> dict[str, bytes]:
    """Every file below the directory: path -> content."""
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def copy_project(directory: Path) -> Path:
    """Copy the project's schema and its history into the directory, as `schema` and `generated`; returns the schema."""
    shutil.copytree(ROOT / "generated" / EPOCHS, directory / "generated" / EPOCHS)
    return shutil.copytree(ROOT / "schema", directory / "schema") / "landscape.yaml"


def copy_case(case: Path, directory: Path) -> Path:
    """Copy the schema of a case, and the history that it has, likewise."""
    if (case / "epochs").exists():
        shutil.copytree(case / "epochs", directory / "generated" / EPOCHS)
    return shutil.copytree(case / "schema", directory / "schema") / "landscape.yaml"

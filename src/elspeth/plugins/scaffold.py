"""Writes a new package with a plugin and its tests."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from string import Template

from elspeth.contracts.plugins import PluginKind
from elspeth.outputs.writing import make_directory, rename_noreplace

__all__ = ["package_files", "plugin_name_problem", "write_package"]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")
_FILES: Mapping[str, str] = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "src/elspeth_$name/__init__.py": "init.py",
    "src/elspeth_$name/plugin.py": "$kind.py",
    "tests/test_plugin.py": "test_$kind.py",
}
"""The template of each file in the package."""


def plugin_name_problem(name: str) -> str | None:
    """Return why a plugin cannot have a name, or None."""
    if _NAME.fullmatch(name):
        return None
    return f"expected lower-case letters, digits and underscores, beginning with a letter, got {name!r}"


def package_files(kind: PluginKind, name: str) -> dict[Path, str]:
    """Return the files of a package with one plugin.

    Paths are relative to the directory of the package.
    """
    words = "".join(part.capitalize() for part in name.split("_"))
    values = {
        "name": name,
        "dashed": name.replace("_", "-"),
        "kind": kind.value,
        "class_name": f"{words}{kind.capitalize()}",
        "options_name": f"{words}Options",
    }
    templates = files("elspeth.plugins") / "templates"
    made = {Path(f"src/elspeth_{name}/py.typed"): ""}
    for path, template in _FILES.items():
        text = (templates / f"{Template(template).substitute(values)}.template").read_text(encoding="utf-8")
        made[Path(Template(path).substitute(values))] = Template(text).substitute(values)
    return dict(sorted(made.items()))


def write_package(made: Mapping[Path, str], directory: Path) -> None:
    """Make a directory with these files, or nothing.

    A crash leaves a hidden directory beside it. Raises FileExistsError if the name is taken.
    """
    parent = directory.absolute().parent
    make_directory(parent)
    with tempfile.TemporaryDirectory(prefix=f".{directory.name}.", dir=parent) as staging:
        for path, text in made.items():
            place = Path(staging, "package", path)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text, encoding="utf-8")
        rename_noreplace(Path(staging, "package"), directory)

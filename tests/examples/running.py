"""Running an example, and what it leaves."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from elspeth.cli import main
from tests.engine.pipelines import trail
from tests.examples.trails import told

__all__ = ["EXAMPLES", "copy_example", "names", "run_example"]

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def names() -> list[str]:
    """The examples that say what is expected of them and need nothing but elspeth."""
    return sorted(path.parent.name for path in EXAMPLES.glob("*/expected") if path.parent.name != "plugin_package")


def copy_example(name: str, directory: Path) -> Path:
    """Copy an example, without what runs wrote and without what is expected; its new place."""
    place = directory / "examples" / name
    shutil.copytree(EXAMPLES / name, place, ignore=shutil.ignore_patterns("output", "runs", "expected", "__pycache__"))
    return place


def run_example(name: str, directory: Path) -> dict[str, str]:
    """Run a copy of an example in a working directory that is the current one; what it wrote, by name of file."""
    place = copy_example(name, directory)
    code = main(["run", "-s", f"examples/{name}/settings.yaml", "--execute", "--no-dotenv"])
    if code:
        raise AssertionError(f"example {name} ended with exit code {code}")
    files = {path.name: _content(path) for path in (place / "output").iterdir() if path.name != "audit_trail.json"}
    return files | {"trail.txt": told(trail(directory, f"sqlite:///{place / 'runs' / 'audit.db'}"))}


def _content(path: Path) -> str:
    """The text of a file; of a database, the rows of its tables without those that name the run."""
    if path.suffix != ".db":
        return path.read_text(encoding="utf-8")
    with closing(sqlite3.connect(path)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in tables}  # noqa: S608  our own
    return json.dumps({name: found for name, found in rows.items() if not name.startswith("elspeth_")}, indent=2) + "\n"

"""Running an example, and collecting what it writes."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

from elspeth.cli import main
from elspeth.report.drawing import draw_flow
from tests.engine.pipelines import trail
from tests.examples.trails import told
from tests.report.flows import assert_counted, flow_of

__all__ = ["EXAMPLES", "copy_example", "names", "run_example", "script", "surroundings"]

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def names() -> list[str]:
    """Return the examples that have expectations and need only elspeth."""
    return sorted(path.parent.name for path in EXAMPLES.glob("*/expected") if path.parent.name != "plugin_package")


def copy_example(name: str, directory: Path) -> Path:
    """Copy an example without outputs and expectations; return the copy."""
    place = directory / "examples" / name
    shutil.copytree(EXAMPLES / name, place, ignore=shutil.ignore_patterns("output", "runs", "expected", "__pycache__"))
    return place


def run_example(name: str, directory: Path, *, change: Callable[[Path], None] | None = None) -> dict[str, str]:
    """Run a copy of an example; return its named files.

    `directory` must be the current working directory. `change` is called with the copy first.
    """
    place = copy_example(name, directory)
    with surroundings(place):
        if change is not None:
            change(place)
        code = main(["run", "-s", f"examples/{name}/settings.yaml", "--execute", "--no-dotenv"])
    if code:
        raise AssertionError(f"example {name} ended with exit code {code}")
    files = {path.name: _content(path) for path in (place / "output").iterdir() if path.name != "audit_trail.json"}
    database = f"sqlite:///{place / 'runs' / 'audit.db'}"
    records = trail(directory, database)
    flow = flow_of(database, records["run"][0]["run_id"])
    assert_counted(flow, records)
    return files | {"trail.txt": told(records), "graph.svg": draw_flow(flow, has_style=True)}


def script(path: Path) -> ModuleType:
    """Import a script of an example."""
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@contextmanager
def surroundings(place: Path) -> Iterator[str]:
    """Run the stub server of an example, if any."""
    stub = place / "stub_server.py"
    if not stub.exists():
        yield ""
        return
    with script(stub).Server(0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/v1"
        with patch.dict(os.environ, LLM_URL=url, NO_PROXY="127.0.0.1"):
            yield url
        server.shutdown()
        thread.join()


def _content(path: Path) -> str:
    """Return a file's text, or a database's rows as JSON.

    Tables of elspeth itself, which name the run, are left out.
    """
    if path.suffix != ".db":
        return path.read_text(encoding="utf-8")
    with closing(sqlite3.connect(path)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in tables}  # noqa: S608  our own
    return json.dumps({name: found for name, found in rows.items() if not name.startswith("elspeth_")}, indent=2) + "\n"

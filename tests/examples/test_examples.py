"""Every example does what it is expected to do; `tests/examples/rebuild.py` writes the expectations."""

import importlib.util
from pathlib import Path

import pytest

from elspeth.cli import main
from elspeth.core.landscape.accounting import account_for
from elspeth.core.landscape.database import LandscapeDB
from tests.engine.pipelines import assert_sound, trail
from tests.examples.running import EXAMPLES, copy_example, names, run_example


@pytest.mark.parametrize("name", names())
def test_an_example_writes_what_is_expected(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    expected = {path.name: path.read_text(encoding="utf-8") for path in (EXAMPLES / name / "expected").iterdir()}
    assert run_example(name, tmp_path) == expected


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*/settings.yaml")), ids=lambda path: path.parent.name)
def test_every_example_is_explained_and_expected(path: Path) -> None:
    readme = (path.parent / "README.md").read_text(encoding="utf-8")
    assert readme.startswith(f"# {path.parent.name}\n")
    assert f"elspeth run -s examples/{path.parent.name}/settings.yaml --execute" in readme
    assert path.parent.name in {*names(), "large_run", "plugin_package"}


def test_the_large_run_is_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = 2_000
    monkeypatch.chdir(tmp_path)
    place = copy_example("large_run", tmp_path)
    specification = importlib.util.spec_from_file_location("generate", place / "generate.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    module.generate(place / "runs" / "input.csv", rows)
    assert main(["run", "-s", "examples/large_run/settings.yaml", "--execute", "--no-dotenv"]) == 0
    lines = {name: (place / "output" / f"{name}.csv").read_text().count("\n") - 1 for name in ("regular", "large")}
    assert lines == {"regular": 1801, "large": 199}
    records = trail(tmp_path, f"sqlite:///{place / 'runs' / 'audit.db'}")
    assert_sound(records, status="completed")
    with LandscapeDB.from_url(f"sqlite:///{place / 'runs' / 'audit.db'}") as db:
        account = account_for(db, records["run"][0]["run_id"])
    assert (account.rows, account.breaches) == (rows, ())
